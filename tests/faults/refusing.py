"""A daemon whose system calls strace refuses from a chosen moment on (strace(1), --inject).

The interpreter's own start is not tested, so the process stops itself (SIGSTOP) before the program's first line, and
strace attaches then. There are three such moments: `launcher`, before the command line is read; `front`, before the
parent imports anything; `daemon`, before the parent does anything else.
"""

from __future__ import annotations

import contextlib
import os
import re
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from running import DEADLINE, lives, wait_until
from tools import missing, path_of

from upperd.service import cli, flags

_STOP = "import os, signal, sys\n{before}\nos.kill(os.getpid(), signal.SIGSTOP)\nsys.exit({call})\n"
_IN_LEAN = "sys.path[:0] = sys.argv[1].split(os.pathsep)\nfrom upperd.service import lean\n"
_FRONTS = {
    "launcher": _STOP.format(before="from upperd.service import cli", call="cli.main(sys.argv[1:])"),
    "front": _STOP.format(before=_IN_LEAN, call="lean.main()"),
    "daemon": _STOP.format(
        before=f"{_IN_LEAN}lean.import_without_fork_hooks()\nfrom upperd.service import daemon",
        call="daemon.main(sys.argv[2:])",
    ),
}
_FEW = ["prlimit", "--nofile=256:256"]
"""Low descriptor limit: if close_range() is refused, a million close() calls under strace would take minutes."""


@dataclass
class Refused:
    """A running daemon, and the strace process that refuses its calls."""

    process: subprocess.Popen[bytes]
    tracer: subprocess.Popen[bytes]
    folder: Path

    @property
    def log(self) -> str:
        return (self.folder / "log").read_text()

    @property
    def trace(self) -> str:
        return (self.folder / "trace").read_text()

    @property
    def hits(self) -> int:
        """How many calls were refused."""
        return self.trace.count("(INJECTED)")

    @property
    def has_ended(self) -> bool:
        return self.process.poll() is not None

    @property
    def is_short(self) -> bool:
        """Whether the daemon's log says that it pauses, or that a child failed."""
        return bool(re.search(r" (pause|throttle): | end: .* exit code 70", self.log))

    def asks(self, seconds: float = 0.3) -> bool:
        """Whether a client is answered within this many seconds."""
        with socket.socket(socket.AF_UNIX) as client, contextlib.suppress(OSError):
            client.settimeout(seconds)
            client.connect(str(self.folder / "u.sock"))
            client.sendall(b"hi\n")
            return client.recv(16) == b"HI\n"
        return False

    def end(self) -> int:
        """Send SIGTERM if the daemon runs, and return its exit status when no process of its group is left."""
        self.process.send_signal(signal.SIGTERM)
        status = self.process.wait(DEADLINE)
        wait_until(lambda: not any(map(lives, self._group())), "no process of it is left")
        return status

    def _group(self) -> list[int]:
        """The processes of the daemon's process group that were not reaped (proc(5), stat)."""
        found = []
        for stat in Path("/proc").glob("[0-9]*/stat"):
            with contextlib.suppress(OSError):
                if stat.read_text().rpartition(")")[2].split()[2] == str(self.process.pid):
                    found.append(int(stat.parent.name))
        return found

    def relent(self) -> None:
        """Stop refusing calls."""
        self.tracer.terminate()
        self.tracer.wait(DEADLINE)


@contextlib.contextmanager
def refusing(folder: Path, moment: str, *rules: str, calls: str = "") -> Iterator[Refused]:
    """Run a daemon whose calls strace refuses from this moment on, as the `rules` for --inject say.

    `calls`: system calls to trace in addition.
    """
    strace = path_of("strace")
    options = ["--socket", str(folder / "u.sock"), "--no-fallback", "--drain-timeout", "2"]
    front = folder / "front.py"
    front.write_text(_FRONTS[moment])
    words = options
    interpreter = [sys.executable]
    if moment != "launcher":
        settings = cli.make_settings(cli.read_options(flags.parse(options)), options)
        _, *isolated, _, path = (command := cli._lean_command(settings))[:5]
        interpreter, words = [sys.executable, *isolated], [path, *command[5:]]
    with open(folder / "log", "ab") as log:
        process = subprocess.Popen(
            [*_FEW, *interpreter, str(front), *words], stdin=subprocess.DEVNULL, stderr=log, process_group=0
        )
    tracer = None
    try:
        os.waitid(os.P_PID, process.pid, os.WSTOPPED)
        traced = ",".join(filter(None, (calls, *(rule.partition(":")[0] for rule in rules))))
        command = [strace, "-f", "-o", str(folder / "trace"), "-e", f"trace={traced}", "-e", "signal=none"]
        command += [word for rule in rules for word in ("-e", f"inject={rule}")]
        notes = folder / "strace"  # not a pipe: it has a line for each fork, and nothing reads those
        with open(notes, "wb") as file:
            tracer = subprocess.Popen([*command, "-p", str(process.pid)], stderr=file)
        said = wait_until(notes.read_text, "strace says whether it is attached")
        if "attached" not in said:
            missing(f"strace may not look at a process here (kernel.yama.ptrace_scope): {said.strip()}")
        process.send_signal(signal.SIGCONT)
        yield Refused(process, tracer, folder)
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        if tracer is not None:
            tracer.wait(DEADLINE)
