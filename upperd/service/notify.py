"""The wire to the service manager: sd_notify(3), and s6's newline. What the manager says to us is in manager.py.

`sdnotify` is the transport. Three of its habits do not reach us: it encodes Latin-1 (we hand it text whose Latin-1 is
our UTF-8), it swallows every error (its `debug` mode raises them), and its socket blocks once the manager has a dozen
messages waiting (we make it non-blocking). Only the parent notifies: the launcher takes the address out of the
environment.

Any local user can fill the manager's queue. So what the manager must hear is kept, and sent again until the kernel has
taken it, in order.
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
"""How soon the loop tries again what the manager had no room for."""
_TRIES = 50
"""How often at each time: the manager makes room for one message, and a flood takes it at once."""
_MOST_KEPT = 64
"""Messages that are kept: a manager that is gone for good must not cost us memory."""
LONGEST = 4000
"""Bytes of a message: the manager throws a longer one away than 4096 (NOTIFY_BUFFER_MAX, which is PIPE_BUF)."""
LAST_WORDS_SECONDS = 2.0
"""How long our end waits for a manager that has no room for what it must hear."""


class Notifier:
    """Sends to the manager. Nothing here raises, and nothing waits but `flush`."""

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; empty: there is no manager, and nothing is sent.

        The socket is opened here, before anything else can take its descriptor.
        """
        self._address = address
        self._transport: SystemdNotifier | None = None
        self._kept: deque[tuple[bytes, list[int]]] = deque()
        self.wake: Callable[[], object] = bool
        """Called when a message is kept, to have `turn` called soon."""
        if address:
            try:
                self._transport = self._connect()
            except (OSError, ValueError):
                pass  # tried again with each message

    @property
    def is_connected(self) -> bool:
        """Whether there is a manager to notify."""
        return bool(self._address)

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send what the manager must hear, in one message, and copies of `descriptors`.

        False: it is kept, and sent by `turn` or `flush`.
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
        """Send why there is no daemon: the reason last, since what is too long is cut there. As `send`."""
        return self.send(f"ERRNO={number}", f"EXIT_STATUS={status}", f"STATUS={reason}")

    def tell(self, *assignments: str) -> bool:
        """Send what may be skipped, but not before what is kept. False: it was skipped."""
        return not self._address or (self._send_kept() and self._try(_message(assignments)))

    def turn(self, now: float) -> float | None:
        """Send what is kept; return when to be asked again."""
        return None if self._send_kept() else now + RETRY_SECONDS

    def flush(self, seconds: float) -> bool:
        """Wait until the manager has taken everything, at most `seconds`. Whether it has."""
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
                is_new = True  # the manager may have made its socket anew since we connected
        return False

    def _send(self, message: bytes, descriptors: Sequence[int]) -> None:
        if self._transport is None:
            self._transport = self._connect()
        if descriptors:
            socket.send_fds(self._transport.socket, [message], descriptors)
        else:
            self._transport.notify(message.decode("latin-1"))

    def _connect(self) -> SystemdNotifier:
        # sdnotify reads its address from the environment, and nowhere else.
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            transport = SystemdNotifier(debug=True)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        transport.socket.setblocking(False)
        return transport


def _message(assignments: Sequence[str]) -> bytes:
    """One assignment a line, as the protocol has it; a line break inside one would begin another.

    What is too long is cut at its end, where the status is.
    """
    whole = "\n".join(assignment.replace("\n", " ") for assignment in assignments).encode("utf-8", "replace")
    return whole if len(whole) <= LONGEST else whole[:LONGEST].decode("utf-8", "ignore").encode()


def _copies(descriptors: Sequence[int]) -> list[int]:
    """Copies to keep open until they are sent; none where the table is full."""
    try:
        return [os.dup(descriptor) for descriptor in descriptors]
    except OSError:
        return list[int]()


def _close(descriptors: Sequence[int]) -> None:
    for descriptor in descriptors:
        os.close(descriptor)


def tell_supervisor(descriptor: int, text: str = "\n") -> str:
    """Write the newline that s6 waits for (its documentation, notifywhenup), and close the descriptor. Never blocks.

    `text`: what `upperd --daemonize` understands besides. Returns why it could not be written; empty: it was.
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
