"""What a handler may do to its process, and how that process begins."""

from __future__ import annotations

from pathlib import Path

import pytest
from handlers import MODULE, options, write_module
from running import ask_on, running, wait_until


@pytest.fixture
def module(folder: Path) -> Path:
    """A module with handlers, in a folder of its own."""
    return write_module(folder)


# What a handler may do to its process

ENDS = {
    "raise": (r"ended with exit code 70: ValueError: bad\x1b[31m \nline at ", "failed"),
    "exit": ("ended with exit code 70: SystemExit: enough at ", "failed"),
    "_exit": ("ended with exit code 3", ""),
}


@pytest.mark.parametrize("word", ENDS)
def test_handler_that_ends_its_process(folder: Path, module: Path, word: str) -> None:
    """After an exception the connection ends, the record says which one and where, and the next has a new child."""
    with running(folder, *options(module)) as daemon:
        before = daemon.ask(b"pid\n")
        assert daemon.ask(f"{word}\n".encode()) == b""
        assert daemon.ask(b"pid\n") not in (b"", before)
        wait_until(lambda: ENDS[word][0] in daemon.log, "the record")
        [record] = [line for line in daemon.log.splitlines() if " end: " in line and "exit=0" not in line]
        if word != "_exit":
            number = 1 + MODULE.splitlines().index(f"    def do_{word}(self):") + 1
            assert f"{module}:{number} " in record
            assert f"exception={'ValueError' if word == 'raise' else 'SystemExit'}: " in record
        assert (record + daemon.log.replace("\n", "")).isprintable()
        assert daemon.stop() == 0


@pytest.mark.parametrize("word", ["fork", "thread", "close", "ignore"])
def test_handler_that_spoils_its_process(folder: Path, module: Path, word: str) -> None:
    """A handler that forks, starts a thread, closes others' files or ignores signals harms only its own connection."""
    with running(folder, *options(module, "Shout", "--drain-timeout", "5")) as daemon:
        before = daemon.ask(b"pid\n")
        daemon.ask(f"{word}\n".encode())
        answers = [daemon.ask(b"pid\n") for _ in range(20)]
        assert b"" not in answers
        if word in ("close", "ignore"):
            assert before not in answers
        with daemon.connect() as connection:
            connection.sendall(b"pid\n")
            assert connection.recv(64).strip().isdigit()
            assert daemon.stop() == 0  # which ends the connection: it is quiet
            assert connection.recv(64) == b""
        assert "killed=0" in daemon.log


def test_handler_that_ends_by_force_only(folder: Path, module: Path) -> None:
    """A handler that ignores every signal and never returns does not keep the daemon from ending."""
    with running(folder, *options(module, "Shout", "--drain-timeout", "0.1")) as daemon, daemon.connect() as connection:
        connection.sendall(b"hang\n")
        assert connection.recv(64) == b"hangs\n"
        assert daemon.stop() == 0
        assert "was killed at the drain deadline" in daemon.log


# Beginning


def test_slow_beginning(folder: Path, module: Path) -> None:
    """A child that begins more slowly than a connection may wait for its start is still given time."""
    with running(folder, *options(module, "Slow")) as daemon, daemon.connect() as connection:
        connection.sendall(b"hello")
        connection.settimeout(1.6)  # beyond START_SECONDS, and a look
        with pytest.raises(TimeoutError):
            connection.recv(1)
        assert daemon.board.header["stopped"] == 0
        (module.parent / "go").touch()
        connection.settimeout(30)
        assert ask_on(connection, b"!") == b"hello!"


def test_beginning_that_fails(folder: Path, module: Path) -> None:
    """While children fail to begin, connections wait, and the log says why; later they are answered."""
    with running(folder, *options(module, "Broken")) as daemon, daemon.connect() as connection:
        connection.sendall(b"hello")
        wait_until(lambda: f"FileNotFoundError: No such file or directory: '{module.parent}/database'"
                   in daemon.log, "the cause is logged")  # fmt: skip
        (module.parent / "database").touch()
        assert ask_on(connection, b"!") == b"hello!"
        assert daemon.board.header["lost"] == 0
