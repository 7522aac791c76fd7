"""`systemctl restart` under clients."""

import socket
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from installed import DEADLINE, Upperd, read_to_end
from machine import wait_until

CLIENTS = 4
RESTARTS = 5


class Questions:
    """A client that connects, asks and leaves, again and again."""

    def __init__(self, upperd: Upperd, number: int) -> None:
        self._upperd = upperd
        self._number = number
        self.asked = 0

    def ask_until(self, end: Event) -> list[str]:
        """Ask until `end`; give what went wrong."""
        failures = []
        while not end.is_set():
            question = f"client {self._number}, question {self.asked}"
            try:
                answer = self._upperd.ask(question)
            except OSError as error:
                answer = repr(error)
            if answer != question.upper():
                failures.append(f"{question}: {answer!r}")
            self.asked += 1
        return failures


@contextmanager
def asking(upperd: Upperd) -> Iterator[list[Questions]]:
    """Have clients ask meanwhile; at the end every question must have had its answer."""
    clients = [Questions(upperd, number) for number in range(CLIENTS)]
    end = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(client.ask_until, end) for client in clients]
        try:
            yield clients
        finally:
            end.set()
        assert [failure for run in runs for failure in run.result()] == []


def wait_for_progress(clients: list[Questions]) -> None:
    """Wait until each client had another answer."""
    before = [client.asked for client in clients]

    def have_all_asked() -> bool:
        return all(client.asked > asked for client, asked in zip(clients, before, strict=True))

    wait_until(have_all_asked, DEADLINE, "each client had another answer")


class Upload:
    """A client in the middle of an upload: as long as `finish` is not called, the daemon has to
    wait for it, because it reads no answers and so all buffers between the two are full."""

    TEXT = "Die Straße, die längste, größte.\n" * 1_000_000

    def __init__(self, connection: socket.socket) -> None:
        self._connection = connection
        self._connection.setblocking(False)
        self._left = memoryview(self.TEXT.encode())
        self._answer = bytearray()
        self._refused = 0
        wait_until(self._is_stuck, DEADLINE, "all buffers are full")

    def _is_stuck(self) -> bool:
        """Send what can be sent; stuck is who could send nothing again and again."""
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

    def finish(self) -> str:
        """Send the rest, without ever letting the buffers run empty; give the whole answer."""
        self._connection.settimeout(DEADLINE)
        while self._left:
            self._answer += self._connection.recv(65536)
            self._connection.setblocking(False)
            self._send()
            self._connection.settimeout(DEADLINE)
        self._connection.shutdown(socket.SHUT_WR)
        return self._answer.decode() + read_to_end(self._connection)


def test_clients_lose_nothing(upperd: Upperd) -> None:
    """Clients that come and go while the service is restarted five times all get their answers."""
    upperd.systemctl("start", "upperd")
    with asking(upperd) as clients:
        for _ in range(RESTARTS):
            upperd.systemctl("restart", "upperd")
            wait_for_progress(clients)


def test_upload_under_way_is_finished(upperd: Upperd) -> None:
    """An upload of tens of megabytes that a restart finds in its middle is answered to its end."""
    upperd.systemctl("start", "upperd")
    old_main = upperd.main_pid()
    with upperd.connect() as connection:
        upload = Upload(connection)
        with upperd.machine.start("systemctl", "restart", "upperd") as restart:
            wait_until(lambda: upperd.property("SubState") == "stop-sigterm", DEADLINE, "the restart began")
            answer = upload.finish()

    assert answer == Upload.TEXT.upper()
    assert restart.returncode == 0
    assert upperd.main_pid() not in ("0", old_main)
