"""One machine for all tests of this folder; the service is as good as new for each of them."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import CHECKOUT, Upperd, collect_wheels
from machine import Machine, booted, missing_requirement

MEMBERS = ("alice", "bob")
STRANGER = "carol"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what lies in this folder."""
    for item in items:
        if Path(__file__).parent in item.path.parents:
            item.add_marker(pytest.mark.systemd)


@pytest.fixture(scope="session")
def wheels(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with what pip needs to install upperd without a network."""
    folder = tmp_path_factory.mktemp("wheels")
    collect_wheels(folder)
    return folder


@pytest.fixture(scope="session")
def machine(request: pytest.FixtureRequest) -> Iterator[Machine]:
    """A booted machine with the users alice, bob and carol."""
    missing = missing_requirement()
    if missing is not None:
        # Where all tests are to run, a skipped one would go unnoticed.
        (pytest.fail if os.environ.get("CI") else pytest.skip)(missing)
    wheels: Path = request.getfixturevalue("wheels")
    with booted(visible=[CHECKOUT, wheels]) as machine:
        for user in (*MEMBERS, STRANGER):
            machine.run("useradd", "--no-create-home", "--user-group", user)
        yield machine


@pytest.fixture
def upperd(machine: Machine, wheels: Path) -> Iterator[Upperd]:
    """The service, installed and stopped; alice and bob are members of its group, carol is not."""
    upperd = Upperd(machine, wheels)
    if not upperd.is_installed():
        upperd.make("install")
    upperd.reset()
    for user in MEMBERS:
        machine.run("usermod", "--append", "--groups", "upperd", user)
    yield upperd
    print(upperd.journal())  # pytest shows it where the test failed
