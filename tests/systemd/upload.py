"""A client in the middle of an upload, for as long as a test works on the service."""

import contextlib
import socket

from installed import DEADLINE
from machine import wait_until


class Upload:
    """Sends until all buffers are full, and reads no answer until `go_on` or `finish`, so that the daemon must wait."""

    TEXT = "Die Straße, die längste, größte.\n" * 1_000_000

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._left = memoryview(self.TEXT.encode())
        self._answer = bytearray()
        self._refused = 0
        wait_until(self._is_stuck, DEADLINE, "all buffers are full")

    def _is_stuck(self) -> bool:
        """Send what can be sent. Return whether nothing could be sent many times in a row."""
        self._refused = 0 if self._send() else self._refused + 1
        return self._refused == 10

    def _send(self) -> int:
        before = len(self._left)
        try:
            while self._left:
                self._left = self._left[self._connection.send(self._left) :]
        except BlockingIOError:
            pass
        return before - len(self._left)

    def go_on(self) -> bool:
        """Read a piece of the answer and send as much, so that a drain does not take it for quiet. Returns True."""
        with contextlib.suppress(BlockingIOError):
            self._answer += self._connection.recv(65536)
        self._send()
        return True

    def finish(self) -> str:
        """Send the rest, without ever letting the buffers run empty; return the whole answer."""
        self._connection.settimeout(DEADLINE)
        while self._left:
            self._answer += self._connection.recv(65536)
            self._connection.setblocking(False)
            self._send()
            self._connection.settimeout(DEADLINE)
        self._connection.shutdown(socket.SHUT_WR)
        # Decoded as a whole, since what was read so far may end inside a character.
        while data := self._connection.recv(65536):
            self._answer += data
        return self._answer.decode()
