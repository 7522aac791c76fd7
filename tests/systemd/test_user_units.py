"""The units for a user manager."""

import re
from collections.abc import Iterator

import pytest
from installed import Upperd

USER = "alice"


class Session:
    """Commands of a user with a user manager."""

    def __init__(self, upperd: Upperd) -> None:
        self._machine = upperd.machine
        self.uid = self._machine.output("id", "--user", USER)
        self._environment = {"XDG_RUNTIME_DIR": f"/run/user/{self.uid}", "HOME": "/tmp"}

    def run(self, *argv: str) -> str:
        """Run a command in the user's session; it must succeed."""
        done = self._machine.run(*argv, user=USER, environment=self._environment)
        return done.stdout.rstrip("\n")


@pytest.fixture
def session(upperd: Upperd) -> Iterator[Session]:
    session = Session(upperd)
    upperd.systemctl("start", f"user@{session.uid}.service")
    yield session
    upperd.systemctl("stop", f"user@{session.uid}.service")


def test_service_of_a_user(session: Session) -> None:
    """`systemctl --user start upperd` starts the user's own daemon, which upperctl finds by itself."""
    session.run("systemctl", "--user", "start", "upperd")

    assert session.run("upperctl", "send", "straße") == "STRASSE"
    assert f"/run/user/{session.uid}/upperd/upperd.sock" in session.run("upperctl", "status")
    path = f"/run/user/{session.uid}/upperd/upperd.sock"
    assert session.run("stat", "--format=%a %U", path) == f"600 {USER}"
    status = session.run("systemctl", "--user", "show", "--property=StatusText", "--value", "upperd")
    assert re.match("0 busy, [89] spare of 64 children", status)  # 9: that of the client's user, too


def test_reload_and_restart_by_a_user(session: Session) -> None:
    """Reload, restart and stop work under a user manager, too; the next client starts the service again."""
    session.run("systemctl", "--user", "start", "upperd")
    session.run("systemctl", "--user", "reload", "upperd")
    session.run("systemctl", "--user", "restart", "upperd")
    assert session.run("upperctl", "send", "again") == "AGAIN"
    session.run("systemctl", "--user", "stop", "upperd.service")
    assert session.run("upperctl", "send", "wake up") == "WAKE UP"
