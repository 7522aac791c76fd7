"""Three daemons behind a real HAProxy, by the configuration in docs/: the promises of scaling.md hold under load."""

from __future__ import annotations

import os
import pwd
import signal
import socket
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path

import pytest
from asking_load import ATTEMPTS, CLIENTS, Asking, ask, ask_library, asking
from proxies import DOCS, NAMES, Fleet, Proxy, block, read_to_end, wait_until
from tools import need

from upperd.client.client import ShortReplyError, exchange, upper
from upperd.client.finding import connect
from upperd.client.patience import Patience

USER = "haproxy"
KILLED = ("a", "b")
FOR_PROXY = ["--socket-mode", "0660", "--socket-group", USER] if os.geteuid() == 0 else []
"""Options of a daemon whose path HAProxy's user must reach."""


@pytest.fixture(autouse=True)
def haproxy() -> None:
    """Require the program, which brings its user, before a daemon is started that names this user."""
    need("haproxy", "openssl")


@contextmanager
def proxied(place: Path, *options: str, kind: str = "tcp") -> Iterator[tuple[Fleet, Proxy]]:
    """Three daemons and HAProxy, which reaches them by `kind`: tcp, unix, or the TCP port of a socket unit."""
    with closing(Fleet(place, *options, from_unit=kind == "socket unit")) as fleet:
        proxy = Proxy(place, fleet.tcp(), paths=fleet.paths() if kind == "unix" else None)
        with proxy.running():
            yield fleet, proxy


def restart_each(fleet: Fleet, proxy: Proxy, clients: Asking) -> None:
    """Restart one daemon after the other; the next one once HAProxy has found the last one up."""
    for name in NAMES:
        fleet.stop(name)
        fleet.start(name)
        proxy.wait_for(name, "UP")
        clients.wait_for_progress()


# Restarts


def test_announced_restarts_lose_nothing(place: Path) -> None:
    """docs/rolling-restart.sh tells HAProxy before each restart: no request fails, or even moves to another server."""
    need("socat")
    with proxied(place) as (fleet, proxy), asking(proxy.port) as clients, ThreadPoolExecutor(1) as pool:
        asked, done = place / "asked", place / "done"
        os.mkfifo(asked)
        os.mkfifo(done)
        restart = place / "restart"
        restart.write_text(f'#!/bin/sh\necho "$1" >{asked}\nread -r answer <{done}\ntest "$answer" = "$1"\n')
        restart.chmod(0o755)
        environ = {**os.environ, "ADMIN": str(proxy.admin), "RESTART": str(restart)}
        before = {name: fleet.daemons[name].pid for name in NAMES}
        script = pool.submit(subprocess.run, [DOCS / "rolling-restart.sh", *NAMES], env=environ, timeout=120)
        for name in NAMES:
            assert asked.read_text() == f"{name}\n"
            assert proxy.figures(name)["status"] == "DRAIN"
            fleet.stop(name)
            fleet.start(name)
            done.write_text(f"{name}\n")
        assert script.result().returncode == 0
        moved = {figure: proxy.total(figure) for figure in ("wretr", "wredis", "econ", "eresp")}
    assert [name for name in NAMES if fleet.daemons[name].pid == before[name]] == []
    assert clients.errors == []
    assert moved == {"wretr": 0, "wredis": 0, "econ": 0, "eresp": 0}


@pytest.mark.parametrize("kind", ["tcp", "unix", "socket unit"])
def test_restarts_without_a_word_lose_nothing(place: Path, kind: str) -> None:
    """Without telling HAProxy, SIGTERM and a new daemon cost no request either, with every kind of listener."""
    options = FOR_PROXY if kind == "unix" else []
    with proxied(place, *options, kind=kind) as (fleet, proxy), asking(proxy.port) as clients:
        restart_each(fleet, proxy, clients)
        refused = proxy.total("wredis")
    assert clients.errors == []
    if kind == "socket unit":
        assert refused == 0  # new clients meanwhile wait in the queue that the unit holds


# SIGKILL


@pytest.mark.parametrize("call", [ask, ask_library], ids=["half-closing", "library"])
def test_killed_daemon_costs_its_own_connections_only(place: Path, call: Callable[[int, str], str]) -> None:
    """SIGKILL cuts what that daemon was serving and nothing else; a client that asks again, after a pause, is served.

    The client library takes no cut answer for a whole one.
    """
    with proxied(place) as (fleet, proxy), asking(proxy.port, call, attempts=ATTEMPTS) as clients:
        for name in KILLED:
            fleet.kill(name)
            clients.wait_for_progress()
            fleet.start(name)
            proxy.wait_for(name, "UP")
            clients.wait_for_progress()
    assert clients.failures == []
    # Each client has one connection at a time; its next attempt may meet a child that does not know of the kill yet.
    assert len(clients.errors) <= 2 * CLIENTS * len(KILLED)
    if call is ask_library:
        assert clients.wrong == []


def test_connection_of_a_killed_daemon_is_an_error(place: Path) -> None:
    """A connection that dies with its daemon is a ShortReplyError; upper() asks again, and another daemon answers."""
    with proxied(place) as (fleet, proxy), ThreadPoolExecutor(2) as pool:
        for name in NAMES[1:]:
            proxy.set_state(name, "drain")
        victims = [fleet.daemons["a"].pid, *fleet.daemons["a"].children()]
        for pid in victims:
            os.kill(pid, signal.SIGSTOP)
        address = f"127.0.0.1:{proxy.port}"
        connection = connect(tcp=address)
        by_hand = pool.submit(exchange, connection, b"one\n", Patience(30.0))
        by_library = pool.submit(upper, "straße", tcp=address)
        proxy.wait_until_used("a", 2)
        for name in NAMES[1:]:
            proxy.set_state(name, "ready")
        for pid in victims:
            os.kill(pid, signal.SIGKILL)
        fleet.kill("a")
        with pytest.raises(ShortReplyError):
            by_hand.result(30)
        connection.close()
        assert by_library.result(30) == "STRASSE"


# The rest of the configuration


def test_configuration_is_clean(place: Path) -> None:
    """HAProxy accepts the configuration without a warning."""
    proxy = Proxy(place, {name: f"127.0.0.1:{20001 + index}" for index, name in enumerate(NAMES)})
    done = subprocess.run(["haproxy", "-c", "-f", str(proxy.file)], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")


def test_health_is_an_answer_in_upper_case(place: Path) -> None:
    """A server that accepts, but does not answer in upper case, is not healthy: it gets no clients."""
    with proxied(place) as (fleet, proxy), ThreadPoolExecutor(1) as pool:
        fleet.stop("c")
        with socket.create_server(("127.0.0.1", fleet.ports["c"])) as impostor:
            echo = pool.submit(_echo, impostor)
            try:
                wait_until(lambda: "L7" in proxy.figures("c")["check_status"], "what answers is looked at")
                proxy.wait_for("c", "DOWN")
                assert {ask(proxy.port, "straße") for _ in range(20)} == {"STRASSE"}
            finally:
                impostor.shutdown(socket.SHUT_RDWR)  # which wakes the thread; close(2) would not
            assert echo.result(30) > 0


def _echo(impostor: socket.socket) -> int:
    """Answer in lower case until the listener is shut down; return how often."""
    for count in range(10_000):
        try:
            connection, _ = impostor.accept()
        except OSError:
            return count
        with connection:
            connection.sendall(connection.recv(100).lower())
    return -1


def test_checks_are_quiet(place: Path) -> None:
    """The daemon answers a health check like any other connection, and its record says that it ended well."""
    with proxied(place) as (fleet, _):
        daemon = fleet.daemons["a"]
        wait_until(lambda: daemon.board.header["connections"] >= 2, "checks come")
        fleet.stop("a")
        records = [line for line in daemon.log.splitlines() if " end: " in line]
        header = daemon.board.header
    assert header["bytes_in"] == header["bytes_out"] == 7 * header["connections"]
    assert [record for record in records if "exit=0 outcome=done" not in record] == []


def test_full_servers_are_well(place: Path) -> None:
    """If every server has its maximum, another client waits in HAProxy, the checks go on, and it is served later."""
    with proxied(place) as (fleet, proxy), ExitStack() as stack:
        address, most = ("127.0.0.1", proxy.port), proxy.total("slim")
        held = [stack.enter_context(socket.create_connection(address, 30)) for _ in range(most)]
        for client in held:
            client.sendall(b"held")
            assert client.recv(16) == b"HELD"
        with socket.create_connection(address, 30) as waiting:
            waiting.sendall(b"waiting")
            wait_until(lambda: proxy.waiting() == 1, "one waits")
            served = {name: fleet.daemons[name].board.header["connections"] for name in NAMES}
            for name in NAMES:  # more than held connections: these are checks
                daemon, before = fleet.daemons[name], served[name]
                wait_until(lambda: daemon.board.header["connections"] >= before + 2, "checks go on")  # noqa: B023
            assert proxy.total("chkfail") == 0
            assert proxy.waiting() == 1
            held[0].close()
            assert waiting.recv(16) == b"WAITING"


@pytest.mark.parametrize("kind", ["tcp", "unix"])
def test_peer_is_the_proxy(place: Path, kind: str) -> None:
    """To the daemon every client is HAProxy's user: a rule that allows it admits all of them, and none past HAProxy."""
    if os.geteuid() != 0:
        pytest.skip("HAProxy changes its user as root only")
    uid = pwd.getpwnam(USER).pw_uid
    with proxied(place, *FOR_PROXY, "--allow-user", USER, kind=kind) as (fleet, proxy):
        assert ask(proxy.port, "through it") == "THROUGH IT"
        children = [child for daemon in fleet.daemons.values() for child in daemon.board.children]
        assert {child["peer_uid"] for child in children if child["connections"]} == {uid}
        with socket.create_connection(("127.0.0.1", fleet.ports["a"]), 30) as direct:
            assert read_to_end(direct) == b""
        assert fleet.daemons["a"].board.header["refused_access"] == 1


def test_limit_of_a_client(place: Path) -> None:
    """The limit in scaling.md stops an address that opens too many connections at once."""
    with closing(Fleet(place)) as fleet:
        proxy = Proxy(place, fleet.tcp(), more={"frontend plain": block("haproxy", "stick-table")})
        with proxy.running(), ExitStack() as stack:
            address = ("127.0.0.1", proxy.port)
            for _ in range(16):
                client = stack.enter_context(socket.create_connection(address, 30))
                client.sendall(b"held")
                assert client.recv(16) == b"HELD"
            with pytest.raises(ConnectionResetError), socket.create_connection(address, 30) as one_too_many:
                one_too_many.recv(1)
