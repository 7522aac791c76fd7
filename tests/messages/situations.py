"""Situations caused by a user, an operator or a machine, as shell commands, with the resulting messages.

The tables are in the other files of this folder, by theme. tests/meta/test_messages.py compares them with the source:
every message must be in a table.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

from running import DEADLINE, free_port
from tools import missing

ANY = "…"
"""Stands in a message for a variable part: a path, a pid, a reason of the kernel."""
PRELUDE = """
daemon= held=
serve() {  # a daemon on the socket s, with these options, whose log is the file log
    mkfifo ready
    upperd --socket s --no-fallback "$@" --ready-fd 5 5>ready 2>>log &
    daemon=$!
    read -r _ <ready
    rm ready
}
logged() {  # wait until the log has it
    : >>log
    timeout 60 sh -c 'tail -f log | grep -qm 1 -- "$0"' "$1"
    cat log
}
hold() {  # a connection that stays open after its first line; what it says at its end is in the file err
    mkfifo in out
    upperctl --socket s send <in >out 2>err &
    held=$!
    exec 8>in 7<out
    echo hold >&8
    read -r _ <&7
}
busy() {  # a connection whose transfer does not end
    mkfifo out
    yes | upperctl --socket s send >out 2>err &
    held=$!
    exec 7<out
    read -r _ <&7
    cat <&7 >/dev/null &
}
liar() {  # in place of a daemon: it answers whatever comes with this, and closes
    mkfifo ready
    python3 -c 'import os, socket, sys
listener = socket.socket(socket.AF_UNIX)
listener.bind("s")
listener.listen()
open("ready", "w").close()
while True:
    with listener.accept()[0] as connection:
        if connection.recv(100):
            connection.sendall(sys.argv[1].encode())' "$1" &
    daemon=$!
    read -r _ <ready
}
pass() {  # upperd as a manager starts it that passes this socket, an expression of Python
    python3 -c 'import os, sys
from socket import *
made = eval(sys.argv[1])
os.dup2(made.fileno(), 3)
os.set_inheritable(3, True)
os.environ.update(LISTEN_FDS="1", LISTEN_PID=str(os.getpid()))
os.execvp("upperd", ["upperd", *sys.argv[2:]])' "$@"
}
powerless() {  # as an ordinary user, to whom other users' files are closed
    setpriv --bounding-set -chown,-dac_override,-dac_read_search,-fowner "$@"
}
stop() {
    kill "$daemon"
    wait "$daemon"
    cat log
}
trap 'kill -9 $daemon $held 2>/dev/null; wait' EXIT
"""


class Situation(NamedTuple):
    """One row of a table."""

    situation: str
    command: str
    """For sh(1), in an empty folder, with the functions of the prelude."""
    status: int
    """The exit status of the last command."""
    message: str
    """A whole line of the output; ANY stands for what varies, PORT in both for a free port."""


def check(row: Situation, folder: Path) -> None:
    """Run the situation: the program prints the table's message, with that exit status, and never a traceback."""
    if re.search("unshare|powerless", row.command) and os.geteuid() != 0:
        missing("a namespace of its own takes root")
    port = str(free_port())
    status, said = run(row.command, folder, PORT=port)
    assert any(is_said(row.message.replace("$PORT", port), line) for line in said.splitlines()), said
    assert status == row.status, said
    for raw in "Traceback", "[Errno", "functools":
        assert raw not in said


def run(command: str, folder: Path, **variables: str) -> tuple[int, str]:
    """Run a command with the functions of the prelude; return its exit status and all that was printed."""
    environ = {name: value for name, value in os.environ.items() if not name.startswith(("LISTEN_", "NOTIFY_"))}
    environ |= {"PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}", "TMPDIR": str(folder), **variables}
    done = subprocess.run(
        ["sh", "-c", PRELUDE + command],
        cwd=folder,
        env=environ,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="backslashreplace",
        timeout=DEADLINE,
    )
    return done.returncode, done.stdout


def is_said(message: str, line: str) -> bool:
    """Whether a line is this message."""
    return re.fullmatch(".*".join(map(re.escape, message.split(ANY))), line) is not None
