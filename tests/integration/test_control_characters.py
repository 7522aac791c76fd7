"""Control characters from any source reach neither a terminal nor the log raw."""

from __future__ import annotations

import json
import mmap
import os
import re
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, activated, running, wait_until

from upperd.server import layout, scoreboard

CTL = [sys.executable, "-m", "upperd.ctl.main"]
EVIL = "\x1b]0;evil\x07\x1b[2J\x9b31m\r\x7f\u202e"
RAW = re.compile("[\x00-\x09\x0b-\x1f\x7f-\x9f\u202e]")


def _ctl(daemon: Daemon, *words: str) -> str:
    done = subprocess.run([*CTL, "--socket", str(daemon.path), *words], capture_output=True, timeout=DEADLINE)
    return (done.stdout + done.stderr).decode()


@pytest.mark.parametrize("words", [["status"], ["stats"], ["stats", "--json"]], ids=" ".join)
def test_scoreboard_of_a_hostile_owner(folder: Path, words: list[str]) -> None:
    """Control characters that a broken child or a hostile owner wrote into a scoreboard are shown as escapes."""
    path = str(folder / "scoreboard")
    scoreboard.Scoreboard(path, 4).describe(f"1{EVIL}", [f"unix:/x{EVIL} (bound)", EVIL], [EVIL])
    with open(path, "r+b") as file, mmap.mmap(file.fileno(), layout.SIZE) as memory:
        memory[layout.ROWS : layout.ROWS + 256] = b"\x1b" * 256
        memory[layout.PLACES : layout.PLACES + layout.PLACE_SIZE] = b"\x1b" * layout.PLACE_SIZE
        memory[layout.PLACES + 2 : layout.PLACES + 8] = bytes(6)
    command = [*CTL, "--socket", str(folder / "upperd.sock"), *words]
    done = subprocess.run(command, capture_output=True, timeout=DEADLINE)
    assert RAW.findall(done.stdout.decode()) == []
    assert done.stderr == b""
    if words == ["status"]:
        assert r"\x1b]0;evil\x07" in done.stdout.decode()
    if words == ["stats", "--json"]:
        assert json.loads(done.stdout)["listeners"][1] == EVIL


def test_names_of_a_client(daemon: Daemon) -> None:
    """A client's process name, its own address and its text appear neither in the log nor in status or statistics."""
    client = (
        "import socket, sys; open('/proc/self/comm', 'w').write('\\x1b[2Jcomm');"
        "c = socket.socket(socket.AF_UNIX); c.bind('\\0\\x1b[2J' + sys.argv[2]); c.connect(sys.argv[1]);"
        "c.sendall(b'\\x1b[2J\\xff'); assert c.recv(9) == b'\\x1b[2J\\xff'; print(flush=True); sys.stdin.read()"
    )
    command = [sys.executable, "-c", client, str(daemon.path), str(os.getpid())]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == b"\n"
        shown = _ctl(daemon, "status") + _ctl(daemon, "stats")
    daemon.stop()
    assert " end: " in daemon.log
    assert RAW.findall(shown + daemon.log + "".join(daemon.manager.messages)) == []


def test_names_of_the_manager(folder: Path) -> None:
    """The name of a passed socket, and its path, are shown with escapes: in the log, the status and upperctl."""
    path = folder / "upperd.sock"
    with socket.socket(socket.AF_UNIX) as passed, socket.socket(socket.AF_UNIX) as other:
        passed.bind(str(path))
        other.bind(str(folder / EVIL))
        for listener in (passed, other):
            listener.listen()
        with running(folder, **activated(folder, [passed, other], names=f"{EVIL}:b")) as daemon:
            shown = _ctl(daemon, "status") + _ctl(daemon, "stats")
            daemon.stop()
    assert RAW.findall(shown + daemon.log) == []
    assert r"\x1b]0;evil" in shown
    assert r"\x1b]0;evil" in daemon.log


BROKEN = """
import socketserver
class Handler(socketserver.BaseRequestHandler):
    def handle(self):
        raise ValueError(self.request.recv(100).decode())
"""


def test_text_in_an_error(folder: Path) -> None:
    """An exception that quotes the client's text is written as one line without control characters."""
    module = folder / "broken.py"
    module.write_text(BROKEN)
    with running(folder, "--handler", f"{module}:Handler") as daemon:
        with daemon.connect() as client:
            client.sendall(f"{EVIL}\n<0>forged".encode())
            assert client.recv(1) == b""
        wait_until(lambda: " end: " in daemon.log, "the record")
        [line] = [line for line in daemon.log.splitlines() if " end: " in line]
    assert RAW.findall(line) == []
    assert r"\x1b]0;evil\x07" in line
    assert r"\n<0>forged" in line
