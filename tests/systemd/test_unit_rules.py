"""Access rules and limits in the installed service: they work in its sandbox, by name, and for every user."""

import signal

from installed import DEADLINE, Upperd
from machine import wait_until

EX_NOPERM = 77


def is_served(upperd: Upperd, user: str) -> bool:
    """Whether this user's text is upper-cased; if it is refused, upperctl says that."""
    done = upperd.machine.run("upperctl", "send", "x", user=user, check=False)
    if done.returncode == 0:
        return done.stdout == "X\n"
    assert done.returncode == EX_NOPERM
    assert "the rules of the daemon refuse uid" in done.stderr
    return False


def _refusals(upperd: Upperd) -> int:
    return sum(int(record["UPPERD_REFUSED_ACCESS"]) for record in upperd.records("UPPERD_EVENT=deny"))


def test_rules_by_name(started: Upperd) -> None:
    """The file names users and groups, a reload takes them over, and the journal has refusals with their user."""
    assert [is_served(started, user) for user in ("alice", "bob")] == [True, True]
    started.configure('deny-user = ["alice"]\n')
    started.systemctl("reload", "upperd")
    wait_until(lambda: len(started.records("UPPERD_EVENT=reload")) == 1, DEADLINE, "the rules are taken over")
    assert [is_served(started, user) for user in ("alice", "bob", "root")] == [False, True, True]
    uid = started.machine.run("id", "-u", "alice").stdout.strip()
    # upperctl retries a few times: a refused client cannot tell that from a restart.
    wait_until(lambda: _refusals(started) >= 2, DEADLINE, "the refusals are logged")
    assert {record["UPPERD_PEER_UID"] for record in started.records("UPPERD_EVENT=deny")} == {uid}

    started.configure('allow-group = ["upperd"]\n')
    started.systemctl("reload", "upperd")
    wait_until(lambda: len(started.records("UPPERD_EVENT=reload")) == 2, DEADLINE, "the rules are taken over")
    assert [is_served(started, user) for user in ("alice", "bob", "root")] == [True, True, False]


def test_limits_in_the_sandbox(upperd: Upperd) -> None:
    """The parent ends an idle connection and kills a stopped child, under the unit's system call filter."""
    upperd.systemctl("start", "upperd")
    upperd.configure("idle-timeout = 5\n")
    upperd.systemctl("reload", "upperd")
    wait_until(lambda: upperd.stats()["idle_timeout_usec"] == 5_000_000, DEADLINE, "the limit is taken over")
    with upperd.connect() as connection:
        connection.settimeout(DEADLINE)
        assert connection.recv(1) == b""
    assert upperd.stats()["ended_idle"] == 1
    with upperd.connect() as connection:
        connection.settimeout(DEADLINE)
        connection.sendall(b"x")
        assert connection.recv(1) == b"X"
        [busy] = [child for child in upperd.stats()["children"] if not child["waiting"]]
        upperd.machine.kill(signal.SIGSTOP, busy["pid"])
        assert connection.recv(1) == b""
    wait_until(lambda: upperd.stats()["overdue"] == 1, DEADLINE, "it is counted")
    [record] = wait_until(lambda: upperd.records(f"UPPERD_CHILD_PID={busy['pid']}"), DEADLINE, "it is logged")
    assert "was killed: its connection did not end at a limit" in record["MESSAGE"]
