"""`make uninstall` removes everything."""

from pathlib import Path

from installed import Upperd
from machine import Machine

# Where an installation, and everything started by it, may leave something.
FOLDERS = ("/etc", "/usr/local", "/usr/lib/systemd", "/usr/lib/sysusers.d", "/opt", "/run", "/var")
# What systemd itself and the account tools keep for themselves.
NOISE = ("/run/systemd/", "/run/log/", "/var/log/", "/var/lib/systemd/", "/run/credentials/")
ACCOUNTS = ("/etc/passwd", "/etc/group", "/etc/shadow", "/etc/gshadow")


def tree(machine: Machine) -> set[str]:
    """The path, mode and owner of every file there."""
    listing = machine.output("find", *FOLDERS, "-ignore_readdir_race", "-printf", "%p %m %u:%g\n")
    return {line for line in listing.splitlines() if not line.startswith(NOISE)}


def accounts(machine: Machine) -> dict[str, str]:
    """The contents of the files with users and groups."""
    return {name: Path(machine.path(name)).read_text() for name in ACCOUNTS}


def test_nothing_is_left_behind(upperd: Upperd) -> None:
    """Files, users and groups are the same before `make install` and after `make uninstall`, instances included."""
    upperd.make("uninstall")
    upperd.machine.run("mkdir", "-p", "/etc/upperd")
    upperd.machine.run("touch", "/etc/upperd/one.toml")  # the operator's, so it stays
    before = tree(upperd.machine), accounts(upperd.machine)
    upperd.make("install")
    upperd.systemctl("enable", "--quiet", "--now", "upperd")
    upperd.systemctl("enable", "--quiet", "--now", "upperd@one")
    upperd.ask("hello")
    upperd.make("uninstall")
    after = tree(upperd.machine), accounts(upperd.machine)
    upperd.machine.run("rm", "-r", "/etc/upperd")

    assert after == before
    assert upperd.property("LoadState") == "not-found"


def test_uninstalling_twice_is_no_error(upperd: Upperd) -> None:
    """`make uninstall` where nothing is installed succeeds."""
    upperd.make("uninstall")
    upperd.make("uninstall")

    assert not upperd.is_installed()
