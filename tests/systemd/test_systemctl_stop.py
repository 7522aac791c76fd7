"""`systemctl stop`."""

from installed import DEADLINE, UNITS, Upperd
from machine import wait_until


def test_stop_is_clean(upperd: Upperd) -> None:
    """The service ends with success and leaves no process, also while clients are connected."""
    upperd.systemctl("start", "upperd")
    with upperd.connect() as connection:
        connection.sendall(b"still here\n")
        assert connection.recv(64) == b"STILL HERE\n"
        upperd.systemctl("stop", *UNITS)

        assert connection.recv(64) == b""
    assert upperd.property("Result") == "success"
    assert upperd.property("ActiveState") == "inactive"
    assert upperd.processes() == []


def test_scoreboard_outlives_the_service(upperd: Upperd) -> None:
    """After a stop the last figures can still be read, and are marked as such."""
    upperd.systemctl("start", "upperd")
    upperd.ask("hello")
    upperd.systemctl("stop", *UNITS)

    stats = upperd.stats()

    assert stats["running"] is False
    assert stats["bytes_in"] == 5


def test_next_client_starts_the_service_again(upperd: Upperd) -> None:
    """While the socket unit is up, a stopped service starts again for its next client."""
    upperd.systemctl("start", "upperd")
    upperd.systemctl("stop", "upperd.service")
    wait_until(lambda: upperd.main_pid() == "0", DEADLINE, "the service is down")

    assert upperd.ask("back") == "BACK"
