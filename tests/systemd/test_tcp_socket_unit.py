"""TCP on this host through a socket unit; the service itself has no network."""

from installed import DEADLINE, TCP_UNIT, UNITS, Upperd
from machine import wait_until

ADDRESS = "localhost:9999"


def send(upperd: Upperd, *words: str) -> str:
    """Send a text over TCP as a user outside the group."""
    return upperd.machine.run("upperctl", "--tcp", ADDRESS, "send", *words, user="carol").stdout


def test_both_units_are_served_at_once(upperd: Upperd) -> None:
    """With both socket units the service serves the path and TCP, and still has no network of its own."""
    upperd.systemctl("start", TCP_UNIT, *UNITS)

    assert send(upperd, "by", "tcp") == "BY TCP\n"
    assert upperd.ask("by path") == "BY PATH"
    listeners = upperd.stats()["listeners"]
    assert sorted(listener.partition(" ")[0] for listener in listeners) == [
        "tcp:127.0.0.1:9999",
        "tcp:[::1]:9999",
        "unix:/run/upperd/upperd.sock",
    ]
    links = f"/proc/{upperd.main_pid()}/net/dev"
    assert [line.split()[0] for line in upperd.machine.output("cat", links).splitlines()[2:]] == ["lo:"]


def test_added_to_a_running_service(upperd: Upperd) -> None:
    """The README's steps work: enable the unit, restart the service."""
    upperd.systemctl("start", "upperd")
    upperd.systemctl("enable", "--quiet", TCP_UNIT)
    upperd.systemctl("restart", "upperd")

    assert send(upperd, "by tcp") == "BY TCP\n"
    assert upperd.ask("by path") == "BY PATH"
    upperd.systemctl("disable", "--quiet", TCP_UNIT)


def test_first_client_starts_the_service(upperd: Upperd) -> None:
    """A TCP client starts the service, as a client of the path does."""
    upperd.systemctl("start", TCP_UNIT)

    assert send(upperd, "wake up") == "WAKE UP\n"
    # A child may serve before the manager has read READY=1.
    wait_until(lambda: upperd.property("ActiveState") == "active", DEADLINE, "it is active")


def test_peer_is_unknown(upperd: Upperd) -> None:
    """A TCP client has no uid in the record, because the sandbox hides it."""
    upperd.systemctl("start", TCP_UNIT, *UNITS)
    send(upperd, "who am I")
    wait_until(lambda: upperd.records("UPPERD_EVENT=end"), DEADLINE, "there is a record")
    [record] = upperd.records("UPPERD_EVENT=end")

    assert "UPPERD_PEER_UID" not in record
    assert record["UPPERD_BYTES_IN"] == str(len("who am I\n"))
