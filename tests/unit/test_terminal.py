"""The promises of the terminal: colours only where they are wanted, and waits that end early."""

import os
import pty
import signal
import time
from collections.abc import Iterator

import pytest

from upperd.ctl import terminal


@pytest.fixture
def tty() -> Iterator[int]:
    """A terminal's descriptor."""
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_colours_are_for_terminals(tty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """There are colours on a terminal, and neither on a dumb one, nor in a pipe, nor where NO_COLOR has a value."""
    monkeypatch.setenv("TERM", "xterm")
    monkeypatch.delenv("NO_COLOR", raising=False)
    read, write = os.pipe()
    assert (terminal.has_colour(tty), terminal.has_colour(write)) == (True, False)
    monkeypatch.setenv("NO_COLOR", "")
    assert terminal.has_colour(tty)
    monkeypatch.setenv("NO_COLOR", "1")
    assert not terminal.has_colour(tty)
    monkeypatch.delenv("NO_COLOR")
    monkeypatch.setenv("TERM", "dumb")
    assert not terminal.has_colour(tty)
    os.close(read)
    os.close(write)


def test_paint() -> None:
    """A style is put around a text where colours are on; else the text stays as it is."""
    assert terminal.Paint(True)("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert terminal.Paint(True)("x") == terminal.Paint()("x", "bold") == "x"


def test_wait_ends_at_its_time() -> None:
    """A wait without events lasts as long as it was asked to."""
    with terminal.Waiter() as waiter:
        began = time.monotonic()
        assert waiter.wait(0.05) == []
        assert time.monotonic() - began >= 0.05


def test_wait_ends_with_input() -> None:
    """A wait ends when one of its descriptors can be read, and says which."""
    read, write = os.pipe()
    os.write(write, b"x")
    with terminal.Waiter() as waiter:
        assert waiter.wait(60, read) == [read]
    os.close(read)
    os.close(write)


def test_wait_ends_with_a_new_size() -> None:
    """A wait ends when the terminal has a new size (SIGWINCH), once, and leaves the handlers as they were."""
    before = signal.getsignal(signal.SIGWINCH)
    with terminal.Waiter() as waiter:
        os.kill(os.getpid(), signal.SIGWINCH)
        began = time.monotonic()
        assert waiter.wait(60) == []
        assert time.monotonic() - began < 30
        assert waiter.wait(0.05) == []
    assert signal.getsignal(signal.SIGWINCH) is before
    assert signal.set_wakeup_fd(-1) == -1
