"""The names in the descriptor store."""

import re
import socket
from pathlib import Path

import pytest

from upperd.service.listeners import is_stored, store_name


def test_name_is_the_sockets(tmp_path: Path) -> None:
    """A path's name tells its socket from one that is bound there later; without a path there is no name."""
    path = tmp_path / "s"
    with socket.socket(socket.AF_UNIX) as first, socket.socket(socket.AF_UNIX) as second:
        first.bind(str(path))
        name = store_name(str(path))
        path.rename(tmp_path / "kept")  # so that its inode is not given again
        second.bind(str(path))
        assert store_name(str(path)) != name == store_name(str(tmp_path / "kept"))
    with pytest.raises(FileNotFoundError):
        store_name(str(tmp_path / "nothing"))


@pytest.mark.parametrize("host", ["127.0.0.1", "::1"])
def test_name_is_one_that_the_manager_takes(host: str) -> None:
    """A name is ASCII without colon or control character, at most 255 long (sd_notify(3)), and known as ours.

    The name of an address tells TCP from UDP.
    """
    name = store_name((host, 9999))
    datagrams = store_name((host, 9999), socket.SOCK_DGRAM)
    assert re.fullmatch(r"[!-9;-~]{1,255}", datagrams)
    assert is_stored(datagrams)
    assert datagrams != name
    assert re.fullmatch(r"[!-9;-~]{1,255}", name)
    assert is_stored(name)
    assert not is_stored("upperd.socket")
