"""The Debian package that `make deb` builds: installed, upgraded under load, removed and purged."""

import re
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from installed import CHECKOUT, CONFIG, Upperd
from machine import Machine
from questions import USERS, asking, wait_for_progress
from test_make_uninstall import accounts, tree
from tools import need
from trees import MINIMAL

from upperd import __version__

# A machine with the dependencies of the package, and nothing more.
minimal = pytest.mark.parametrize("machine", MINIMAL, indirect=True)
OLDER = "0.0.1"


@pytest.fixture(scope="session")
def packages(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The package by version, and the same with an older version; the machines can read both."""
    need("dpkg-buildpackage", "dh", "dh_python3", "pkgconf")
    subprocess.run(["make", "-C", str(CHECKOUT), "deb"], check=True, stdout=subprocess.DEVNULL)
    folder = CHECKOUT / "dist"
    new, old = folder / f"upperd_{__version__}_all.deb", folder / f"upperd_{OLDER}_all.deb"
    contents = tmp_path_factory.mktemp("package") / "contents"
    subprocess.run(["dpkg-deb", "--raw-extract", str(new), str(contents)], check=True)
    for name in ("DEBIAN/control", "usr/lib/upperd/upperd/__init__.py"):
        path = contents / name
        path.write_text(path.read_text().replace(__version__, OLDER))
    build = ["dpkg-deb", "--root-owner-group", "--build", str(contents), str(old)]
    subprocess.run(build, check=True, stdout=subprocess.DEVNULL)
    yield {__version__: new, OLDER: old}
    old.unlink()


@pytest.fixture
def debian(machine: Machine, packages: dict[str, Path], tmp_path: Path) -> Iterator[Upperd]:
    """A machine without upperd; nothing of the package is left in it afterwards."""
    upperd = Upperd(machine, tmp_path)
    yield upperd
    print(upperd.journal())
    machine.run("dpkg", "--purge", "upperd")


def install(debian: Upperd, package: Path) -> str:
    """Install it as an administrator does; return the output."""
    done = debian.machine.run("dpkg", "--install", str(package), environment={"DEBIAN_FRONTEND": "noninteractive"})
    return done.stdout + done.stderr


def version(debian: Upperd) -> str:
    """The version of the running daemon."""
    found = re.search(r"upperd (\S+): running", debian.machine.output("upperctl", "status"))
    return found[1] if found else ""


def test_lintian(packages: dict[str, Path]) -> None:
    """Lintian, Debian's own checker, finds neither an error nor a warning."""
    need("lintian")
    command = ["lintian", "--allow-root", "--fail-on", "error,warning", str(packages[__version__])]
    done = subprocess.run(command, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, "")


@minimal
def test_installed_package_serves(debian: Upperd, packages: dict[str, Path]) -> None:
    """As in Debian, the service is running and enabled after the installation; TCP and other instances are not."""
    install(debian, packages[__version__])
    assert debian.ask("straße") == "STRASSE"
    assert version(debian) == __version__
    states = {unit: debian.machine.run("systemctl", "is-enabled", unit, check=False).stdout.strip() for unit in (
        "upperd.service", "upperd.socket", "upperd-tcp.socket"
    )}  # fmt: skip
    assert states == {"upperd.service": "enabled", "upperd.socket": "enabled", "upperd-tcp.socket": "disabled"}
    debian.systemctl("reload", "upperd")
    shown = debian.machine.run("ls", "/usr/share/man/man8/upperd.8.gz", "/usr/lib/sysusers.d/upperd.conf")
    assert shown.returncode == 0


@minimal
def test_upgrade_loses_nothing(debian: Upperd, packages: dict[str, Path]) -> None:
    """Under load, and with a client that stays connected, the new version takes over; a changed configuration stays."""
    install(debian, packages[OLDER])
    for user in USERS[1:]:
        debian.machine.run("usermod", "--append", "--groups", "upperd", user)
    debian.configure("max-children = 7\n")
    debian.systemctl("restart", "upperd")
    assert version(debian) == OLDER
    with debian.connect() as connection, asking(debian.machine) as clients:
        connection.sendall(b"before\n")
        assert connection.recv(64) == b"BEFORE\n"
        install(debian, packages[__version__])
        wait_for_progress(clients)
    assert version(debian) == __version__
    assert debian.stats()["max_children"] == 7


@minimal
def test_purge_leaves_nothing(debian: Upperd, packages: dict[str, Path]) -> None:
    """After removal nothing runs and the configuration stays; a purge restores files, users and groups."""
    ours = ("/var/lib/dpkg/", "/var/cache/", "/var/lib/systemd/deb-systemd")
    before = {line for line in tree(debian.machine) if not line.startswith(ours)}, accounts(debian.machine)
    install(debian, packages[__version__])
    debian.systemctl("stop", "upperd.service")
    debian.systemctl("start", "upperd-tcp.socket", "upperd.service")
    debian.machine.run("cp", CONFIG, "/etc/upperd/one.toml")
    debian.systemctl("start", "upperd@one")
    debian.machine.run("rm", "/etc/upperd/one.toml")
    debian.machine.run("dpkg", "--remove", "upperd")
    assert Path(debian.machine.path(CONFIG)).exists()
    assert debian.processes() == []
    assert debian.systemctl("list-units", "--plain", "--no-legend", "upperd*") == ""
    debian.machine.run("dpkg", "--purge", "upperd")
    after = {line for line in tree(debian.machine) if not line.startswith(ours)}, accounts(debian.machine)
    assert after == before
