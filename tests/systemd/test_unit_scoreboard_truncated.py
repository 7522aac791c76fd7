"""Root truncates the scoreboard: its pages are gone (SIGBUS), which ends the daemon and nothing else."""

import contextlib

from installed import DEADLINE, Upperd, answer_or_end
from machine import wait_until

SCOREBOARD = "/run/upperd/state/scoreboard"


def failed_units(upperd: Upperd) -> str:
    """The units that have failed."""
    return upperd.systemctl("list-units", "--failed", "--plain", "--no-legend")


def is_at_rest(upperd: Upperd) -> bool:
    """Whether the daemon's children wait: the spare ones, and the one that belongs to the client's user."""
    stats = upperd.stats()
    return (stats["busy"], stats["spare"]) == (0, 8 + 1)


def test_daemon_is_restarted(upperd: Upperd) -> None:
    """The daemon ends by SIGBUS, systemd restarts it, clients are served, and the scoreboard works again."""
    upperd.systemctl("start", "upperd.socket", "upperd")
    failed_before = failed_units(upperd)
    pid, children = upperd.main_pid(), upperd.processes()
    with upperd.connect() as client:
        client.sendall(b"before")
        assert client.recv(64) == b"BEFORE"
        upperd.machine.run("truncate", "--size=0", SCOREBOARD)
        with contextlib.suppress(BrokenPipeError):  # the parent counts as well, and systemd ends the child then
            client.sendall(b"this makes a child count")
        # Its answer may be under way by then: only its end is certain.
        assert answer_or_end(client) in ("", "THIS MAKES A CHILD COUNT")
        upperd.wait_for_another_main(pid)

    assert upperd.ask("after") == "AFTER"
    assert upperd.property("NRestarts") == "1"
    assert "status=7/BUS" in upperd.journal()
    assert set(children).isdisjoint(upperd.processes())
    assert upperd.systemctl("is-active", "upperd.socket") == "active"
    assert failed_units(upperd) == failed_before
    wait_until(lambda: is_at_rest(upperd), DEADLINE, "spare children are back")
    assert upperd.stats()["connections"] == 1
    assert upperd.stats()["crashed"] == 0
