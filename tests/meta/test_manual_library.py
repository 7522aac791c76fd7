"""docs/mixin.md agrees with the program."""

import ast
import re
import signal
import socket
import socketserver
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from upperd.server import PreforkingMixIn
from upperd.server.child import EX_SOFTWARE
from upperd.server.layout import COUNTERS, SLOTS, UNKNOWN

PAGE = (Path(__file__).parents[2] / "docs/mixin.md").read_text()
ROWS = [tuple(cell.strip(" `") for cell in row.split("|")[1:-1]) for row in re.findall(r"^\| `.*$", PAGE, re.MULTILINE)]
ATTRIBUTES = {row[0]: row[1:] for row in ROWS if len(row) == 5}
HOOKS = {row[0]: row[1] for row in ROWS if len(row) == 3}


class Server(PreforkingMixIn, socketserver.UnixStreamServer):
    """A server as described in the page."""


def test_attributes_are_documented() -> None:
    """Every plain value of the class that its user may set is in the page."""
    plain = (int, float, bool, type(None))
    own = {name for name, value in vars(PreforkingMixIn).items() if name[0] != "_" and isinstance(value, plain)}
    assert own <= ATTRIBUTES.keys()
    assert len(own) > 6


@pytest.mark.parametrize("name", ATTRIBUTES)
def test_default_is_the_programs(name: str) -> None:
    """The default of an attribute is the program's, and of the type stated before it."""
    kind, default, *_ = ATTRIBUTES[name]
    value = getattr(Server, name)
    assert ast.literal_eval(default) == value
    assert type(value).__name__.replace("NoneType", "None") in kind.split(" or ")


@pytest.mark.parametrize("name", HOOKS)
def test_hook_is_there(name: str) -> None:
    """A hook that the page names is one of the class."""
    assert callable(getattr(Server, name))
    assert set(HOOKS[name].split(", ")) <= {"parent", "child"}


def test_no_hook_is_missing() -> None:
    """Every method of the stock class that a subclass overrides for requests is in the page."""
    stock = {*dir(socketserver.ForkingMixIn), *dir(socketserver.BaseServer)} - {"handle_request"}
    assert {name for name in stock if name.endswith("_request")} <= HOOKS.keys()
    assert {"handle_error", "handle_timeout", "service_actions"} <= HOOKS.keys()


def test_numbers_are_the_programs() -> None:
    """The other numbers of the page are the program's."""
    assert f"1 to {SLOTS}" in PAGE
    assert f"exit status {EX_SOFTWARE}" in PAGE
    assert (COUNTERS, UNKNOWN) == (8, 2**64 - 1)


def test_server_of_the_page_serves(tmp_path: Path) -> None:
    """The program of the page echoes, with its own handler and with the one that counts."""
    program, counting = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)
    path = str(tmp_path / "echo.sock")
    begin, rest = program.replace("/tmp/echo.sock", path).split("with Server(")
    command = [sys.executable, "-c", f"{begin}{counting}\nprint(flush=True)\nwith Server({rest}"]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    try:
        assert server.stdout is not None
        with server.stdout:
            server.stdout.readline()
        assert _ask(path, b"line\n") == b"line\n"
    finally:
        server.terminate()
        server.wait(60)


def test_server_of_the_page_starts_again(tmp_path: Path) -> None:
    """The program ends silently at Ctrl-C, and starts again at the same path."""
    path = str(tmp_path / "echo.sock")
    code = re.findall(r"```python\n(.*?)```", PAGE, re.DOTALL)[0].replace("/tmp/echo.sock", path)
    for _ in range(2):
        server = subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE, text=True)
        try:
            assert _ask(path, b"line\n") == b"line\n"
        finally:
            server.send_signal(signal.SIGINT)
            said = server.communicate(timeout=60)[1]
        assert (server.returncode, said) == (0, "")


def _ask(path: str, text: bytes) -> bytes:
    """The server's answer, once it listens."""
    while True:
        with socket.socket(socket.AF_UNIX) as client, suppress(FileNotFoundError, ConnectionRefusedError):
            client.settimeout(60)
            client.connect(path)
            client.sendall(text)
            return client.recv(100)
