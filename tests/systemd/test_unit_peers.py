"""The sandbox of the shipped unit leaves every peer its uid."""

from contextlib import ExitStack

from installed import DEADLINE, Upperd
from machine import wait_until

USERS = ("alice", "bob")


def peers(upperd: Upperd) -> list[int]:
    """Give the uids of the peers that are connected."""
    children = upperd.stats()["children"]
    return sorted(child["peer_uid"] for child in children if child["connections"])


def test_two_users_are_told_apart(upperd: Upperd) -> None:
    """Two users who are connected at the same time stand in the statistics with their own uids."""
    upperd.systemctl("start", "upperd")
    uids = sorted(int(upperd.machine.output("id", "--user", user)) for user in USERS)
    with ExitStack() as stack:
        for user in USERS:
            client = stack.enter_context(upperd.machine.start("upperctl", "send", user=user))
            assert client.stdin
            client.stdin.write(b"hello\n")
            client.stdin.flush()
        wait_until(lambda: peers(upperd) == uids, DEADLINE, f"the peers are {uids}")
