"""The differences between releases of systemd that the tests take into account; all of them are here."""

from dataclasses import dataclass

from machine import Machine


@dataclass(frozen=True)
class Release:
    """A release of systemd, which also stands for those up to the next in the list."""

    version: int
    exposure: int
    """The worst rating that systemd-analyze may give the service, in tenths of a point."""
    ignored: dict[str, str]
    """The unit's lines that this release does not understand, and its complaint about each."""


RELEASES = (
    Release(252, 4, {"PrivateUsers=identity": "Failed to parse boolean value, ignoring: identity"}),
    Release(257, 2, {}),
)


def release_of(machine: Machine) -> Release:
    """Look up the release that a machine has."""
    version = int(machine.output("systemctl", "--version").split()[1])
    return [release for release in RELEASES if release.version <= version][-1]
