"""The journal's records of children that ended."""

import signal

import pytest
from installed import DEADLINE, Upperd
from machine import wait_until

FIELDS = {
    "UPPERD_CHILD_PID",
    "UPPERD_PEER_UID",
    "UPPERD_PEER_PID",
    "UPPERD_CONNECTIONS",
    "UPPERD_BYTES_IN",
    "UPPERD_BYTES_OUT",
    "UPPERD_DURATION_USEC",
    "UPPERD_EXIT",
    "UPPERD_MAXRSS_KB",
}


def test_ended_child_is_a_record(upperd: Upperd) -> None:
    """The record of a child can be found by its peer's uid, with the child's work in fields."""
    upperd.configure("connections-per-child = 1\n")
    upperd.systemctl("start", "upperd")
    upperd.machine.run("upperctl", "send", "straße", user="alice")
    match = f"UPPERD_PEER_UID={upperd.machine.output('id', '--user', 'alice')}"
    wait_until(lambda: upperd.records(match), DEADLINE, f"there is a record with {match}")
    [record] = upperd.records(match)

    assert record.keys() >= FIELDS
    assert int(record["UPPERD_BYTES_OUT"]) == int(record["UPPERD_BYTES_IN"])
    assert record["_SYSTEMD_UNIT"] == "upperd.service"
    assert f"child {record['UPPERD_CHILD_PID']} served 1" in upperd.machine.output("journalctl", match)


@pytest.mark.parametrize("name", ["SEGV", "KILL"])
def test_killed_child_is_an_error(upperd: Upperd, name: str) -> None:
    """A child that is killed, as by the kernel without memory, is logged as an error; the unit and the rest go on."""
    upperd.systemctl("start", "upperd")
    pid = upperd.main_pid()
    with upperd.connect() as connection:
        connection.sendall(b"hello\n")
        assert connection.recv(64) == b"HELLO\n"
        [busy] = [child for child in upperd.stats()["children"] if child["connections"]]
        upperd.machine.kill(signal.Signals[f"SIG{name}"], busy["pid"])
        match = f"UPPERD_CHILD_PID={busy['pid']}"
        wait_until(lambda: upperd.records(match), DEADLINE, f"there is a record with {match}")
        [record] = upperd.records(match)

        assert int(record["PRIORITY"]) <= 3
        assert record["UPPERD_EXIT"] == f"SIG{name}"
        errors = upperd.machine.output("journalctl", "-t", "upperd", "-p", "err", "UPPERD_EVENT=end")
        assert f"child {busy['pid']} served 1" in errors
    assert upperd.ask("go on") == "GO ON"
    assert upperd.main_pid() == pid
    assert upperd.property("OOMPolicy") == "continue"
