"""Runs the load generator; returns its figures, or raises the reason why there are none."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Iterator

from build import BUILT
from server import PeerError

WRONG = 3
"""The load generator's exit status for a wrong reply."""


class WrongReplyError(Exception):
    """A peer gave a wrong answer, so all its measurements are void."""


def load(*words: object, timeout: float = 120) -> dict[str, float]:
    """Run the load generator; return its figures by name. Raises PeerError and WrongReplyError."""
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
    """Hold `count` served connections open until the end of the block. Raises PeerError and WrongReplyError."""
    command = [str(BUILT / "load"), "hold", address, str(count)]
    holder = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    assert holder.stdin
    assert holder.stdout
    assert holder.stderr
    with holder:
        # No time-out here: the load generator has its own, and reports success or the error.
        if holder.stdout.readline() != f"held {count}\n":
            raise _error(holder.wait(), holder.stderr.read())
        yield
        holder.stdin.close()


def _error(status: int, said: str) -> Exception:
    reason = said.strip().removeprefix("load: ").splitlines() or [f"the load generator ended with {status}"]
    return WrongReplyError(reason[0]) if status == WRONG else PeerError(reason[0])
