"""A connection as its client sees it: what was sent, what came back, and how it ended.

Every exchange has exactly one outcome, and every byte of every answer is verified.
"""

from __future__ import annotations

import asyncio
import bisect
import errno
import socket

HUNG_SECONDS = 75.0
"""The time-out of one step of a client: 30 seconds beyond the longest delay by the limits, a full queue and a drain."""

WHOLE = "answered whole"
NOTHING = "nothing was asked"
ENDED = "answered, then ended"
CLOSED = "closed without a byte"
TORN = "short though it was small"
SHORT = "short after its end of file"
CUT = "cut"
LEFT = "left on its own"
HUNG = "hung"
SMALL = 1000
"""Bytes: the smallest `max-bytes` in settings.py. No limit cuts the answer to a shorter text once that is sent."""
OUTCOMES = (WHOLE, NOTHING, ENDED, CLOSED, TORN, SHORT, CUT, LEFT, HUNG)
ENDED_BY_DAEMON = (ENDED, CLOSED, TORN, SHORT, CUT)


class WrongAnswerError(Exception):
    """The answer has a wrong byte."""


class GoneError(Exception):
    """The daemon has ended the connection."""


def upper(data: bytes) -> bytes:
    """The correct answer to `data`, computed without upperd's own transform."""
    return data.decode("utf-8", "surrogateescape").upper().encode("utf-8", "surrogateescape")


def is_answer(sent: bytes, received: bytes) -> bool:
    """Whether `received` is a correct answer to some beginning of `sent`: the daemon may end it anywhere."""
    expected = upper(sent)
    if expected.startswith(received):
        return True
    # If the daemon stopped reading within a character, the beginning of that character comes back unchanged.
    text = sent.decode("utf-8", "surrogateescape")

    def answered(count: int) -> int:
        return len(text[:count].upper().encode("utf-8", "surrogateescape"))

    count = bisect.bisect_left(range(len(text)), len(received) - 3, key=answered)
    while count <= len(text) and (whole := answered(count)) < len(received):
        taken = len(text[:count].encode("utf-8", "surrogateescape"))
        rest = received[whole:]
        character = text[count : count + 1].encode("utf-8", "surrogateescape")
        if expected[:whole] == received[:whole] and sent.startswith(rest, taken) and len(rest) < len(character):
            return True
        count += 1
    return False


class Exchange:
    """One connection of a client. The constructor raises BlockingIOError if the backlog is full."""

    def __init__(self, path: str) -> None:
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
        try:
            self._socket.connect(path)
        except BaseException:
            self._socket.close()
            raise
        self._loop = asyncio.get_running_loop()
        self._has_ended_input = False
        self.sent = bytearray()
        self.received = bytearray()

    async def send(self, data: bytes) -> None:
        """Send all of `data`. Raises GoneError."""
        self.sent += data
        try:
            await asyncio.wait_for(self._loop.sock_sendall(self._socket, data), HUNG_SECONDS)
        except (BrokenPipeError, ConnectionResetError):
            raise GoneError from None

    def send_some(self, data: bytes) -> int:
        """Send what fits into the buffers; return the number of bytes, 0 if they are full. Raises GoneError."""
        try:
            count = self._socket.send(data)
        except BlockingIOError:
            return 0
        except (BrokenPipeError, ConnectionResetError):
            raise GoneError from None
        self.sent += data[:count]
        return count

    def end_input(self) -> None:
        """Shut down the sending side. Raises GoneError."""
        try:
            self._socket.shutdown(socket.SHUT_WR)
        except OSError as error:
            if error.errno != errno.ENOTCONN:
                raise
            raise GoneError from None
        self._has_ended_input = True

    async def receive(self, size: int = 65536, seconds: float = HUNG_SECONDS) -> bytes:
        """Receive some bytes of the answer. Raises GoneError at its end, TimeoutError after `seconds`."""
        try:
            data = await asyncio.wait_for(self._loop.sock_recv(self._socket, size), seconds)
        except ConnectionResetError:
            raise GoneError from None
        if not data:
            raise GoneError
        self.received += data
        return data

    async def receive_up_to(self, total: int) -> None:
        """Receive until `total` bytes of the answer have arrived. Raises GoneError."""
        while len(self.received) < total:
            await self.receive()

    async def receive_to_end(self) -> None:
        """Receive until the daemon ends the connection; that raises GoneError."""
        while True:
            await self.receive()

    def close(self, is_hung: bool = False, is_gone: bool = False) -> str:
        """Close the connection and return the outcome. `is_gone`: the daemon has ended it. Raises WrongAnswerError."""
        self._socket.close()
        sent, received = bytes(self.sent), bytes(self.received)
        if not is_answer(sent, received):
            start = next((i for i, (a, b) in enumerate(zip(received, upper(sent), strict=False)) if a != b), len(sent))
            raise WrongAnswerError(
                f"sent {len(sent)} bytes, byte {start} of {len(received)} is wrong: "
                f"{received[start : start + 40]!r}, not {upper(sent)[start : start + 40]!r}"
            )
        if is_hung:
            return HUNG
        if not is_gone:
            return LEFT
        is_whole = received == upper(sent)
        if self._has_ended_input and is_whole:
            return WHOLE if sent else NOTHING
        if not received:
            return CLOSED
        if is_whole:
            return ENDED
        if not self._has_ended_input:
            return CUT
        return TORN if len(sent) < SMALL else SHORT
