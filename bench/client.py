"""The load generator, run from Python: its figures, or why there are none."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from build import BUILT
from server import PeerError

WRONG = 3
"""Its exit status for a reply that is wrong."""


class WrongReplyError(Exception):
    """A peer answered, and wrongly: nothing that was measured of it counts."""


def load(*words: object, timeout: float = 120) -> dict[str, float]:
    """Run it; what it found, by name. Raises PeerError and WrongReplyError."""
    command = [str(BUILT / "load"), *map(str, words)]
    try:
        done = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
    except subprocess.TimeoutExpired:
        raise PeerError(f"not done within {timeout:g} s") from None
    if done.returncode:
        raise _error(done.returncode, done.stderr)
    return {name: float(value) for name, value in map(str.split, done.stdout.splitlines())}


@contextlib.contextmanager
def holding(address: str, count: int) -> Iterator[None]:
    """That many connections, each served and open, until the end of the block. Raises PeerError, WrongReplyError."""
    command = [str(BUILT / "load"), "hold", address, str(count)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdin
    assert holder.stdout
    assert holder.stderr
    with holder:
        # Its own patience bounds this: it says that it holds, or why it cannot.
        if holder.stdout.readline() != f"held {count}\n":
            raise _error(holder.wait(), holder.stderr.read())
        yield
        holder.stdin.close()


def _error(status: int, said: str) -> Exception:
    reason = said.strip().removeprefix("load: ").splitlines() or [f"the load generator ended with {status}"]
    return WrongReplyError(reason[0]) if status == WRONG else PeerError(reason[0])
