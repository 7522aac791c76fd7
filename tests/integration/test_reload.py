"""SIGHUP: new settings without a dropped connection, or the old settings and a reason."""

from __future__ import annotations

import contextlib
import os
import select
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Daemon, running, wait_until


@pytest.fixture
def config(folder: Path) -> Path:
    path = folder / "upperd.toml"
    path.write_text("")
    return path


@pytest.fixture
def reloadable(folder: Path, config: Path) -> Iterator[Daemon]:
    with running(folder, "--config", str(config)) as daemon:
        yield daemon


def _reload(daemon: Daemon) -> str:
    """Reload; return the STATUS sent at the end of it."""
    daemon.signal(signal.SIGHUP)
    daemon.manager.wait_for("RELOADING=1")
    daemon.manager.wait_for("READY=1")
    return daemon.manager.messages[-1]


def test_new_limits_are_taken(reloadable: Daemon, config: Path) -> None:
    """A reload changes the limits, in the daemon and in the scoreboard, and a connection goes on through it."""
    with reloadable.held() as client:
        config.write_text("max-children = 9\nspare-children = 6\ndrain-timeout = 5\nconnections-per-child = 3\n")
        _reload(reloadable)
        wait_until(lambda: reloadable.board.spare == 6, "six spare children wait")
        client.sendall(b"still here")
        assert client.recv(16) == b"STILL HERE"
        header = reloadable.board.header
        assert (header["max_children"], header["spare_children"], header["connections_per_child"]) == (9, 6, 3)
        assert header["drain_timeout_usec"] == 5_000_000
    assert "max-children 64 -> 9" in reloadable.log


def test_manager_is_told(reloadable: Daemon) -> None:
    """RELOADING=1 is sent with its time, and READY=1 with the status ends it."""
    status = _reload(reloadable)
    messages = reloadable.manager.messages
    start = messages.index("RELOADING=1")
    assert messages[start + 1].startswith("MONOTONIC_USEC=")
    assert status.startswith("STATUS=0 busy")


@pytest.mark.parametrize("bad", ["max-childre = 3", "max-children = 0", "not toml", "max-children = 1\ntcp = 7", None])
def test_bad_file_changes_nothing(reloadable: Daemon, config: Path, bad: str | None) -> None:
    """With a bad file the old settings stay, log and status say why, and the manager is told that the reload ended."""
    if bad is None:
        config.unlink()
    else:
        config.write_text(bad)
    status = _reload(reloadable)
    assert status.startswith("STATUS=reload failed: ")
    assert str(config) in status
    assert reloadable.board.header["max_children"] == 64
    assert "the old settings stay" in reloadable.log
    assert reloadable.ask(b"x") == b"X"

    config.write_text("max-children = 32")
    assert "failed" not in _reload(reloadable)
    assert reloadable.board.header["max_children"] == 32


def test_what_takes_a_restart_is_said(reloadable: Daemon, config: Path) -> None:
    """The log names an option that a reload cannot change, and the reload takes over the others."""
    config.write_text('tcp = "127.0.0.1:1"\nmax-children = 8')
    _reload(reloadable)
    assert "tcp none -> 127.0.0.1:1: needs a restart" in reloadable.log
    assert reloadable.board.header["max_children"] == 8


def test_log_level(reloadable: Daemon, config: Path) -> None:
    """The log level follows a reload, in both directions."""
    config.write_text('log-level = "error"\nconnections-per-child = 1')
    _reload(reloadable)
    assert reloadable.ask(b"x") == b"X"
    wait_until(lambda: reloadable.board.header["ended"] >= 1, "the child has ended")
    assert " end: " not in reloadable.log
    config.write_text("connections-per-child = 1")
    _reload(reloadable)
    assert reloadable.ask(b"y") == b"Y"
    wait_until(lambda: " connections=1 " in reloadable.log, "its end is logged")


def test_child_that_served_as_many_as_it_may(folder: Path, config: Path) -> None:
    """A child that has served more than a reload allows finishes its connection, undisturbed, and leaves."""
    config.write_text("connections-per-child = 1000")
    with running(folder, "--config", str(config)) as daemon:
        with daemon.held() as client:
            old = next(child["pid"] for child in daemon.board.children if not child["waiting"])
            config.write_text("connections-per-child = 1")
            _reload(daemon)
            assert select.select([client], [], [], 2)[0] == [], "a quiet connection was ended by a reload"
            client.sendall(b"on")
            assert client.recv(2) == b"ON"
        wait_until(lambda: old not in daemon.children(), "it leaves after its connection")
        for _ in range(20):
            assert daemon.ask(b"x") == b"X"
        assert max(child["connections"] for child in daemon.board.children) <= 1
        assert daemon.board.header["crashed"] == 0


def test_fewer_children_than_there_are(reloadable: Daemon, config: Path) -> None:
    """A limit below the number of children ends no connection; later there are never more than the limit."""
    with contextlib.ExitStack() as until:
        held = [until.enter_context(reloadable.held()) for _ in range(6)]
        config.write_text("max-children = 2")
        _reload(reloadable)
        for client in held:
            client.sendall(b"on")
            assert client.recv(2) == b"ON"
    wait_until(lambda: len(reloadable.children()) <= 2, "those that were too many have ended")
    for _ in range(20):
        assert reloadable.ask(b"x") == b"X"
        assert len(reloadable.children()) <= 2


def test_twenty_in_a_row_and_many_at_once(reloadable: Daemon, config: Path) -> None:
    """Through many reloads, several at once, clients notice nothing, and READY=1 follows each."""
    with reloadable.held() as client:
        for number in range(20):
            config.write_text(f"max-children = {20 + number}")
            _reload(reloadable)
            assert reloadable.ask(b"x") == b"X"
        config.write_text("max-children = 50")
        for _ in range(5):
            reloadable.signal(signal.SIGHUP)
        wait_until(lambda: reloadable.board.header["max_children"] == 50, "the last file is taken")
        client.sendall(b"on")
        assert client.recv(2) == b"ON"
    reloadable.manager.wait_for("RELOADING=1")
    reloadable.manager.wait_for("READY=1")
    assert reloadable.board.header["crashed"] == 0
    assert reloadable.stop() == 0


def test_file_that_cannot_be_read_in_time(reloadable: Daemon, config: Path) -> None:
    """A check that hangs on its file is given up; clients are served meanwhile, and SIGTERM works."""
    config.unlink()
    os.mkfifo(config)
    reloadable.signal(signal.SIGHUP)
    reloadable.manager.wait_for("RELOADING=1")
    assert reloadable.ask(b"x") == b"X"
    reloadable.manager.wait_for("READY=1")
    assert "can the file be read?" in reloadable.log
    reloadable.signal(signal.SIGHUP)
    reloadable.manager.wait_for("RELOADING=1")
    assert reloadable.stop() == 0
