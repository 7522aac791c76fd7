"""Clients that connect, ask and leave without pause, for as long as something is done to the service."""

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from threading import Event

from installed import DEADLINE, Upperd
from machine import wait_until

CLIENTS = 8
TRIES = 10
"""Of a question that was cut by a kill, and at once asked again: each child that waits and has not heard of the kill
may take it and be killed with it. By default eight wait."""


class Questions:
    """A client that connects anew for each question."""

    def __init__(self, upperd: Upperd, number: int, *, may_retry: bool) -> None:
        self._upperd = upperd
        self._number = number
        self._may_retry = may_retry
        self._error = ""
        self.asked = 0
        self.retried = 0

    def ask_until(self, end: Event) -> list[str]:
        """Ask until `end`; give what went wrong."""
        failures = []
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
        try:
            return self._upperd.ask(question)
        except OSError as error:
            self._error = repr(error)
            return ""


def _is_cut(answer: str, question: str) -> bool:
    """Whether it is the beginning of the answer, or none."""
    return answer != question.upper() and question.upper().startswith(answer)


@contextmanager
def asking(upperd: Upperd, *, may_retry: bool = False) -> Iterator[list[Questions]]:
    """Have clients ask meanwhile; at the end every question must have had its answer.

    `may_retry`: a question that was cut may be asked again.
    """
    clients = [Questions(upperd, number, may_retry=may_retry) for number in range(CLIENTS)]
    end = Event()
    with ThreadPoolExecutor(CLIENTS) as pool:
        runs = [pool.submit(client.ask_until, end) for client in clients]
        try:
            yield clients
        finally:
            end.set()
        assert [failure for run in runs for failure in run.result()] == []
    asked, retried = sum(client.asked for client in clients), sum(client.retried for client in clients)
    print(f"{asked} questions, {retried} asked again")  # pytest -rP shows it


def wait_for_progress(clients: list[Questions]) -> None:
    """Wait until each client had another answer."""
    before = [client.asked for client in clients]

    def have_all_asked() -> bool:
        return all(client.asked > asked for client, asked in zip(clients, before, strict=True))

    wait_until(have_all_asked, DEADLINE, "each client had another answer")
