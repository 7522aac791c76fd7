"""In the sandbox of the shipped unit every peer's uid is known."""

from contextlib import ExitStack

from installed import DEADLINE, Upperd
from machine import wait_until

USERS = ("alice", "bob")


def peers(upperd: Upperd) -> list[int]:
    """The uids of the connected peers."""
    children = upperd.stats()["children"]
    return sorted(child["peer_uid"] for child in children if child["connections"])


def test_two_users_are_told_apart(upperd: Upperd) -> None:
    """The statistics show two simultaneous users with their own uids."""
    upperd.systemctl("start", "upperd")
    uids = sorted(int(upperd.machine.output("id", "--user", user)) for user in USERS)
    with ExitStack() as stack:
        for user in USERS:
            client = stack.enter_context(upperd.machine.start("upperctl", "send", user=user))
            assert client.stdin
            client.stdin.write(b"hello\n")
            client.stdin.flush()
        wait_until(lambda: peers(upperd) == uids, DEADLINE, f"the peers are {uids}")
