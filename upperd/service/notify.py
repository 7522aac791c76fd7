"""The wire to the service manager: sd_notify(3), and s6's newline. What the manager says to us is in manager.py.

`sdnotify` is the transport. Three of its habits do not reach us: it encodes Latin-1 (we hand it text whose Latin-1 is
our UTF-8), it swallows every error (its `debug` mode raises them), and its socket blocks once the manager has a dozen
messages waiting (we make it non-blocking). Only the parent notifies: the launcher takes the address out of the
environment.
"""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Sequence

from sdnotify import SystemdNotifier


class Notifier:
    """Sends to the manager. Nothing here blocks or raises."""

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; empty: there is no manager, and nothing is sent."""
        self._address = address
        self._transport: SystemdNotifier | None = None

    @property
    def is_connected(self) -> bool:
        """Whether there is a manager to notify."""
        return bool(self._address)

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send assignments such as "READY=1" in one message, and copies of `descriptors`. False: it was lost."""
        if not self._address:
            return True
        # One assignment a line, as the protocol has it; a line break inside one would begin another.
        message = "\n".join(assignment.replace("\n", " ") for assignment in assignments).encode("utf-8", "replace")
        for _ in range(2):  # the manager may have made its socket anew since we connected
            try:
                self._send(message, descriptors)
                return True
            except (OSError, ValueError):
                if self._transport is not None:
                    self._transport.socket.close()
                    self._transport = None
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


def tell_supervisor(descriptor: int, text: str = "\n") -> str:
    """Write the newline that s6 waits for (its documentation, notifywhenup), and close the descriptor. Never blocks.

    `text`: what `upperd --daemonize` understands besides. Returns why it could not be written; empty: it was.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        if not poll.poll(0):
            return "it is full"
        os.write(descriptor, text.encode("utf-8", "replace"))
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(descriptor)
    return ""
