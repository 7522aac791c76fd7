"""Disturbs the daemon under load: reloads with other limits and with broken files, restarts, kills.

It does one thing after the other. Every kind occurs in each round, in an order that the seed determines.
"""

from __future__ import annotations

import random
import signal
import time
from collections import Counter
from collections.abc import Callable

from soak import process
from soak.service import DEADLINE, Service, SoakError, wait_until
from soak.settings import BROKEN, any_settings
from upperd.server.snapshot import read

PAUSE = (0.05, 0.5)
"""Seconds between two disturbances."""
LONGEST_STOP = 12.0
"""Seconds until a stopped child is continued, at most. Sometimes the parent gives it up earlier."""


class Trouble:
    """Makes trouble, and counts it."""

    def __init__(self, service: Service, chance: random.Random, *, may_kill: bool) -> None:
        """`may_kill`: otherwise there are only reloads and restarts, and every connection must be accounted for."""
        self._service = service
        self._may_kill = may_kill
        self._chance = chance
        self._round: list[Callable[[], None]] = []
        self._continue: list[tuple[float, int, int]] = []
        """The stopped children: when to continue each, its parent's pid, and its own."""
        self.killed: set[int] = set()
        """The pids of children to which a fatal signal was sent."""
        self.counts: Counter[str] = Counter()

    def make(self, seconds: float, calm: float) -> None:
        """Make trouble for `seconds`; do not disturb the parent in the last `calm` seconds."""
        end = time.monotonic() + seconds
        while (now := time.monotonic()) < end:
            if not self._round:
                # The first round is short, so that a short soak test includes everything as well.
                often = 3 if self.counts.total() else 1
                self._round = [*self._of_children() * often, *self._of_settings() * often, *self._of_parent()]
                self._chance.shuffle(self._round)
            action = self._round.pop()
            if now < end - calm or action not in self._of_parent():
                action()
                self.counts[action.__name__.removeprefix("_")] += 1
            if self._service.has_ended():
                self._restart()
            self._go_on(time.monotonic())
            process.pause(min(self._chance.uniform(*PAUSE), max(0.0, end - time.monotonic())))
            self._service.listen_to_notifications()
        self._go_on(float("inf"))

    def _of_children(self) -> list[Callable[[], None]]:
        return [self._sigkill_child, self._sigsegv_child, self._sigstop_child] if self._may_kill else []

    def _of_settings(self) -> list[Callable[[], None]]:
        return [self._reload, self._reload, self._reload, self._reload_broken]

    def _of_parent(self) -> list[Callable[[], None]]:
        if not self._may_kill:
            return [self._restart_in_order, self._stop_parent]
        kills = [self._kill_parent, self._kill_draining_parent]
        return [self._restart_in_order, self._hastened_restart, self._stop_parent, *kills]

    # Children

    def _pick(self) -> int:
        """The pid of a random child; 0 if there is none."""
        return self._chance.choice(read(str(self._service.scoreboard)).children or [{"pid": 0}])["pid"]

    def _signal_child(self, number: signal.Signals) -> int:
        """Send a signal to a random child; return its pid, or 0 if it was gone."""
        pid = self._pick()
        return pid if pid and process.send_to_child(self._service.pid, pid, number) else 0

    def _sigkill_child(self) -> None:
        self.killed.add(self._signal_child(signal.SIGKILL))

    def _sigsegv_child(self) -> None:
        self.killed.add(self._signal_child(signal.SIGSEGV))

    def _sigstop_child(self) -> None:
        pid = self._signal_child(signal.SIGSTOP)
        if pid:
            self._continue.append((time.monotonic() + self._chance.uniform(0.1, LONGEST_STOP), self._service.pid, pid))

    def _go_on(self, now: float) -> None:
        """Continue the stopped children that are due."""
        for due, parent, pid in self._continue:
            if due <= now:
                process.send_to_child(parent, pid, signal.SIGCONT)
        self._continue = [waiting for waiting in self._continue if waiting[0] > now]

    # Settings

    def _limits(self) -> tuple[int, ...]:
        header = read(str(self._service.scoreboard)).header
        names = ("max_children", "spare_children", "connections_per_child", "max_queue", "max_bytes")
        return tuple(header[name] for name in names)

    def _reload(self) -> None:
        service = self._service
        service.write_settings(any_settings(self._chance))
        before = self._given_up()
        self._send_reload()
        if self._chance.random() < 0.2:
            self._send_reload()
        wanted = service.settings
        limits = (
            wanted.max_children, wanted.spare_children, wanted.connections_per_child, wanted.max_queue,
            wanted.max_bytes,
        )  # fmt: skip
        if not wait_until(lambda: self._limits() == limits or self._given_up() > before):
            raise SoakError(f"a reload has not changed the limits to {limits}: {self._limits()}, see {service.log}")

    def _given_up(self) -> int:
        """How many checks of a file this daemon has given up, each after 10 seconds, as happens on a busy host."""
        count = self._service.log.read_text("utf-8", "backslashreplace").count(": the check was ended by signal 14: ")
        self.counts["check_given_up"] = max(count, self.counts["check_given_up"])
        return count

    def _send_reload(self) -> None:
        self._service.listen_to_notifications()
        self._service.signal(signal.SIGHUP)
        self._service.wait_for("READY=1")

    def _reload_broken(self) -> None:
        before = self._limits()
        self._service.config.write_bytes(self._chance.choice(BROKEN).encode("latin-1"))
        try:
            self._send_reload()
        finally:
            self._service.write_settings(self._service.settings)
        if self._limits() != before:
            raise SoakError(f"a broken file has changed the limits from {before} to {self._limits()}")

    # The parent

    def _restart(self) -> None:
        self._service.wait_for_end(0)
        self._service.start()

    def _restart_in_order(self) -> None:
        self._service.signal(signal.SIGTERM)
        self._service.wait_for_end(self._service.settings.drain_timeout + DEADLINE)
        self._service.start()

    def _hastened_restart(self) -> None:
        """Send a second SIGTERM at a random moment of the drain."""
        self._service.signal(signal.SIGTERM)
        process.pause(self._chance.uniform(0, 0.5))
        if not self._service.has_ended():
            self._service.signal(signal.SIGTERM)
        self._service.wait_for_end(DEADLINE)
        self._service.start()

    def _stop_parent(self) -> None:
        """Stop the parent for a moment, in which no child is forked."""
        self._service.signal(signal.SIGSTOP)
        process.pause(self._chance.uniform(0, 1.5))
        self._service.signal(signal.SIGCONT)

    def _kill_parent(self) -> None:
        if self._chance.random() < 0.3:
            self._service.signal(signal.SIGHUP)  # so that the kill may come during a reload
            process.pause(self._chance.uniform(0, 0.1))
        self._service.signal(signal.SIGKILL)
        self._service.wait_for_end(DEADLINE, spares_children=self._chance.random() < 0.5)
        self._service.start()

    def _kill_draining_parent(self) -> None:
        self._service.signal(signal.SIGTERM)
        process.pause(self._chance.uniform(0, 0.3))
        if not self._service.has_ended():
            self._service.signal(signal.SIGKILL)
        self._service.wait_for_end(DEADLINE, spares_children=self._chance.random() < 0.5)
        self._service.start()
