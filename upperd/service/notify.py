"""The wire to the service manager: sd_notify(3), and s6's newline. What the manager says to us is in manager.py.

`sdnotify` is the transport. Three of its habits do not reach us: it encodes Latin-1 (we hand it text whose Latin-1 is
our UTF-8), it swallows every error (its `debug` mode raises them), and its socket blocks once the manager has a dozen
messages waiting (we make it non-blocking). Only the parent notifies; a child finds nothing of all this in its
environment, because the launcher (cli.py) takes it out before the parent begins.
"""

from __future__ import annotations

import os
import select
import socket

from sdnotify import SystemdNotifier

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence


class Notifier:
    """Sends to the manager. Nothing here blocks or raises; what could not be sent is `lost`, and said by the result."""

    def __init__(self, address: str) -> None:
        """`address` is NOTIFY_SOCKET; empty: there is no manager, and nothing is sent."""
        self._address = address
        self._transport: SystemdNotifier | None = None
        self.lost = 0

    @property
    def is_connected(self) -> bool:
        """Whether there is somebody to notify."""
        return bool(self._address)

    def close(self) -> None:
        """Whom we notified is gone: nothing is sent any more."""
        self._address = ""
        if self._transport is not None:
            self._transport.socket.close()
            self._transport = None

    def send(self, *assignments: str, descriptors: Sequence[int] = ()) -> bool:
        """Send assignments such as "READY=1" in one message, and copies of `descriptors`. False: it was lost."""
        message = _one_line(assignments)
        return not self._address or self._send(message, descriptors) or self._reconnect_and_send(message, descriptors)

    def _reconnect_and_send(self, message: str, descriptors: Sequence[int]) -> bool:
        """The socket may have been made anew at its path since we connected."""
        if self._transport is not None:
            self._transport.socket.close()
            self._transport = None
        if self._send(message, descriptors):
            return True
        self.lost += 1
        return False

    def _send(self, message: str, descriptors: Sequence[int]) -> bool:
        data = message.encode("utf-8", "replace")
        try:
            if self._transport is None:
                self._transport = self._connect()
            if descriptors:
                socket.send_fds(self._transport.socket, [data], descriptors)
            else:
                self._transport.notify(data.decode("latin-1"))
        except (OSError, ValueError):
            return False
        return True

    def _connect(self) -> SystemdNotifier:
        # sdnotify reads its address from the environment, and nowhere else.
        os.environ["NOTIFY_SOCKET"] = self._address
        try:
            transport = SystemdNotifier(debug=True)
        finally:
            del os.environ["NOTIFY_SOCKET"]
        transport.socket.setblocking(False)
        return transport


def tell_supervisor(descriptor: int) -> str:
    """Write the newline that s6 waits for (its documentation, notifywhenup), and close the descriptor.

    Returns why it could not be written; empty: it was. Never blocks.
    """
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        if not poll.poll(0):
            return "it is full"
        os.write(descriptor, b"\n")
    except OSError as error:
        return error.strerror or str(error)
    finally:
        os.close(descriptor)
    return ""


def _one_line(assignments: Iterable[str]) -> str:
    """One assignment a line, as the protocol has it; a line break inside one would begin another."""
    return "\n".join(" ".join(assignment.split("\n")) for assignment in assignments)
