"""The users that may connect to the installed service."""

import subprocess

from installed import Upperd

EX_NOPERM = 77


def send(upperd: Upperd, user: str) -> "subprocess.CompletedProcess[str]":
    """Send a text by upperctl as `user`."""
    return upperd.machine.run("upperctl", "send", "straße", user=user, check=False)


def test_member_of_the_group_may_connect(started: Upperd) -> None:
    """A member of the group upperd gets an answer."""
    done = send(started, "alice")

    assert (done.returncode, done.stdout.strip()) == (0, "STRASSE")


def test_stranger_may_not_connect(started: Upperd) -> None:
    """Another user is told that permission is denied, and which user and group have it."""
    done = send(started, "carol")

    assert done.returncode == EX_NOPERM
    assert done.stdout == ""
    assert "permission denied" in done.stderr
    assert "belongs to upperd:upperd" in done.stderr


def test_member_of_the_group_may_read_the_statistics(started: Upperd) -> None:
    """A member of the group can read the scoreboard, another user cannot."""
    done = started.machine.run("upperctl", "stats", user="carol", check=False)

    assert started.stats(user="alice")["running"] is True
    assert done.returncode != 0
    assert "permission denied" in done.stderr
