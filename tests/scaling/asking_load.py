"""Clients on threads of their own that connect, ask and leave without pause, for as long as a test runs."""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from proxies import DEADLINE, wait_until

from upperd.client import ClientError, upper

CLIENTS = 4
_LINE = "Die Straße, die längste, größte, und ﬁn.\n"
LARGE = _LINE * (1_000_000 // len(_LINE.encode()))
"""A text of 1 MB."""
EVERY = 5
"""One text in this many is the large one."""
ATTEMPTS = 4
PAUSE = 0.1
"""Seconds before a request is made again, doubled each time."""


def ask(port: int, text: str) -> str:
    """Connect, send, half-close, and read to the end, at the same time. Raises OSError."""
    with socket.create_connection(("127.0.0.1", port), DEADLINE) as connection:
        return _exchange(connection, text.encode()).decode(errors="replace")


def _exchange(connection: socket.socket, data: bytes) -> bytes:
    connection.setblocking(False)
    poll = select.poll()
    poll.register(connection, select.POLLIN | select.POLLOUT)
    unsent, blocks = memoryview(data), []
    while True:
        if not poll.poll(DEADLINE * 1000):
            raise TimeoutError("no answer")
        try:
            if unsent:
                unsent = unsent[connection.send(unsent) :]
                if not unsent:
                    connection.shutdown(socket.SHUT_WR)
                    poll.modify(connection, select.POLLIN)
            if not (block := connection.recv(262_144)):
                return b"".join(blocks)
            blocks.append(block)
        except BlockingIOError:
            pass


def ask_library(port: int, text: str) -> str:
    """Ask by the client library. Raises ClientError."""
    return upper(text, tcp=f"127.0.0.1:{port}", timeout=DEADLINE)


class Asking:
    """What the clients of one test have asked, and what they got."""

    def __init__(self, port: int, call: Callable[[int, str], str], attempts: int) -> None:
        self._port = port
        self._call = call
        self._attempts = attempts
        self._over = threading.Event()
        self.asked = [0] * CLIENTS
        self.errors: list[str] = []
        """Failed attempts: an error was raised, or the answer is not whole."""
        self.failures: list[str] = []
        """Requests whose last attempt failed."""
        self.wrong: list[str] = []
        """Answers that the client took for whole, and which are not."""
        self._threads = [threading.Thread(target=self._run, args=(number,)) for number in range(CLIENTS)]

    def _run(self, number: int) -> None:
        while not self._over.is_set():
            asked = self.asked[number]
            text = LARGE if asked % EVERY == EVERY - 1 else f"client {number}, question {asked}: straße"
            for attempt in range(self._attempts):
                if attempt:
                    threading.Event().wait(PAUSE * 2 ** (attempt - 1))
                error = self._attempt(text)
                if not error:
                    break
                self.errors.append(error)
                if attempt == self._attempts - 1:
                    self.failures.append(error)
            self.asked[number] += 1

    def _attempt(self, text: str) -> str:
        try:
            answer = self._call(self._port, text)
        except (OSError, ClientError) as error:
            return repr(error)
        if answer == text.upper():
            return ""
        self.wrong.append(f"{len(answer)} characters of {len(text.upper())}: {answer[:80]!r}")
        return self.wrong[-1]

    def wait_for_progress(self) -> None:
        """Wait until each client has received another large answer."""
        before = [*self.asked]

        def have_all_asked() -> bool:
            return all(now > then + EVERY for now, then in zip(self.asked, before, strict=True))

        wait_until(have_all_asked, "each client had more answers")

    def start(self) -> None:
        for thread in self._threads:
            thread.start()

    def end(self) -> None:
        self._over.set()
        for thread in self._threads:
            thread.join(DEADLINE * 2)


@contextmanager
def asking(port: int, call: Callable[[int, str], str] = ask, *, attempts: int = 1) -> Iterator[Asking]:
    """Let clients ask on this port during the block. `attempts`: how often each request is made, at most."""
    clients = Asking(port, call, attempts)
    clients.start()
    try:
        clients.wait_for_progress()
        yield clients
        clients.wait_for_progress()
    finally:
        clients.end()
        print(f"{sum(clients.asked)} requests, {len(clients.failures)} failed, {len(clients.errors)} errors")
