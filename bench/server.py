"""Runs a peer in a new folder and a session of its own, and ends it with every process that it started."""

from __future__ import annotations

import contextlib
import ctypes
import os
import resource
import select
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import process
from peers import SEARCH, Peer, Place

START_SECONDS = 60.0
STOP_SECONDS = 30.0


class PeerError(Exception):
    """A peer failed; the text says why."""


class Server:
    """A running peer."""

    def __init__(self, pid: int, address: str) -> None:
        self.pid = pid
        self.address = address


def pause(seconds: float = 0.005) -> None:
    """Wait before the next look at something that gives no event."""
    select.select([], [], [], seconds)


@contextlib.contextmanager
def running(peer: Peer, is_dialogue: bool = False, held: int = 0) -> Iterator[Server]:
    """Run a peer, ready to accept, until the end of the block. Raises PeerError."""
    with tempfile.TemporaryDirectory(prefix="bench-") as folder:
        # Super-servers run their services as another user.
        os.chmod(folder, 0o755)
        place = Place(Path(folder), is_dialogue, held)
        address = peer.address(place)
        command = peer.command(place, address)
        environ = {**os.environ, "PATH": SEARCH}
        with contextlib.ExitStack() as stack:
            if peer.is_notifying:
                environ["NOTIFY_SOCKET"] = stack.enter_context(listening_manager(place.folder))
            yield stack.enter_context(_started(command, environ, address, place.folder))


@contextlib.contextmanager
def _started(command: list[str], environ: dict[str, str], address: str, folder: Path) -> Iterator[Server]:
    with open(folder / "log", "wb") as log:
        try:
            popen = subprocess.Popen(
                command,
                env=environ,
                cwd=folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        except OSError as error:
            raise PeerError(f"cannot run {command[0]}: {error.strerror}") from None
    try:
        _wait_until_it_accepts(popen, address, folder / "log")
        yield Server(popen.pid, address)
    finally:
        _stop(popen)


@contextlib.contextmanager
def listening_manager(folder: Path) -> Iterator[str]:
    """Run a service manager that reads and discards notifications; yield the path of its socket."""
    path = str(folder / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(path)
        thread = threading.Thread(target=_listen, args=(manager,))
        thread.start()
        try:
            yield path
        finally:
            manager.shutdown(socket.SHUT_RD)
            thread.join()


def _listen(manager: socket.socket) -> None:
    while manager.recv(4096):
        pass


def _wait_until_it_accepts(popen: subprocess.Popen[bytes], address: str, log: Path) -> None:
    end = time.monotonic() + START_SECONDS
    while not _accepts(address):
        if popen.poll() is not None or time.monotonic() > end:
            said = log.read_text(errors="replace").strip().splitlines()
            raise PeerError(f"does not start: {said[-1] if said else 'it says nothing'}")
        pause()


def _accepts(address: str) -> bool:
    is_path = "/" in address
    with socket.socket(socket.AF_UNIX if is_path else socket.AF_INET) as probe:
        try:
            probe.connect(address if is_path else ("127.0.0.1", int(address)))
        except OSError:
            return False
    return True


def _stop(popen: subprocess.Popen[bytes]) -> None:
    """Send SIGTERM, then SIGKILL; then kill the processes that it left, which are now ours (adopt_orphans)."""
    popen.terminate()
    try:
        popen.wait(STOP_SECONDS)
    except subprocess.TimeoutExpired:
        popen.kill()
        popen.wait()
    end = time.monotonic() + STOP_SECONDS
    while (left := process.tree(os.getpid())[1:]) and time.monotonic() < end:
        for pid in left:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
            with contextlib.suppress(ChildProcessError):  # a grandchild: becomes our child when its parent ends
                os.waitpid(pid, os.WNOHANG)
        pause()


def adopt_orphans() -> None:
    """Become the parent of orphaned descendants (prctl(2), PR_SET_CHILD_SUBREAPER), so that all can be ended."""
    ctypes.CDLL(None, use_errno=True).prctl(36, 1, 0, 0, 0)


def raise_file_limit() -> None:
    """Raise the limit of open descriptors to its maximum, here and in our children: for a thousand connections."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
