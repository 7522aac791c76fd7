"""Fixtures: all tests of this folder run in several machines in turn, each with another release of systemd.
Every test finds the service in its initial state."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from installed import CHECKOUT, Upperd, collect_wheels
from machine import Machine, UnavailableError, booted, check_requirements
from tools import missing
from trees import MINIMAL, SYSTEMS

MEMBERS = ("alice", "bob")
STRANGER = "carol"


# Before pytest-xdist looks for groups.
@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Group the tests of this folder, so that one worker of pytest-xdist runs them all and boots each machine once."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.systemd)
            item.add_marker(pytest.mark.xdist_group("systemd"))
    # It boots other machines: in alphabetical order its tests would have the others booted twice.
    items.sort(key=lambda item: item.path.name == "test_package.py")


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip needs to install upperd without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    collect_wheels(folder)
    return folder


# pytest runs all tests of one parameter before those of the next, so each machine is booted once.
@pytest.fixture(scope="session", params=SYSTEMS)
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine with the users alice, bob and carol."""
    try:
        check_requirements()
        system = (SYSTEMS | MINIMAL)[request.param]()
        wheels: Path = request.getfixturevalue("wheels")
    except UnavailableError as reason:
        # In a run of all tests a skipped one would go unnoticed.
        missing(str(reason))
    with booted(request.param, system, visible=[CHECKOUT, wheels]) as machine:
        for user in (*MEMBERS, STRANGER):
            machine.run("useradd", "--no-create-home", "--user-group", user)
        yield machine


@pytest.fixture(scope="session")
def install(machine: Machine, wheels: Path) -> Callable[[], Upperd]:
    """Install the service, unless an earlier test left it installed."""

    def installed() -> Upperd:
        upperd = Upperd(machine, wheels)
        if not upperd.is_installed():
            upperd.make("install")
        return upperd

    return installed


@pytest.fixture
def upperd(machine: Machine, install: Callable[[], Upperd]) -> Iterator[Upperd]:
    """The service, installed and stopped; alice and bob are members of its group, carol is not."""
    upperd = install()
    upperd.reset()
    for user in MEMBERS:
        machine.run("usermod", "--append", "--groups", "upperd", user)
    yield upperd
    print(upperd.journal())  # pytest shows it if the test failed


@pytest.fixture(params=["socket unit", "own socket"])
def started(request: pytest.FixtureRequest, upperd: Upperd) -> Upperd:
    """The running service, with either kind of listener."""
    if request.param == "own socket":
        upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    return upperd
