"""A socket whose permissions cannot be changed as configured."""

import errno
import os
from pathlib import Path

import pytest

from upperd.service.binding import Permissions, bind_unix
from upperd.service.listeners import ListenerError


def test_permissions_that_we_may_not_give(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An owner that only root may set is an error with the cause; path and lock are free again."""
    path = str(tmp_path / "s")

    def chown(target: str, owner: int, group: int) -> None:
        raise PermissionError(errno.EPERM, "Operation not permitted")

    monkeypatch.setattr(os, "chown", chown)
    before = os.listdir("/proc/self/fd")
    with pytest.raises(ListenerError, match="only root may choose an owner"):
        bind_unix(path, permissions=Permissions(owner=0))
    assert os.listdir("/proc/self/fd") == before
    assert not os.path.lexists(path)
    bind_unix(path).close()
