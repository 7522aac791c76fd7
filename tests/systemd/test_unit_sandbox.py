"""systemd's own judgement of the units."""

from installed import Upperd
from releases import release_of

UNITS = tuple(f"/usr/local/lib/systemd/system/upperd.{kind}" for kind in ("socket", "service"))


def test_units_are_valid(upperd: Upperd) -> None:
    """`systemd-analyze verify` says of either unit no more than that it ignores settings that it does not know yet."""
    done = upperd.machine.run("systemd-analyze", "verify", "--man=no", *UNITS)
    complaints = [line.split(": ", 1)[1] for line in done.stderr.splitlines()]

    assert complaints == list(release_of(upperd.machine).ignored.values())


def test_exposure_is_low(upperd: Upperd) -> None:
    """`systemd-analyze security` rates the service 0.4 points or less, and 0.2 since systemd 257."""
    threshold = release_of(upperd.machine).exposure
    upperd.machine.run("systemd-analyze", "security", f"--threshold={threshold}", "upperd.service")


def test_settings_are_applied(upperd: Upperd) -> None:
    """At the start systemd warns of no setting that it could not apply."""
    upperd.systemctl("start", "upperd")
    start = f"INVOCATION_ID={upperd.property('InvocationID')}"
    warnings = upperd.machine.output("journalctl", "--output=cat", "--priority=warning", start)

    assert warnings == ""
