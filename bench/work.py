"""The kinds of work that contenders are measured at. Each starts its server afresh; returns figures by case name."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass

import attacks
import process
from client import WrongReplyError, holding, load
from filters import ENVIRON, FILTERS
from peers import FIRST_UID, PEERS, SEARCH, USERS, Peer, launcher
from server import START_SECONDS, PeerError, Server, running
from texts import SAMPLES, write_text

Figures = dict[str, dict[str, float]]
CLIENTS = (1, 8, 32)
TURNS = (1, 4, 50, USERS)
"""Numbers of users that connect in turn. One user, with the same load generator, is the baseline."""
BARE = [sys.executable, "-I", "-c", "pass"]
"""The bare interpreter. It is the environment's, so that packages installed on the host do not slow it down."""
WARM = 20
"""Connections that are made before the measurement."""


@dataclass(frozen=True)
class Scale:
    """How long and how often to measure."""

    seconds: float
    connections: int
    held: int
    many: int
    times: int
    """How often a command is started; the median counts."""
    asked: int
    """How many requests the other user makes during an attack."""


FULL = Scale(seconds=1.0, connections=1000, held=200, many=1000, times=20, asked=200)
QUICK = Scale(seconds=0.5, connections=200, held=50, many=200, times=5, asked=100)
"""Enough for ratios that are accurate to a tenth."""
SMOKE = Scale(seconds=0.04, connections=20, held=5, many=10, times=2, asked=5)
"""Enough to see that the benchmark runs."""


@dataclass(frozen=True)
class Work:
    """One kind of work; `contenders` are names of servers, or of other programs that the work knows."""

    name: str
    contenders: tuple[str, ...]
    measure: Callable[[str, Scale], Figures]
    needs_root: bool = False

    @property
    def missing(self) -> str:
        """Why the work cannot be done at all; empty if it can."""
        return "it takes root" if self.needs_root and os.geteuid() != 0 else ""


SERVERS: dict[str, Peer] = {peer.name: peer for peer in PEERS}


def _load_connections(server: Server, clients: int, scale: Scale, *users: int) -> dict[str, float]:
    before = process.cpu_seconds(server.pid)
    figures = load("connections", server.address, clients, scale.seconds, 0, *users)
    spent = process.cpu_seconds(server.pid) - before
    return {**figures, "cpu": 1e6 * spent / figures["count"]}


def _warm_up(server: Server) -> None:
    load("connections", server.address, 1, 60, WARM)


def measure_connections(name: str, scale: Scale) -> Figures:
    with running(SERVERS[name]) as server:
        _warm_up(server)
        return {f"connections-{clients}": _load_connections(server, clients, scale) for clients in CLIENTS}


def measure_handler(name: str, scale: Scale) -> Figures:
    return {case.replace("connections", "handler"): found for case, found in measure_connections(name, scale).items()}


def measure_users(name: str, scale: Scale) -> Figures:
    found: Figures = {}
    with running(SERVERS[name]) as server:
        for users in TURNS:
            for clients in CLIENTS[:2]:
                # First connect once as each user, so that every user that can have a child has one.
                most = max(WARM, users)
                load("connections", server.address, clients, scale.seconds, most, FIRST_UID, users)
                figures = _load_connections(server, clients, scale, FIRST_UID, users)
                one = found.get(f"users-1-{clients}", figures)
                found[f"users-{users}-{clients}"] = {**figures, "shared": figures["rate"] / one["rate"]}
    return found


def measure_pingpong(name: str, scale: Scale) -> Figures:
    with running(SERVERS[name], is_dialogue=True) as server:
        before = process.cpu_seconds(server.pid)
        figures = load("pingpong", server.address, scale.seconds)
        return {"pingpong": {**figures, "cpu": 1e6 * (process.cpu_seconds(server.pid) - before) / figures["count"]}}


def measure_bulk(name: str, scale: Scale) -> Figures:
    with running(SERVERS[name]) as server:
        _warm_up(server)
        return {"bulk-ascii": load("bulk", server.address, scale.seconds, *write_text("ascii"))}


def measure_texts(name: str, scale: Scale) -> Figures:
    texts = [text for text in SAMPLES if text != "ascii"]
    if name in SERVERS:
        with running(SERVERS[name]) as server:
            _warm_up(server)
            return {f"bulk-{text}": load("bulk", server.address, scale.seconds, *write_text(text)) for text in texts}
    command = ["env", *(f"{key}={value}" for key, value in ENVIRON.items()), *FILTERS[name][1]]
    return {f"bulk-{text}": load("filter", scale.seconds, *write_text(text), *command) for text in texts}


def measure_memory(name: str, scale: Scale) -> Figures:
    count = min(scale.held, SERVERS[name].most)
    with running(SERVERS[name], is_dialogue=True, held=count) as server, holding(server.address, 1):
        before = process.memory_kib(server.pid)
        with holding(server.address, count):
            after = process.memory_kib(server.pid)
    return {"memory": {"memory": (after - before) / count}}


def measure_held(name: str, scale: Scale) -> Figures:
    count = min(scale.many, SERVERS[name].most)
    with running(SERVERS[name], is_dialogue=True, held=count) as server, holding(server.address, 1):
        _warm_up(server)
        one = _load_connections(server, 1, scale)
        with holding(server.address, count):
            many = _load_connections(server, 1, scale)
    growth = {"growth": many["cpu"] / one["cpu"]} if one["cpu"] else {}  # no CPU time: too short to measure
    return {"held": {**many, "kept": many["rate"] / one["rate"], **growth}}


def measure_send(name: str, scale: Scale) -> Figures:
    with running(SERVERS["upperd"]) as server:
        commands = {
            "upperctl": [launcher("upperctl", "upperd.ctl.main"), "--socket", server.address, "send", "hello"],
            "python": BARE,
            "socat": ["socat", "-t", "10", "-", f"UNIX-CONNECT:{server.address}"],
        }
        _run_command(name, commands[name])
        times = [_run_command(name, commands[name]) for _ in range(scale.times)]
    return {"send": {"time": 1e3 * statistics.median(times)}}


def _run_command(name: str, command: list[str]) -> float:
    """Run a command; return the seconds that it took."""
    with tempfile.TemporaryFile() as word:
        word.write(b"hello\n")
        word.seek(0)
        begin = time.perf_counter()
        done = subprocess.run(command, stdin=word, capture_output=True)
        spent = time.perf_counter() - begin
    if done.returncode:
        raise PeerError(f"{name}: {done.stderr.decode(errors='replace').strip()}")
    if done.stdout != (b"" if name == "python" else b"HELLO\n"):
        raise WrongReplyError(f"wrong reply: {done.stdout!r}")
    return spent


def measure_start(name: str, scale: Scale) -> Figures:
    if name == "python":
        times = [_run_command(name, BARE) for _ in range(scale.times)]
    else:
        times = [_start_daemon() for _ in range(scale.times)]
    return {"start": {"time": 1e3 * statistics.median(times)}}


def _start_daemon() -> float:
    """Start the daemon; return the seconds until it sent READY=1."""
    with tempfile.TemporaryDirectory() as folder, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind(f"{folder}/notify")
        manager.settimeout(START_SECONDS)
        command = [launcher("upperd", "upperd.service.cli"), "--socket", f"{folder}/socket", "--log-level", "warning"]
        begin = time.perf_counter()
        daemon = subprocess.Popen(command, env={**os.environ, "NOTIFY_SOCKET": f"{folder}/notify"})
        try:
            while b"READY=1" not in manager.recv(4096):
                pass
            return time.perf_counter() - begin
        except TimeoutError:
            raise PeerError(f"no READY=1 within {START_SECONDS:g} s") from None
        finally:
            daemon.send_signal(signal.SIGTERM)
            daemon.wait()


def measure_faults(name: str, scale: Scale) -> Figures:
    with running(SERVERS[name]) as server:
        _warm_up(server)
        before = process.faults(server.pid)
        # Children that are not reaped yet are not counted: a few of many.
        load("connections", server.address, 1, 60, scale.connections)
        after = process.faults(server.pid)
    parent, child = ((then - first) / scale.connections for first, then in zip(before, after, strict=True))
    return {"faults": {"child": child, "parent": parent}}


def measure_attacks(name: str, scale: Scale) -> Figures:
    return attacks.measure(SERVERS[name], scale.asked, is_datagram=name == "upperd-datagrams")


def missing(name: str) -> str:
    """Why a contender cannot take part; empty if it can."""
    if name in SERVERS:
        return SERVERS[name].missing
    if name in FILTERS and shutil.which(FILTERS[name][1][0], path=SEARCH) is None:
        return f"no {FILTERS[name][1][0]}: apt-get install {FILTERS[name][0]}"
    return ""


_ATTACKED = ("upperd-default", "upperd-datagrams")
"""Our daemon with its defaults."""
_HANDLERS = ("upperd-handler", "stream-fork", "stream-thread")
"""Servers that all run the same socketserver handler class."""
_ALL = tuple(name for name in SERVERS if name not in (*_HANDLERS, *_ATTACKED))
WORKS = [
    Work("connections", _ALL, measure_connections),
    Work("handler", (*_HANDLERS, "asyncio"), measure_handler),
    Work("users", ("upperd", "upperd-single", "mixin", "tutorial", "c-prefork"), measure_users, needs_root=True),
    Work("pingpong", _ALL, measure_pingpong),
    Work("bulk", _ALL, measure_bulk),
    Work("texts", ("upperd", *FILTERS), measure_texts),
    Work("memory", _ALL, measure_memory),
    Work("held", ("upperd", "upperd-plain", "threading", "asyncio", "s6", "c-fork"), measure_held),
    Work("send", ("upperctl", "python", "socat"), measure_send),
    Work("start", ("upperd", "python"), measure_start),
    Work("faults", ("upperd-single", "mixin-single", "tutorial", "c-fork"), measure_faults),
    Work("attacks", (*_ATTACKED, "tutorial", "s6", "c-fork"), measure_attacks, needs_root=True),
]
