"""Clients of three users that connect, ask and leave without pause, for as long as something is done to the service.

Each is a process in the machine, so for the daemon it is a user with a pid of its own:

    Questions ── a question, as a line of JSON ──> CLIENT ══ a connection for each ══> the service
              <── its answer, and what failed ──
"""

import json
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from installed import DEADLINE, PYTHON, SOCKET
from machine import Machine, wait_until

CLIENTS = 8
USERS = ("root", "alice", "bob")
TRIES = 10
"""Attempts for a question that a kill cuts, and that is asked again at once: each waiting child that has not noticed
the kill may take it and be killed with it. By default eight wait."""
CLIENT = f"""
import json, socket, sys

def ask(path, question):
    answer = b""
    try:
        with socket.socket(socket.AF_UNIX) as connection:
            connection.settimeout({DEADLINE})
            connection.connect(path)
            connection.sendall(question.encode())
            connection.shutdown(socket.SHUT_WR)
            while data := connection.recv(65536):
                answer += data
    except OSError as error:
        return answer.decode(), repr(error)
    return answer.decode(), ""

for line in sys.stdin:
    print(json.dumps(ask(*json.loads(line))), flush=True)
"""


class Questions:
    """A client that makes a new connection for each question, to one path after the other."""

    def __init__(self, machine: Machine, paths: Sequence[str], number: int, *, may_retry: bool) -> None:
        self._machine = machine
        self._paths = paths
        self._number = number
        self._user = USERS[number % len(USERS)]
        self._may_retry = may_retry
        self._error = ""
        self.asked = 0
        self.retried = 0

    def ask_until(self, end: Event) -> list[str]:
        """Ask until `end`; return what went wrong."""
        failures = []
        with self._machine.start(PYTHON, "-IS", "-c", CLIENT, user=self._user) as self._client:
            while not end.is_set():
                question = f"client {self._number}, question {self.asked}"
                answer = self._ask(question)
                for _ in range(TRIES - 1 if self._may_retry else 0):
                    if not _is_cut(answer, question):
                        break
                    self.retried += 1
                    answer = self._ask(question)
                if answer != question.upper():
                    failures.append(f"{question}: {answer!r}, {self._error}")
                self.asked += 1
        return failures

    def _ask(self, question: str) -> str:
        assert self._client.stdin is not None
        assert self._client.stdout is not None
        path = self._paths[self.asked % len(self._paths)]
        self._client.stdin.write(json.dumps((path, question)).encode() + b"\n")
        self._client.stdin.flush()
        answer, self._error = json.loads(self._client.stdout.readline())
        return str(answer)


def _is_cut(answer: str, question: str) -> bool:
    """Whether it is the beginning of the answer, or empty."""
    return answer != question.upper() and question.upper().startswith(answer)


@contextmanager
def asking(machine: Machine, paths: Sequence[str] = (SOCKET,), *, may_retry: bool = False) -> Iterator[list[Questions]]:
    """Let clients ask at these paths during the block; at the end every question must have had its answer.

    `may_retry`: a question that was cut may be asked again.
    """
    clients = [Questions(machine, paths, number, may_retry=may_retry) for number in range(CLIENTS)]
    end = Event()
    began = time.monotonic()
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(client.ask_until, end) for client in clients]
        try:
            yield clients
        finally:
            end.set()
        assert [failure for run in runs for failure in run.result()] == []
    asked, retried = sum(client.asked for client in clients), sum(client.retried for client in clients)
    lasted = time.monotonic() - began
    print(f"{asked} questions in {lasted:.1f} s, {retried} asked again")  # pytest -rP shows it


def wait_for_progress(clients: list[Questions]) -> None:
    """Wait until each client had another answer."""
    before = [client.asked for client in clients]

    def have_all_asked() -> bool:
        return all(client.asked > asked for client, asked in zip(clients, before, strict=True))

    wait_until(have_all_asked, DEADLINE, "each client had another answer")
