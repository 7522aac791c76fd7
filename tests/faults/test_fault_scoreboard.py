"""The scoreboard: no room for it, deleted, overwritten, truncated. At worst the daemon ends, and nothing else does."""

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
    """The daemon ends well, and the log, which nobody has touched, has an account of every connection."""
    assert daemon.stop() == 0
    assert recorded(daemon.log) == count
    assert "Traceback" not in daemon.log


def _is_calm(daemon: Daemon) -> bool:
    return (daemon.board.busy, daemon.board.spare, len(daemon.children())) == (0, 8, 8)


@pytest.mark.usefixtures("as_root")
def test_no_space_for_it(folder: Path) -> None:
    """On a full file system there is no scoreboard file; the log says so once, and has every connection."""
    (folder / "full").mkdir()
    mount = f"mount -t tmpfs -o size=64k none {folder}/full && exec \"$@\""
    options = ["--socket", f"{folder}/upperd.sock", "--scoreboard", f"{folder}/full/scoreboard", "--no-fallback"]
    command = ["unshare", "--mount", "sh", "-c", mount, "sh", *COMMAND, *options]
    with running(folder, command=command) as daemon:
        with asking(daemon) as account:
            account.wait_for_progress(50)
        _check_log(daemon, len(account.opened))
    assert "No space left on device" in once(daemon.log, " starting: no scoreboard at ")


def test_deleted(folder: Path) -> None:
    """A scoreboard that somebody deletes is missed by readers only; the next daemon makes another."""
    with running(folder) as daemon:
        with asking(daemon) as account:
            (folder / "scoreboard").unlink()
            account.wait_for_progress(50)
        _check_log(daemon, len(account.opened))
    (folder / "log").unlink()
    with running(folder) as daemon, unaffected(daemon):
        pass


@pytest.mark.parametrize("what", ["zeros", "ones", "0x02", "0x80", "random"])
def test_overwritten(folder: Path, what: str) -> None:
    """Whatever is written over it, the daemon serves all and returns to its spare children."""
    size = layout.SIZE
    filled = {"zeros": 0, "ones": 0xFF, "0x02": layout.WAITING, "0x80": 0x80}
    garbage = bytes((filled[what],)) * size if what in filled else random.Random(1).randbytes(size)
    with running(folder, "--max-children", "16") as daemon:
        with asking(daemon, bystanders=4) as account, held(daemon) as (client, _), account.quiet():
            with open(folder / "scoreboard", "r+b") as file:
                file.write(garbage)
            client.sendall(b"x")
            assert client.recv(1) == b"X"
        repaired = " scoreboard: somebody has written over the scoreboard; "
        wait_until(lambda: daemon.ask(b"x") == b"X" and repaired in daemon.log, "it is repaired")
        # Spare children that were taken for busy are too many until they have served.
        wait_until(lambda: _is_calm(daemon) or daemon.ask(b"x") != b"X", "eight spare children, and no more")
        assert daemon.stop() == 0
    once(daemon.log, repaired)
    assert "Traceback" not in daemon.log
    assert "<3>" not in daemon.log


def test_truncated(folder: Path) -> None:
    """A scoreboard that is truncated ends the daemon (SIGBUS) with all of its children; the next one is as new."""
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
