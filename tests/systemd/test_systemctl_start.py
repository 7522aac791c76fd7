"""`systemctl start`, with the socket unit and without it, and a start by the first client."""

from installed import OWN_SOCKET, SOCKET, UNITS, Upperd


def test_service_starts_with_its_socket_unit(upperd: Upperd) -> None:
    """`systemctl start upperd` brings the socket unit up, and the daemon serves its listener."""
    upperd.systemctl("start", "upperd")

    assert upperd.systemctl("is-active", *UNITS) == "active\nactive"
    assert upperd.ask("hello") == "HELLO"


def test_service_starts_without_its_socket_unit(upperd: Upperd) -> None:
    """With the socket unit masked the daemon binds a path in its own folder, for the same group; upperctl finds it."""
    upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")

    assert upperd.ask("hello") == "HELLO"
    assert upperd.machine.output("stat", "--format=%a %U:%G", OWN_SOCKET) == "660 upperd:upperd"
    assert upperd.machine.run("upperctl", "send", "hello", user="alice").stdout == "HELLO\n"
    assert "running" in upperd.machine.run("upperctl", "status", user="alice").stdout


def test_socket_unit_has_the_same_owner_and_mode(upperd: Upperd) -> None:
    """The socket unit's listener has the same users as the daemon's own."""
    upperd.systemctl("start", "upperd.socket")

    assert upperd.machine.output("stat", "--format=%a %U:%G", SOCKET) == "660 upperd:upperd"


def test_first_client_starts_the_service(upperd: Upperd) -> None:
    """With the socket unit enabled the first client starts the service, and is served."""
    upperd.systemctl("start", "upperd.socket")
    assert upperd.property("ActiveState") == "inactive"

    assert upperd.ask("wake up") == "WAKE UP"


def test_enabling_the_service_enables_its_socket_unit(upperd: Upperd) -> None:
    """`systemctl enable upperd` affects both units, and so does `systemctl disable upperd`."""
    upperd.systemctl("enable", "--quiet", "upperd")
    assert upperd.systemctl("is-enabled", *UNITS) == "enabled\nenabled"

    upperd.systemctl("disable", "--quiet", "upperd")
    done = upperd.machine.run("systemctl", "is-enabled", "upperd.socket", check=False)

    assert done.stdout == "disabled\n"
