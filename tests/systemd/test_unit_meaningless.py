"""Options without effect in the unit, checked in a shell of the machine, by an administrator and by a user."""

from __future__ import annotations

import pytest
from installed import CONFIG, Upperd


@pytest.mark.parametrize("user", [None, "carol"])
def test_check_config_knows_the_unit(upperd: Upperd, user: str | None) -> None:
    """The check names options that the socket unit replaces, with the cure; TCP, which ends each start, is an error."""
    upperd.configure('socket-mode = "0666"\n')
    check = ("upperd", "--check-config", "--config", CONFIG)
    done = upperd.machine.run(*check, user=user, check=False)
    assert done.returncode == 0
    assert "socket-mode has no effect: the socket comes from upperd.socket; set SocketMode= there" in done.stderr
    upperd.configure('tcp = "localhost:9999"\n')
    done = upperd.machine.run(*check, user=user, check=False)
    assert done.returncode == 78
    assert "leave it out, and enable upperd-tcp.socket" in done.stderr


def test_reload_refuses_what_would_end_the_next_start(upperd: Upperd) -> None:
    """In the sandbox a reload with TCP in the file fails with the cure, and the service goes on."""
    upperd.systemctl("start", "upperd")
    upperd.configure('tcp = "localhost:9999"\n')
    assert upperd.machine.run("systemctl", "reload", "upperd", check=False).returncode != 0
    assert "enable upperd-tcp.socket" in upperd.journal()
    assert upperd.ask("on") == "ON"
