"""The promises of upperctl's command line: help that fits a screen, and errors that name what may have been meant."""

from pathlib import Path

import pytest

from upperd.base import installation
from upperd.base.installation import manual
from upperd.ctl import main as ctl
from upperd.ctl import parser
from upperd.ctl.parser import COMMANDS


def _exit(words: list[str], capsys: pytest.CaptureFixture[str]) -> tuple[object, str, str]:
    """The status with which the parser ends, and what it has printed and complained."""
    with pytest.raises(SystemExit) as caught:
        parser.parse(words)
    return (caught.value.code, *capsys.readouterr())


@pytest.mark.parametrize("command", ["", *COMMANDS])
def test_help_fits_a_screen(command: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    """--help, of upperctl and of every command, fits a terminal of 24 lines of 80 columns, and has examples."""
    monkeypatch.setenv("COLUMNS", "80")
    monkeypatch.setenv("NO_COLOR", "1")
    status, printed, _ = _exit([command, "--help"] if command else ["--help"], capsys)
    lines = printed.splitlines()
    assert status == 0
    # One line is the shell's, for its prompt.
    assert len(lines) <= 23
    # The manual's path in an environment of Python's is as long as it is.
    assert [line for line in lines if len(line) > 80 and "man /" not in line] == []
    assert f"\n  upperctl {command}" in printed[printed.index("example") :]


def test_help_names_every_command(capsys: pytest.CaptureFixture[str]) -> None:
    """--help has every command with a line about it."""
    printed = " ".join(_exit(["--help"], capsys)[1].split())
    assert [name for name, line in COMMANDS.items() if f"{name} {line}" not in printed] == []


def test_no_word(capsys: pytest.CaptureFixture[str]) -> None:
    """upperctl alone is a wrong line, answered with the help."""
    status, printed, complaint = _exit([], capsys)
    assert (status, printed) == (64, "")
    assert "usage: upperctl" in complaint
    assert "examples:" in complaint


@pytest.mark.parametrize(
    ("words", "cure"),
    [
        (["stat"], "no command 'stat'; is it 'stats'?"),
        (["help"], "no command 'help'; is it '--help'?"),
        (["grüße"], "no command 'grüße'; to send text: upperctl send 'grüße'"),
        (["hello"], "no command 'hello'; to send text: upperctl send hello"),
        (["STATUS"], "no command 'STATUS'; is it 'status'?"),
        (["--sockt", "x", "send", "y"], "no option '--sockt'; is it '--socket'?"),
        (["--socket", "x", "--tpc", "x", "send", "y"], "no option '--tpc'; is it '--tcp'?"),
        (["send", "--fle=x"], "no option '--fle'; is it '--file'?"),
        (["--socket", "x"], "give a command: send, status"),
        (["send", "--nope"], "no option '--nope'; text that begins with a dash goes after --"),
        (["status", "--nope"], "no option '--nope'\n"),
        (["status", "nope"], "status takes no arguments: leave out 'nope'\n"),
        (["status", "--watch"], "--watch is no option of status: upperctl stats --watch\n"),
        (["--once", "top"], "--once comes after the command: upperctl top --once\n"),
        (["-c", "1", "ping"], "-c comes after the command: upperctl ping -c\n"),
        (["send", "--socket"], "--socket needs a value: PATH\n"),
        (["-n"], "-n needs a value: NAME\n"),
        (["ping", "-c", "none"], "-c is 'none': it must be a whole number from 1 to 999999999\n"),
        (["ping", "-W", "soon"], "--timeout is 'soon': it must be a number of seconds from 0.01 to 86400\n"),
        (["stats", "--watch", "nan"], "--watch is 'nan': it must be a number of seconds from 0.1 to 86400\n"),
        (["top", "--sort", "x"], "--sort is 'x': it must be one of pid, state, "),
        (["top", "--once=yes"], "--once takes no value\n"),
        (["stats", "--json", "--prometheus"], "give either --json or --prometheus, not both\n"),
        (["send", "--file="], "--file is empty: name a file\n"),
        (["send", "-n", "", "x"], "-n is empty: leave it out to find the daemon\n"),
        (["status", "-n", "../x"], "-n is '../x': it must be PROGRAM or PROGRAM@INSTANCE\n"),
        (["--socket", "a", "send", "--tcp", "b:1", "x"], "give either --socket or --tcp, not both"),
        (["--socket", "a", "--tcp", "b:1", "send", "x"], "give either --socket or --tcp, not both"),
        (["--socket", "", "send", "x"], "--socket is empty"),
        (["send", "--soc", "a", "x"], "no option '--soc'; is it '--socket'?"),
    ],
    ids=str,
)
def test_wrong_line_is_explained(words: list[str], cure: str, capsys: pytest.CaptureFixture[str]) -> None:
    """A wrong line is answered with what is wrong, what may have been meant, where to read on, and status 64."""
    status, printed, complaint = _exit(words, capsys)
    assert (status, printed) == (64, "")
    assert complaint.startswith("upperctl: ")
    assert cure in complaint
    assert f"--help' or {manual(1, 'upperctl')}." in complaint


@pytest.mark.parametrize(
    ("verb", "otherwise"),
    [
        ("start", "upperd --socket PATH"),
        ("stop", "kill PID, which upperctl status shows"),
        ("restart", "kill PID, which upperctl status shows, and start it again"),
        ("reload", "kill -HUP PID, which upperctl status shows"),
        ("enable", "install its unit first: sudo make install"),
        ("disable", "its unit is not installed"),
    ],
)
def test_what_the_manager_is_asked_for(
    verb: str, otherwise: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """A verb of systemctl is answered with systemctl's command where the unit is there, else with another way."""
    monkeypatch.setattr(installation, "_UNITS", (str(tmp_path),))
    said = f"upperctl: no command '{verb}', since upperctl is only the client: "
    assert _exit([verb], capsys)[2].startswith(f"{said}{otherwise}\n")
    (tmp_path / "upperd.service").touch()
    assert _exit([verb.upper()], capsys)[2].startswith(f"{said.replace(verb, verb.upper())}systemctl {verb} upperd\n")


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (["send", "a", "b"], (["a", "b"], None)),
        (["send", ""], ([""], None)),
        (["--socket", "s", "send", "a"], (["a"], "s")),
        (["send", "--socket", "s", "a"], (["a"], "s")),
        (["--socket", "s", "send", "status"], (["status"], "s")),
    ],
    ids=str,
)
def test_plain_text_needs_no_parser(words: list[str], expected: tuple[list[str], str | None]) -> None:
    """A plain line that sends a text is understood without the parser, and as the parser would."""
    found = ctl.find_text(words)
    assert found is not None
    assert found == expected
    arguments = parser.parse(words)
    assert (arguments.text, arguments.socket, arguments.tcp) == (*found, None)


@pytest.mark.parametrize(
    "line",
    [
        "", "send", "status", "--socket", "--socket s", "--socket s send", "send --socket", "send --socket s",
        "send -- a", "send a -x", "send --file f", "send -h", "--tcp h:1 send a", "send --tcp h:1 a",
        "--socket -x send a", "--socket s send --socket t a", "send a --socket s", "send -",
    ],
)  # fmt: skip
def test_everything_else_goes_to_the_parser(line: str) -> None:
    """Whatever is not as plain is left to the parser."""
    assert ctl.find_text(line.split()) is None
    assert ctl.find_text(["--socket", "", "send", "a"]) is None


@pytest.mark.parametrize("words", [["--socket", "stats", "send", "x"], ["--tcp", "stats:1", "send", "--", "x"]])
def test_address_is_no_command(words: list[str]) -> None:
    """A socket with the name of a command is a socket."""
    arguments = parser.parse(words)
    assert (arguments.command, arguments.text) == ("send", ["x"])
