"""The scoreboard cannot be written, is deleted, overwritten or truncated: at worst this daemon ends."""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path

import pytest
from account import asking, held, once, recorded, unaffected
from running import COMMAND, Daemon, lives, running, wait_until

from upperd.server import layout


def _check_log(daemon: Daemon, count: int) -> None:
    """The daemon ends well, and the log accounts for every connection as always."""
    assert daemon.stop() == 0
    assert recorded(daemon.log) == count
    assert "Traceback" not in daemon.log


def _is_calm(daemon: Daemon) -> bool:
    board = daemon.board
    pids = {child["pid"] for child in board.children}
    return board.busy == 0 and 8 <= len(pids) <= 16 and pids == {*daemon.children()}


@pytest.mark.usefixtures("as_root")
def test_no_space_for_it(folder: Path) -> None:
    """On a full file system there is no scoreboard file; the log says so once, and has every connection."""
    (folder / "full").mkdir()
    mount = f'mount -t tmpfs -o size=64k none {folder}/full && exec "$@"'
    options = ["--socket", f"{folder}/upperd.sock", "--scoreboard", f"{folder}/full/scoreboard", "--no-fallback"]
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", *COMMAND, *options]
    with running(folder, command=command) as daemon:
        with asking(daemon) as account:
            account.wait_for_progress(50)
        _check_log(daemon, len(account.opened))
    assert "No space left on device" in once(daemon.log, " starting: no scoreboard at ")


def test_deleted(folder: Path) -> None:
    """Only readers miss a deleted scoreboard; the next daemon makes another."""
    with running(folder) as daemon:
        with asking(daemon) as account:
            (folder / "scoreboard").unlink()
            account.wait_for_progress(50)
        _check_log(daemon, len(account.opened))
    (folder / "log").unlink()
    with running(folder) as daemon, unaffected(daemon):
        pass


@pytest.mark.parametrize("what", ["zeros", "ones", "0x01", "0x80", "random"])
def test_overwritten(folder: Path, what: str) -> None:
    """Whatever overwrites the scoreboard, the daemon serves all clients and gets its spare children back."""
    size = layout.SIZE
    filled = {"zeros": 0, "ones": 0xFF, "0x01": 0x01, "0x80": 0x80}
    garbage = bytes((filled[what],)) * size if what in filled else random.Random(1).randbytes(size)
    with running(folder, "--max-children", "16") as daemon:
        with asking(daemon, bystanders=4) as account, held(daemon) as (client, _), account.quiet():
            with open(folder / "scoreboard", "r+b") as file:
                file.seek(8)
                file.write(garbage[8:])
                file.seek(0)
                file.write(garbage[:8])  # last: from now on the daemon repairs it
            repaired = " scoreboard: the scoreboard was overwritten; "
            client.sendall(b"x")
            assert client.recv(1) == b"X"
            wait_until(lambda: repaired in daemon.log, "it is repaired")
            client.sendall(b"y")
            assert client.recv(1) == b"Y"
        wait_until(lambda: _is_calm(daemon), "its rows are those of the children, and none is busy")
        assert daemon.stop() == 0
    once(daemon.log, repaired)
    assert "Traceback" not in daemon.log
    assert "<3>" not in daemon.log


def test_truncated(folder: Path) -> None:
    """Truncating the scoreboard ends the daemon and its children (SIGBUS); the next daemon works normally."""
    with running(folder) as daemon:
        client = daemon.held()
        children = daemon.children()
        os.truncate(folder / "scoreboard", 0)
        with client, contextlib.suppress(BrokenPipeError):  # it may have ended by now
            client.sendall(b"x")
            assert daemon.wait() == -signal.SIGBUS
            wait_until(lambda: not any(map(lives, children)), "every child ends")
    (folder / "log").unlink()
    with running(folder) as daemon, unaffected(daemon):
        pass


@pytest.mark.usefixtures("as_root")
def test_no_space_for_more_rows(folder: Path) -> None:
    """If a reload asks for more children than there is room for, the old settings stay, and the daemon serves."""
    (folder / "small").mkdir()
    config = folder / "upperd.toml"
    config.write_text("max-children = 4\n")
    mount = f'mount -t tmpfs -o size=1m none {folder}/small && exec "$@"'
    options = ["--socket", f"{folder}/upperd.sock", "--scoreboard", f"{folder}/small/scoreboard", "--no-fallback"]
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", *COMMAND, *options, "--config", str(config)]
    with running(folder, command=command) as daemon:
        config.write_text("max-children = 1024\n")
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay: " in daemon.log, "the reload fails")
        assert daemon.ask(b"x") == b"X"
        assert daemon.stop() == 0
    assert "max-children is 1024: no room for it in the scoreboard: No space left on device" in daemon.log
