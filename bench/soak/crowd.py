"""The processes of clients, one for each role, each with its share of the load.

A process starts clients until the control pipe is closed, waits for the running ones, and writes its results into a
pipe of its own.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from soak import kinds
from soak.exchange import HUNG_SECONDS, Exchange, GoneError, WrongAnswerError

FIRST_UID = 64_000
MOST_FAILURES = 20
"""How many failures are kept as text; further ones are dropped."""


@dataclass(frozen=True)
class Role:
    """A user, and the behaviour of its clients."""

    name: str
    uid: int
    at_once: int
    """Concurrent clients."""
    pause: float
    """The longest pause between a client and its successor, in seconds."""
    burst: int = 0
    """The largest burst of further clients; bursts come now and then."""
    kinds: dict[kinds.Kind, int] = field(default_factory=lambda: kinds.MIXED)


POLITE: dict[kinds.Kind, int] = {kinds.short: 3, kinds.conversation: 1}
FLOOD: dict[kinds.Kind, int] = {kinds.short: 8, kinds.leave_at_once: 1, kinds.half_close: 1}
REFUSED: dict[kinds.Kind, int] = {kinds.short: 4, kinds.silent: 1, kinds.leave: 1, kinds.unfinished: 1}

MIXED_UID, POLITE_UID, FLOOD_UID, DENIED_UID, DOUBTFUL_UID = range(FIRST_UID, FIRST_UID + 5)


def roles() -> list[Role]:
    """The roles of the load: of several users as root, else of our own user."""
    everyone = [
        Role("mixed", MIXED_UID, at_once=20, pause=0.04, burst=60),
        Role("polite", POLITE_UID, at_once=1, pause=0.04, kinds=POLITE),
        Role("flood", FLOOD_UID, at_once=3, pause=0.04, burst=200, kinds=FLOOD),
        Role("denied", DENIED_UID, at_once=2, pause=0.1, kinds=REFUSED),
        Role("doubtful", DOUBTFUL_UID, at_once=6, pause=0.1),
    ]
    if os.geteuid() == 0:
        return everyone
    return [Role(role.name, os.geteuid(), role.at_once, role.pause, role.burst, role.kinds) for role in everyone[:3]]


class Sight:
    """The results of the clients of one role."""

    def __init__(self) -> None:
        self.offered = self.queue_full = self.wrong = self.sent = self.received = 0
        self.outcomes: Counter[str] = Counter()
        self.by_kind: dict[str, Counter[str]] = {}
        self.failures: list[str] = []

    def fail(self, text: str) -> None:
        """Note something that must not happen."""
        if len(self.failures) < MOST_FAILURES:
            self.failures.append(text)

    def ended(self, kind: str, outcome: str, exchange: Exchange) -> None:
        """Count an exchange that is over."""
        self.outcomes[outcome] += 1
        self.by_kind.setdefault(kind, Counter())[outcome] += 1
        self.sent += len(exchange.sent)
        self.received += len(exchange.received)


async def _meet(path: str, kind: kinds.Kind, chance: random.Random, sight: Sight) -> None:
    """Run one client, from its connect() to its end."""
    name = kind.__name__
    try:
        exchange = Exchange(path)
    except BlockingIOError:
        sight.queue_full += 1
        await asyncio.sleep(0.05)
        return
    sight.offered += 1
    is_gone = is_hung = False
    try:
        await kind(exchange, chance)
    except GoneError:
        is_gone = True
    except TimeoutError:
        is_hung = True
        sight.fail(f"{name}: hung for {HUNG_SECONDS:g} s: {len(exchange.sent)} sent, {len(exchange.received)} received")
    except OSError as error:
        sight.fail(f"{name}: {error!r}")
    try:
        sight.ended(name, exchange.close(is_hung=is_hung, is_gone=is_gone), exchange)
    except WrongAnswerError as error:
        sight.wrong += 1
        sight.fail(f"{name}: {error}")


class Clients:
    """The clients of one role."""

    def __init__(self, path: str, role: Role, chance: random.Random) -> None:
        self._path = path
        self._role = role
        self._chance = chance
        self._over = asyncio.Event()
        self.sight = Sight()

    async def come(self, control: int) -> None:
        """Start clients until the control pipe is closed, and wait for all of them."""
        asyncio.get_running_loop().add_reader(control, self._over.set)
        places = [self._take_place() for _ in range(self._role.at_once)]
        await asyncio.gather(*places, *([self._come_at_once()] if self._role.burst else ()))

    def _client(self) -> Any:
        kind = self._chance.choices([*self._role.kinds], [*self._role.kinds.values()])[0]
        return _meet(self._path, kind, self._chance, self.sight)

    async def _rest(self, seconds: float) -> None:
        try:
            await asyncio.wait_for(self._over.wait(), seconds)
        except TimeoutError:
            pass

    async def _take_place(self) -> None:
        """Run one client after the other."""
        while not self._over.is_set():
            await self._client()
            await self._rest(self._chance.uniform(0.001, self._role.pause))

    async def _come_at_once(self) -> None:
        """Now and then, run a burst of clients, which may exceed the limits."""
        while not self._over.is_set():
            await self._rest(self._chance.uniform(0.5, 5))
            await asyncio.gather(*[self._client() for _ in range(self._chance.randint(1, self._role.burst))])


class Process:
    """A process of clients. The constructor forks, so it must run before any thread or event loop exists."""

    def __init__(self, path: str, role: Role, seed: str, control: tuple[int, int]) -> None:
        self.role = role
        self._result, writing = os.pipe()
        self.pid = os.fork()
        if self.pid == 0:
            status = 1
            signal.signal(signal.SIGTERM, signal.SIG_DFL)
            try:
                os.close(control[1])
                os.close(self._result)
                _live(path, role, seed, control[0], writing)
                status = 0
            finally:
                os._exit(status)
        os.close(writing)

    def result(self) -> dict[str, Any]:
        """The results of its clients. Waits for the end of the process; each step of a client has a time-out."""
        with open(self._result, "rb") as file:
            data = file.read()
        _, status = os.waitpid(self.pid, 0)
        if status != 0 or not data:
            return {"failures": [f"the clients of {self.role.name} ended with status {status}"]}
        return dict(json.loads(data))


def _live(path: str, role: Role, seed: str, control: int, writing: int) -> None:
    if os.geteuid() == 0:
        os.setgroups([])
        os.setresgid(role.uid, role.uid, role.uid)
        os.setresuid(role.uid, role.uid, role.uid)

    async def run() -> Sight:
        clients = Clients(path, role, random.Random(f"{seed} {role.name}"))
        await clients.come(control)
        return clients.sight

    sight = asyncio.run(run())
    with open(writing, "w") as file:
        json.dump(vars(sight), file)
