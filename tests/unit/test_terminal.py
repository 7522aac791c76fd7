"""Colours on a terminal, only if they are wanted."""

import os
import pty
from collections.abc import Iterator

import pytest

from upperd.ctl import output as terminal


@pytest.fixture
def tty() -> Iterator[int]:
    """A terminal's descriptor."""
    master, slave = pty.openpty()
    yield slave
    os.close(master)
    os.close(slave)


def test_colours_are_for_terminals(tty: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Colours appear on a terminal, but not on a dumb one, in a pipe, or if NO_COLOR has a value."""
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
    """With colours on, a text is put into its style; otherwise it stays as it is."""
    assert terminal.Paint(True)("x", "bold", "red") == "\x1b[1;31mx\x1b[0m"
    assert terminal.Paint(True)("x") == terminal.Paint()("x", "bold") == "x"
