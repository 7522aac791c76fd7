"""What systemd itself says about the units."""

from installed import Upperd

UNITS = tuple(f"/usr/local/lib/systemd/system/upperd.{kind}" for kind in ("socket", "service"))
# For systemd 257 and later; those before say that they ignore it.
EXPECTED = "Failed to parse boolean value, ignoring: identity"
WORST_EXPOSURE = 4
"""Tenths of a point."""


def test_units_are_valid(upperd: Upperd) -> None:
    """`systemd-analyze verify` has nothing to say about either unit."""
    done = upperd.machine.run("systemd-analyze", "verify", "--man=no", *UNITS)
    complaints = [line for line in done.stderr.splitlines() if EXPECTED not in line]

    assert complaints == []


def test_exposure_is_low(upperd: Upperd) -> None:
    """`systemd-analyze security` gives the service 0.4 points or less."""
    upperd.machine.run("systemd-analyze", "security", f"--threshold={WORST_EXPOSURE}", "upperd.service")


def test_settings_are_applied(upperd: Upperd) -> None:
    """At the start systemd warns of no setting that it could not apply."""
    upperd.systemctl("start", "upperd")
    start = f"INVOCATION_ID={upperd.property('InvocationID')}"
    warnings = upperd.machine.output("journalctl", "--output=cat", "--priority=warning", start)

    assert warnings == ""
