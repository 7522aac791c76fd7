"""The daemon's reaction when something else removes its files."""

from pathlib import Path

from running import running, wait_until

from upperd.client import upper


def test_locks_are_made_again(folder: Path) -> None:
    """A removed lock is made again while clients come, so a second daemon finds the first."""
    lock = folder / "upperd.sock.lock"
    with running(folder) as daemon:
        lock.unlink()
        wait_until(lambda: upper("x", str(daemon.path)) == "X" and lock.exists(), "the lock is back", 120)
