"""The command line sets the options, and a wrong word is named."""

import subprocess
import sys

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upperd.service.cli import main
from upperd.service.flags import FLAGS, help_text, parse
from upperd.service.options import OPTIONS, OptionError, Options

NUMBERS = [option for option in OPTIONS if option.kind.read in (int, float)]
NAMES = st.sampled_from([*FLAGS, "-h", "--sock", "--", "-"])
WORDS = st.sampled_from(["", "5", "-5", "2.5", " 7 ", "1_0", "0x1", "inf", "info", "loud", "/x", "a=b", "root", "é"])
PAIRS = st.tuples(NAMES, st.sampled_from(["", "="]), WORDS)
LINES = st.lists(PAIRS | WORDS.map(lambda word: (word,)) | st.tuples(st.text(max_size=4)), max_size=5)


def test_parser_gives_what_was_given() -> None:
    """A flag that is not given is absent, so that it cannot override the file."""
    assert parse([]) == {}
    words = ["--max-children", "5", "--no-fallback", "--drain-timeout=2.5", "--socket", "/x", "--deny-user=a"]
    assert parse([*words, "--deny-user", "b", "--max-children=6"]) == {
        "max_children": 6, "no_fallback": True, "drain_timeout": 2.5, "socket": "/x", "deny_user": ("a", "b"),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("words", "complaint"),
    [
        (["--sockt", "/x"], "no option '--sockt'; is it '--socket'?"),
        (["--max-child=1"], "no option '--max-child'; is it '--max-children'?"),
        (["/x"], "no option '/x'"),
        (["-x\x1b"], "no option '-x\\x1b'"),
        (["--"], "no option '--'"),
        (["--socket"], "--socket needs a value: PATH"),
        (["--socket", "--no-fallback"], "--socket needs a value: PATH"),
        (["--socket="], "--socket is empty: leave it out for its default"),
        (["--allow-user", ""], "--allow-user is empty: leave it out for its default"),
        (["--no-fallback=no"], "--no-fallback takes no value"),
    ],
)
def test_wrong_line(words: list[str], complaint: str) -> None:
    """The error about a command line names the option, and the nearest valid one if there is one."""
    with pytest.raises(OptionError) as raised:
        parse(["--max-children", "5", *words])
    assert str(raised.value) == complaint


@given(LINES)
@example([("--max-children", "=", "\u0667")])
@example([("--max-children", "=", "9" * 5000)])
def test_any_line(items: list[tuple[str, ...]]) -> None:
    """Any command line yields options, or an error of one line that a terminal can show, or help and success."""
    words = [word for item in items for word in (["".join(item)] if "=" in item[1:] else item)]
    complaint = ""
    try:
        said = parse(words)
        Options(**{name: value for name, value in said.items() if name in {option.name for option in OPTIONS}})
    except OptionError as error:
        complaint = str(error)
    assert complaint.isprintable()


@pytest.mark.parametrize("name", [option.flag for option in NUMBERS if option.kind.read is int])
@pytest.mark.parametrize("word", ["many", "5.5", "", "inf"])
def test_word_that_is_no_number(name: str, word: str) -> None:
    """A word that is not a whole number is refused, as in the file."""
    with pytest.raises(OptionError, match=f"{name} is (empty|'{word}': it must be a whole number from )"):
        Options(**parse([f"--{name}={word}"]))


def test_help_names_every_option(capsys: pytest.CaptureFixture[str]) -> None:
    """--help names every option with its argument and its default, and succeeds; so does --version."""
    for words in (["--help"], ["-h"], ["--max-children", "5", "--help"], ["--version"]):
        assert main(words) == 0
        said = capsys.readouterr().out
        assert said.startswith("upperd " if words == ["--version"] else "usage: upperd ")
    lines = help_text().splitlines()
    assert max(map(len, lines)) <= 120
    for name, option in FLAGS.items():
        index = lines.index(f"  {name} {option.kind.metavar}".rstrip())
        assert lines[index + 1].strip().startswith(option.text)
        if option in NUMBERS and option.name not in ("ready_fd", "max_children_per_user"):
            assert lines[index + 1].endswith(f"(default: {option.default:g})")
    assert "(default: seven eighths of max-children)" in help_text()


def test_the_launcher_needs_no_argparse() -> None:
    """Neither a command line nor its errors import the library's parser, which is slow to import."""
    code = "import sys; from upperd.service import cli; sys.exit('argparse' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code]).returncode == 0
