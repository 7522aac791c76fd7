"""A failed start leaves nothing behind: no lock, path or folder."""

import os
import socket
from collections.abc import Iterator
from contextlib import ExitStack, closing
from pathlib import Path

import pytest
from running import run_to_end

SITUATIONS = {
    "the path is a file": ("file", "--socket s", 73),
    "another program listens on the path": ("listener", "--socket s", 75),
    "the path it is a socket of another type": ("other type", "--socket s", 73),
    "the path has no folder": ("", "--socket none/s", 73),
    "the path of datagrams has no folder": ("", "--socket s --datagram none/d", 73),
    "the port is taken": ("", "--socket s --tcp 127.0.0.1:PORT", 73),
    "the port is taken, beside a socket left behind": ("stale", "--socket s --tcp 127.0.0.1:PORT", 73),
    "the pid file is another file": ("file", "--socket t --pid-file s", 73),
    "the pid file has no folder": ("", "--socket s --pid-file none/pid", 73),
    "the handler is missing": ("", "--socket s --handler nowhere:Handler", 78),
}
"""The kind of file at the path `s`, the options, and the exit status."""


@pytest.fixture
def port() -> Iterator[int]:
    """A port on which another program listens."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("mode", ["", "--daemonize --pid-file pid"], ids=["foreground", "background"])
@pytest.mark.parametrize("situation", SITUATIONS)
def test_nothing_is_left(folder: Path, port: int, situation: str, mode: str) -> None:
    """The folder is as it was before the start; another program's files stay."""
    there, options, status = SITUATIONS[situation]
    words = [*mode.split(), *options.replace("PORT", str(port)).split(), "--no-fallback"]
    with ExitStack() as stack:
        if there == "file":
            (folder / "s").write_text("precious")
        elif there:
            kind = socket.SOCK_SEQPACKET if there == "other type" else socket.SOCK_STREAM
            other = stack.enter_context(closing(socket.socket(socket.AF_UNIX, kind)))
            other.bind(str(folder / "s"))
            if there == "stale":
                other.close()
            else:
                other.listen()
        before = set(os.listdir(folder))
        assert run_to_end(folder, *words)[0] == status
        left = set(os.listdir(folder))
    assert left == (before - {"s"} if there == "stale" else before)
