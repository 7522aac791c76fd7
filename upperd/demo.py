"""`make run`: the whole of upperd in front of one's eyes, without root and without systemd.

Starts a daemon on a socket of its own, sends it a text through `upperctl`, shows the answer and the daemon's status.
On a terminal it stays until Ctrl-C, else it ends by itself.
"""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager

from upperd.base.streams import open_closed

START_SECONDS = 20
"""How long the daemon may take to be ready."""


def main() -> int:
    """Run the demonstration; returns its exit status."""
    # A terminal that goes away, or a supervisor, ends us as Ctrl-C does: the daemon is stopped on the way out.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    open_closed()
    text = " ".join(sys.argv[1:]) or "hello, straße"
    try:
        with tempfile.TemporaryDirectory(prefix="upperd-run-") as folder:
            return _show(os.path.join(folder, "upperd.sock"), text)
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # or Python complains again when it flushes
        return 0


def _show(path: str, text: str) -> int:
    with _daemon(path) as daemon:
        if daemon is None:
            print("upperd did not become ready; what it said stands above", file=sys.stderr)
            return 1
        failed = _run("upperctl", "--socket", path, "send", text) or _run("upperctl", "--socket", path, "status")
        if failed:
            return failed
        print("\nNext:  sudo make install && sudo systemctl start upperd && upperctl send hello")
        print("Read:  README.md, man -l man/upperd.8; see: upperctl stats, upperctl send < README.md", flush=True)
        if sys.stdin.isatty() and sys.stdout.isatty():
            print("\nThe daemon goes on until Ctrl-C. From another terminal:")
            print(f"  {_command('upperctl')} --socket {path} send hello")
            daemon.wait()
    return 0


def _run(name: str, *arguments: str) -> int:
    """Show a command, and run it."""
    print(f"\n$ {shlex.join((name, *arguments))}", flush=True)
    return subprocess.run([_command(name), *arguments]).returncode


def _command(name: str) -> str:
    """The command of the environment that we run in."""
    return os.path.join(os.path.dirname(sys.executable), name)


@contextmanager
def _daemon(path: str) -> Iterator[subprocess.Popen[bytes] | None]:
    """A running daemon, or None where it did not become ready."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
        address = os.path.join(os.path.dirname(path), "notify")
        notify.bind(address)
        notify.settimeout(START_SECONDS)
        environ = {**os.environ, "NOTIFY_SOCKET": address}
        command = [_command("upperd"), "--socket", path, "--no-fallback", "--log-level", "warning"]
        print(f"$ {shlex.join(('upperd', *command[1:]))} &")
        # A group of its own: Ctrl-C is for us, and we end it in order.
        daemon = subprocess.Popen(command, env=environ, process_group=0)
        try:
            yield daemon if _is_ready(notify) else None
        finally:
            daemon.terminate()
            daemon.wait()


def _is_ready(notify: socket.socket) -> bool:
    try:
        return notify.recv(4096).startswith(b"READY=1")
    except TimeoutError:
        return False


if __name__ == "__main__":
    sys.exit(main())
