"""`upperctl status` beside a manager: it knows the unit's fate, starts nothing, and is right through every name."""

from __future__ import annotations

import json
from typing import Any

from installed import DEADLINE, Upperd
from machine import wait_until


def status(upperd: Upperd, *options: str, user: str | None = None) -> tuple[int, dict[str, Any]]:
    """What `upperctl status --json` says, and its exit status."""
    done = upperd.machine.run("upperctl", *options, "status", "--json", user=user, check=False)
    return done.returncode, json.loads(done.stdout)


def test_failing_service(upperd: Upperd) -> None:
    """Of a service that fails again and again under its socket unit, status says so, and why."""
    upperd.configure("max-children = 0\n")
    upperd.systemctl("start", "upperd.socket")
    with upperd.connect() as client:
        client.sendall(b"x")
        wait_until(lambda: int(upperd.property("NRestarts")) >= 2, DEADLINE, "it has failed three times")
        # A new start forgets the reason, and gives it some 0.1 s later, for the seconds that it waits.
        wait_until(lambda: "max-children is 0" in status(upperd)[1]["trouble"], DEADLINE, "the reason is there")
        code, shown = status(upperd)
        assert (code, shown["state"], shown["unit"]) == (3, "not running", "upperd.service")
        assert "upperd.service fails again and again (" in shown["trouble"]
        screen = upperd.machine.run("upperctl", "status", check=False).stdout
        assert "upperd.service fails again and again (" in screen
    upperd.configure("")


def test_status_starts_nothing(upperd: Upperd) -> None:
    """Status of a service that is stopped under its socket unit is 3, and asking does not start it."""
    upperd.systemctl("start", "upperd.socket")
    for user in (None, "daemon"):
        code, shown = status(upperd, user=user)
        assert (code, shown["trouble"]) == (3, ""), shown
    assert upperd.property("ActiveState") == "inactive"
    assert upperd.property("NRestarts") == "0"


def test_running_service(upperd: Upperd) -> None:
    """Root, a user who may read nothing, and a link to the socket are told alike that the service runs."""
    upperd.systemctl("start", "upperd")
    upperd.machine.run("ln", "-sf", "/run/upperd/upperd.sock", "/run/link")
    for options, user in (((), None), ((), "daemon"), (("--socket", "/run/link"), None)):
        code, shown = status(upperd, *options, user=user)
        assert (code, shown["state"]) == (0, "running"), shown
        assert str(shown["pid"]) == upperd.main_pid()
    upperd.machine.run("rm", "/run/link")


def test_removed_path(upperd: Upperd) -> None:
    """A path that was removed under its socket unit is trouble that status names, with the cure."""
    upperd.systemctl("start", "upperd")
    upperd.machine.run("rm", "/run/upperd/upperd.sock")
    code, shown = status(upperd)
    assert code == 0
    assert "/run/upperd/upperd.sock was removed, so no client finds it" in shown["trouble"]
    assert "restart its socket unit" in shown["trouble"]


def test_reload_that_failed(upperd: Upperd) -> None:
    """The reason of a reload that failed stands in status until one succeeds."""
    upperd.systemctl("start", "upperd")
    upperd.configure("max-children = 0\n")
    upperd.systemctl("kill", "--kill-whom=main", "--signal=HUP", "upperd")
    wait_until(lambda: "max-children is 0" in status(upperd)[1]["trouble"], DEADLINE, "status has the reason")
    upperd.configure("")
    upperd.systemctl("reload", "upperd")
    wait_until(lambda: status(upperd)[1]["trouble"] == "", DEADLINE, "it is forgotten")
