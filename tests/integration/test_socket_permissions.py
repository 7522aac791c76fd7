"""--socket-mode, --socket-owner, --socket-group: owner and mode of the path that the daemon binds."""

from __future__ import annotations

import ctypes
import os
import stat
import subprocess
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, running
from users import ALICE, BOB, CAROL, connect_as, is_served, needs_root

STAFF = 62001


@pytest.mark.parametrize("umask", [0o000, 0o022, 0o077])
def test_mode_is_not_narrowed(folder: Path, umask: int) -> None:
    """The path has the mode of --socket-mode, whatever the umask is."""
    with running(folder, "--socket-mode", "0646", umask=umask) as daemon:
        assert stat.S_IMODE(os.stat(daemon.path).st_mode) == 0o646


def test_owner_and_group(folder: Path) -> None:
    """The path belongs to the given owner and group, who may connect, and no other user may."""
    needs_root(folder)
    options = ("--socket-owner", str(ALICE), "--socket-group", str(STAFF), "--socket-mode", "660")
    with running(folder, *options) as daemon:
        status = os.stat(daemon.path)
        assert (status.st_uid, status.st_gid, stat.S_IMODE(status.st_mode)) == (ALICE, STAFF, 0o660)
        for connection in (*connect_as(daemon, ALICE), *connect_as(daemon, BOB, groups=[STAFF])):
            with connection:
                assert is_served(connection)
        with pytest.raises(subprocess.CalledProcessError):
            connect_as(daemon, CAROL)
        assert daemon.stop() == 0
        assert not daemon.path.exists()


def test_group_that_may_not_be_given(folder: Path) -> None:
    """A user who may not give the path away is told so, with the cure; no socket is left, TCP does not replace it."""
    needs_root(folder)
    done = subprocess.run(
        [*COMMAND, "--socket", str(folder / "s"), "--socket-owner", str(ALICE)],
        preexec_fn=_without_chown,
        capture_output=True,
        text=True,
        timeout=DEADLINE,
    )
    assert done.returncode == 73
    assert "cannot give" in done.stderr
    assert "only root may choose an owner" in done.stderr
    assert not (folder / "s").exists()


def _without_chown() -> None:
    """Root without the right to give files away: drops that capability (capabilities(7), PR_CAPBSET_DROP)."""
    assert ctypes.CDLL(None).prctl(24, 0, 0, 0, 0) == 0
