"""Sends messages to the service manager: sd_notify(3), and s6's newline. manager.py reads what the manager passes.

`sdnotify` is the transport. This file works around three of its habits: it encodes Latin-1 (we pass text whose Latin-1
is our UTF-8), it swallows every error (its `debug` mode raises them), and its socket blocks while the manager has a
dozen messages waiting (we make it non-blocking). Children never notify: the launcher removes the address from the
environment.

Any local user can fill the manager's queue. So a message that the manager must receive is kept, and sent again until
the kernel accepts it. Such messages stay in order.
"""

from __future__ import annotations

import os
import select
import socket
from collections import deque
from collections.abc import Callable, Sequence
from time import monotonic

from sdnotify import SystemdNotifier

RETRY_SECONDS = 0.02
"""How soon to send a message again if the manager had no room for it."""
_TRIES = 50
"""Attempts in a row to send a kept message: in a flood, other senders take each place that the manager frees."""
_MOST_KEPT = 64
"""The most messages kept; then the oldest is dropped: a manager that never returns must not cost more memory."""
LONGEST = 4000
"""Bytes of a message at most: the manager discards messages over 4096 (NOTIFY_BUFFER_MAX, which is PIPE_BUF)."""
LAST_WORDS_SECONDS = 2.0
"""How long to wait at exit for a manager that has no room for kept messages."""


class Notifier:
    """Sends to the manager. Its methods raise no errors, and only `flush` waits."""

    def __init__(self, address: str) -> None:
        """`address` is that of NOTIFY_SOCKET; empty: there is no manager, and nothing is sent.

        The socket is opened at once, while a descriptor is free.
        """
        self._address = address
        self._transport: SystemdNotifier | None = None
        self._kept: deque[tuple[bytes, list[int]]] = deque()
        self.wake: Callable[[], object] = bool
        """Called when a message is kept, so that the loop calls `turn` soon."""
        if address:
            try:
                self._transport = self._connect()
            except (OSError, ValueError):
                pass  # each message tries again

    @property
    def is_connected(self) -> bool:
        """Whether there is a manager to notify."""
        return bool(self._address)

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send assignments that the manager must receive, in one message, and `descriptors` with it.

        False: the message is kept, with copies of the descriptors, until `turn` or `flush` can send it.
        """
        if not self._address:
            return True
        message = _message(assignments)
        if not self._send_kept() or not self._try(message, descriptors):
            if len(self._kept) == _MOST_KEPT:
                _close(self._kept.popleft()[1])
            self._kept.append((message, _copies(descriptors)))
            self.wake()
        return not self._kept

    def send_failure(self, number: int, status: int, reason: str) -> bool:
        """Send why the daemon failed; returns as `send`. The reason comes last, because a long message is cut there."""
        return self.send(f"ERRNO={number}", f"EXIT_STATUS={status}", f"STATUS={reason}")

    def tell(self, *assignments: str) -> bool:
        """Send assignments that may be lost, after all kept messages. False: they were not sent."""
        return not self._address or (self._send_kept() and self._try(_message(assignments)))

    def turn(self, now: float) -> float | None:
        """Send kept messages; return when to be called again."""
        return None if self._send_kept() else now + RETRY_SECONDS

    def flush(self, seconds: float) -> bool:
        """Send kept messages, waiting at most `seconds` for the manager. Returns whether none is left."""
        end = monotonic() + seconds
        while not self._send_kept() and monotonic() < end:
            select.select([], [], [], RETRY_SECONDS)
        return not self._kept

    def _send_kept(self) -> bool:
        while self._kept:
            message, descriptors = self._kept[0]
            if not self._try(message, descriptors, _TRIES):
                return False
            self._kept.popleft()
            _close(descriptors)
        return True

    def _try(self, message: bytes, descriptors: Sequence[int] = (), tries: int = 1) -> bool:
        is_new = False
        while tries:
            try:
                self._send(message, descriptors)
                return True
            except BlockingIOError:
                tries -= 1
            except (OSError, ValueError):
                if self._transport is not None:
                    self._transport.socket.close()
                    self._transport = None
                if is_new:
                    break
                is_new = True  # connect again: the manager may have replaced its socket
        return False

    def _send(self, message: bytes, descriptors: Sequence[int]) -> None:
        if self._transport is None:
            self._transport = self._connect()
        if descriptors:
            socket.send_fds(self._transport.socket, [message], descriptors)
        else:
            self._transport.notify(message.decode("latin-1"))

    def _connect(self) -> SystemdNotifier:
        # sdnotify reads its address only from the environment.
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            transport = SystemdNotifier(debug=True)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        transport.socket.setblocking(False)
        return transport


def _message(assignments: Sequence[str]) -> bytes:
    """Encode one assignment a line (sd_notify(3)), without line breaks inside an assignment.

    A message over LONGEST is cut at its end, where the status is.
    """
    whole = "\n".join(assignment.replace("\n", " ") for assignment in assignments).encode("utf-8", "replace")
    return whole if len(whole) <= LONGEST else whole[:LONGEST].decode("utf-8", "ignore").encode()


def _copies(descriptors: Sequence[int]) -> list[int]:
    """Copies to keep open until they are sent; none if the descriptor table is full."""
    try:
        return [os.dup(descriptor) for descriptor in descriptors]
    except OSError:
        return list[int]()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def tell_supervisor(descriptor: int, text: str = "\n") -> str:
    """Write the newline that s6 waits for (its documentation, notifywhenup), and close the descriptor. Never blocks.

    `text`: for `upperd --daemonize`, the exit status and reason of a failed start. Returns why writing failed, or "".
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        if not poll.poll(0):
            return "it is full"
        os.write(descriptor, text.encode("utf-8", "replace")[:LONGEST])
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(descriptor)
    return ""
