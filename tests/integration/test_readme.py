"""What the README shows is what happens."""

import re
import signal
import socket
import subprocess
import sys
from contextlib import ExitStack
from pathlib import Path

import pytest
from running import read_to_end, running, wait_until

from upperd.service.options import Options, read_config

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text()


def _block(language: str, part: str) -> str:
    """The block of code that has `part` in it."""
    [text] = [text for text in re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) if part in text]
    return str(text)


def test_first_commands() -> None:
    """The first command runs the main job, the second the tests; both are targets of the Makefile."""
    commands = "".join(re.findall(r"```sh\n(.*?)```", README, re.DOTALL)).splitlines()
    assert commands[:2] == ["make run", "make test"]
    assert re.findall("^(run|test check):", (ROOT / "Makefile").read_text(), re.MULTILINE)


def test_settings_are_valid(tmp_path: Path) -> None:
    """The settings are a file that upperd takes."""
    config = tmp_path / "upperd.toml"
    config.write_text(_block("toml", "deny-user"))
    assert len(read_config(str(config))) == 4
    options = Options(**read_config(str(config)))
    assert (options.allow_user, options.allow_group, 0 in options.deny_user) == ((), (), False)  # root may come in


def test_commands_answer(tmp_path: Path) -> None:
    """Whoever types the commands of upperctl gets what stands below them."""
    shown = re.findall(r"^\$ upperctl (.*)\n(.*)\n", _block("console", "upperctl"), re.MULTILINE)
    assert len(shown) == 2
    with running(tmp_path) as daemon:
        for words, answer in shown:
            command = f'"$0" -m upperd.ctl.main --socket "$1" {words}'
            done = subprocess.run(
                ["sh", "-c", command, sys.executable, str(daemon.path)], cwd=ROOT, capture_output=True, text=True
            )
            assert (done.stdout, done.stderr) == (f"{answer}\n", "")


def test_service_of_ones_own(tmp_path: Path) -> None:
    """The service in eleven lines serves many clients at one time, each by a process of its own."""
    code = _block("python", "PreforkingMixIn")
    assert len([line for line in code.splitlines() if line]) <= 11
    path = tmp_path / "echo.sock"
    command = [sys.executable, "-c", code.replace("/tmp/echo.sock", str(path))]
    server = subprocess.Popen(command, cwd=ROOT, stderr=subprocess.DEVNULL)
    try:
        with ExitStack() as stack:
            wait_until(lambda: _accepts(path), "the service listens")
            clients = [stack.enter_context(socket.socket(socket.AF_UNIX)) for _ in range(10)]
            for number, client in enumerate(clients):
                client.settimeout(60)
                client.connect(str(path))
                client.sendall(f"line {number}\n".encode())
            assert [client.recv(100) for client in clients] == [f"line {number}\n".encode() for number in range(10)]
            children = Path(f"/proc/{server.pid}/task/{server.pid}/children").read_text().split()
            assert len(children) >= len(clients)
            for client in clients:
                client.shutdown(socket.SHUT_WR)
                assert read_to_end(client) == b""
    finally:
        server.send_signal(signal.SIGINT)
        server.wait(60)


def test_service_of_ones_own_again(tmp_path: Path) -> None:
    """It ends at Ctrl-C without a word, and starts once more at the same path."""
    path = tmp_path / "echo.sock"
    code = _block("python", "PreforkingMixIn").replace("/tmp/echo.sock", str(path))
    for _ in range(2):
        server = subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stderr=subprocess.PIPE, text=True)
        try:
            wait_until(lambda: _accepts(path), "the service listens")
        finally:
            server.send_signal(signal.SIGINT)
            said = server.communicate(timeout=60)[1]
        assert (server.returncode, said) == (0, "")


def _accepts(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX) as client:
        try:
            client.connect(str(path))
        except OSError:
            return False
    return True


@pytest.mark.parametrize("name", re.findall(r"\]\(([^)#:]+)\)", README))
def test_links_lead_somewhere(name: str) -> None:
    """What the README links to is in the repository."""
    assert (ROOT / name).exists()
