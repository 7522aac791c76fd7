"""`make run`: a demonstration of upperd that needs neither root nor systemd.

It starts a daemon on a socket of its own, sends text through `upperctl`, and shows the answer and the daemon's status.
On a terminal the daemon runs until Ctrl-C, else the demonstration ends by itself.
"""

from __future__ import annotations

import os
import shlex
import signal
import subprocess
import sys
import tempfile

from upperd.base.streams import open_closed

NEXT = "sudo make install && sudo systemctl start upperd && sudo upperctl send hello"
"""Even `send` needs sudo(8): no user is in the group upperd yet."""


def main() -> int:
    """Run the demonstration; return its exit status."""
    # End at SIGTERM or SIGHUP (the terminal is gone) as at Ctrl-C, so that the daemon is stopped as well.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.default_int_handler)
    open_closed()
    try:
        with tempfile.TemporaryDirectory(prefix="upperd-run-") as folder:
            return _show(os.path.join(folder, "upperd.sock"), " ".join(sys.argv[1:]) or "hello, straße")
    except KeyboardInterrupt:
        return 0
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), 1)  # else Python's flush at exit fails and prints an error
        return 0


def _show(path: str, text: str) -> int:
    reading, writing = os.pipe()
    command = [_command("upperd"), "--socket", path, "--no-fallback", "--log-level", "warning"]
    print(f"$ {shlex.join(command)} &", flush=True)
    # Its own process group: Ctrl-C only reaches us, and we stop the daemon in order.
    command += ["--ready-fd", str(writing)]
    daemon = subprocess.Popen(command, pass_fds=[writing], process_group=0)
    os.close(writing)
    try:
        if not os.read(reading, 1):  # end of file: the daemon has exited
            print("upperd did not become ready; what it said stands above", file=sys.stderr)
            return 1
        for words in (["send", text], ["status"]):
            line = [_command("upperctl"), "--socket", path, *words]
            print(f"\n$ {shlex.join(line)}", flush=True)
            if status := subprocess.run(line).returncode:
                return status
        print(f"\nNext:  {NEXT}")
        print("Read:  README.md; man -l man/upperd.8", flush=True)
        if sys.stdin.isatty() and sys.stdout.isatty():
            print("\nThe daemon goes on until Ctrl-C. From another terminal:")
            print(f"  {_command('upperctl')} --socket {path} send hello")
            daemon.wait()
        return 0
    finally:
        os.close(reading)
        daemon.terminate()
        daemon.wait()


def _command(name: str) -> str:
    """The path of a command in our Python environment, relative to the current folder."""
    return os.path.relpath(os.path.join(os.path.dirname(sys.executable), name))


if __name__ == "__main__":
    sys.exit(main())
