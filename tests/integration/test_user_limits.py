"""--max-children-per-user and --max-rate-per-user: no user takes everything."""

from __future__ import annotations

import contextlib
import select
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import Daemon, running, wait_until
from users import ALICE, BOB, connect_as, needs_root, serves

CHILDREN = 3


@pytest.fixture
def limited(folder: Path) -> Iterator[Daemon]:
    needs_root(folder)
    options = ("--max-children-per-user", str(CHILDREN), "--max-children", "20", "--socket-mode", "0666")
    with running(folder, *options) as daemon:
        yield daemon


def test_children_of_a_user(limited: Daemon) -> None:
    """A user has as many connections served at once as its limit, the next ones wait, and others are unaffected."""
    connections = connect_as(limited, ALICE, count=8)
    for connection in connections:
        connection.sendall(b"who")
    wait_until(lambda: limited.board.header["queued"] == 8 - CHILDREN, "the others wait")
    wait_until(lambda: len(select.select(connections, [], [], 0)[0]) == CHILDREN, "as many as may be are served")
    served = select.select(connections, [], [], 0)[0]
    assert serves(limited, BOB)
    assert serves(limited, 0)
    header = limited.board.header
    assert (header["refused"], header["queued_users"], header["connections"]) == (0, 1, CHILDREN + 2)
    limited.manager.wait_for("STATUS=3 busy", deadline=5.0)
    for connection in served:
        assert connection.recv(3) == b"WHO"
        connection.close()
    for connection in [one for one in connections if one not in served]:
        assert connection.recv(3) == b"WHO"
        connection.close()


def test_at_the_same_moment(limited: Daemon) -> None:
    """Of many simultaneous connections of a user exactly as many as its limit are served, never fewer."""
    for _ in range(10):
        connections = connect_as(limited, ALICE, count=12)
        wait_until(lambda: limited.board.header["queued"] == 12 - CHILDREN, "the others wait")
        assert limited.board.busy == CHILDREN
        for connection in connections:
            connection.close()
        wait_until(lambda: not limited.board.busy and not limited.board.header["queued"], "all have ended")


@pytest.mark.parametrize("per_child", ["1", "1000"])
def test_one_after_the_other(folder: Path, per_child: str) -> None:
    """A user that reconnects after the end of its last connection does not wait for the latter's child."""
    with running(folder, "--max-children-per-user", "1", "--connections-per-child", per_child) as daemon:
        assert all(_ask(daemon) for _ in range(200))


def test_limit_is_changed_by_a_reload(folder: Path) -> None:
    """A reload changes the limit for later connections."""
    needs_root(folder)
    config = folder / "upperd.toml"
    config.write_text("max-children-per-user = 1\n")
    with running(folder, "--config", str(config), "--socket-mode", "0666") as daemon, contextlib.ExitStack() as until:
        for limit in (1, 3, 2):
            config.write_text(f"max-children-per-user = {limit}\n")
            daemon.signal(signal.SIGHUP)
            daemon.manager.wait_for("RELOADING=1")
            daemon.manager.wait_for("READY=1")
            connections = [until.enter_context(connection) for connection in connect_as(daemon, ALICE, count=5)]
            wait_until(lambda limit=limit: daemon.board.header["queued"] == 5 - limit, "the others wait")
            assert daemon.board.busy == limit
            for connection in connections:
                connection.close()
            wait_until(lambda: not daemon.board.busy and not daemon.board.header["queued"], "all have ended")


def _ask(daemon: Daemon) -> bool:
    """Whether one short connection of our own is served."""
    try:
        return daemon.ask(b"x") == b"X"
    except (BrokenPipeError, ConnectionResetError):
        return False


@pytest.mark.parametrize("per_child", ["1", "1000"])
def test_rate_of_a_user(folder: Path, per_child: str) -> None:
    """A user over the rate is refused until the average is back at the limit."""
    rate, seconds = 20, 4.0
    with running(folder, "--max-rate-per-user", str(rate), "--connections-per-child", per_child) as daemon:
        served = refused = 0
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            if _ask(daemon):
                served += 1
            else:
                refused += 1
        header = daemon.board.header
    assert refused > served
    # A second's worth at once, and what comes before the parent's next look, which counts against later ones.
    assert rate <= served
    assert header["refused_rate"] == refused
    assert header["connections"] == served


def test_rate_is_changed_by_a_reload(folder: Path) -> None:
    """Connections before a rate limit was set do not count, and removing the limit admits a refused user."""
    config = folder / "upperd.toml"
    config.write_text("")
    with running(folder, "--config", str(config), "--connections-per-child", "1000") as daemon:
        for _ in range(50):
            assert _ask(daemon)

        def reload(text: str) -> None:
            config.write_text(text)
            daemon.signal(signal.SIGHUP)
            daemon.manager.wait_for("RELOADING=1")
            daemon.manager.wait_for("READY=1")

        reload("max-rate-per-user = 2")
        assert _ask(daemon)
        wait_until(lambda: not _ask(daemon), "we come too often")
        reload("")
        assert _ask(daemon)


def test_rate_is_forgiven(folder: Path) -> None:
    """A user that was refused for its rate is served again after a while; others are served meanwhile."""
    needs_root(folder)
    with running(folder, "--max-rate-per-user", "10", "--socket-mode", "0666") as daemon:
        wait_until(lambda: not _ask(daemon), "we come too often")
        assert serves(daemon, ALICE)
        wait_until(lambda: _ask(daemon), "the penalty is over")


def test_slow_enough(folder: Path) -> None:
    """A user within the rate is never refused."""
    with running(folder, "--max-rate-per-user", "50") as daemon:
        for _ in range(40):
            assert _ask(daemon)
            select.select([], [], [], 0.025)
        assert daemon.board.header["refused"] == 0


def test_rest_of_a_user_that_is_refused(folder: Path) -> None:
    """An idle daemon with penalties and limits sleeps like any other once they are over."""
    options = ("--max-rate-per-user", "1000", "--max-children-per-user", "5", "--idle-timeout", "60")
    with running(folder, *options, "--deny-user", "61001") as daemon:
        assert _ask(daemon)

        def switches() -> int:
            status = Path(f"/proc/{daemon.pid}/status").read_text()
            return int(status.partition("\nvoluntary_ctxt_switches:")[2].split()[0])

        def is_asleep() -> bool:
            before = switches()
            select.select([], [], [], 1.5)
            return switches() == before

        wait_until(is_asleep, "it sleeps")
