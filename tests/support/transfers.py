"""A transfer that goes on beside a test."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator

from running import DEADLINE


@contextlib.contextmanager
def continuing(connection: socket.socket) -> Iterator[list[int]]:
    """Send an "x" ten times a second, so that a drain does not take the connection for quiet; yields how many."""
    over, sent = threading.Event(), [0]

    def go_on() -> None:
        with contextlib.suppress(ConnectionError):  # the test may end the other side
            while not over.wait(0.1):
                connection.sendall(b"x")
                sent[0] += 1

    sender = threading.Thread(target=go_on)
    sender.start()
    try:
        yield sent
    finally:
        over.set()
        sender.join(DEADLINE)
