"""Root file systems of Debian, with another systemd than the host's, or with nothing but the necessary packages.

They come from the host's own mirror, are made once, and are kept. The list of each names the packages beyond the
minimum; a change of the list makes another folder.
"""

import hashlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from machine import UnavailableError

CACHE = Path("/var/cache/upperd-tests")
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")
NEEDED = (
    "passwd",
    "python3",
    "python3-daemon",
    "python3-psutil",
    "python3-rich",
    "python3-sdnotify",
    "systemd",
    "systemd-sysv",
)
"""The dependencies of upperd's package, what boots, and what makes users (which variant=minbase lacks)."""
PACKAGES = (
    *NEEDED,
    "dbus",
    "iproute2",
    "libpam-systemd",
    "libseccomp2",
    "make",
    "netcat-openbsd",
    "python3-venv",
    "socat",
    "util-linux",
)
"""What the tests of this folder need."""
# Below pytest's limit for one test, which would end all of them. 16 s were measured, 70 s under load.
DEADLINE = 150.0
# However it ends, no process and no mount of it is left.
IN_NAMESPACE = ("unshare", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc")


def tree(suite: str, packages: tuple[str, ...] = PACKAGES) -> Path:
    """The folder, which is made if it does not exist; UnavailableError says why it cannot be made."""
    recipe = hashlib.sha256(" ".join([suite, *packages]).encode()).hexdigest()
    folder = CACHE / f"{suite}-{recipe[:12]}"
    if not folder.exists():
        if shutil.which("mmdebstrap") is None:
            raise UnavailableError("no mmdebstrap to make a Debian: apt-get install mmdebstrap")
        if not KEYRING.exists():
            raise UnavailableError("no keys to check a Debian with: apt-get install debian-archive-keyring")
        _make(folder, suite, packages, _mirror())
    return folder


def _mirror() -> str:
    """The host's Debian mirror, from apt's sources."""
    targets = ["apt-get", "indextargets", "--format", "$(REPO_URI)", "Identifier: Packages", "Label: Debian"]
    done = subprocess.run(targets, capture_output=True, text=True)
    if not done.stdout:
        raise UnavailableError("apt knows no mirror of Debian: is this Debian, and was apt-get update called?")
    return done.stdout.split()[0]


def _make(folder: Path, suite: str, packages: tuple[str, ...], mirror: str) -> None:
    """Make it under another name first, so that `folder` is complete whenever it exists."""
    CACHE.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="making-", dir=CACHE) as base:
        unfinished = Path(base, "tree")
        try:
            done = subprocess.run(
                [
                    *(*IN_NAMESPACE, "mmdebstrap", "--quiet", "--variant=apt", f"--include={','.join(packages)}"),
                    *(f"--keyring={KEYRING}", suite, str(unfinished), mirror),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.PIPE,
                text=True,
                timeout=DEADLINE,
            )
        except subprocess.TimeoutExpired:
            raise UnavailableError(f"{suite} could not be made in {DEADLINE:g} s") from None
        if done.returncode != 0:
            raise UnavailableError(f"{suite} could not be made:\n{done.stderr}")
        if not folder.exists():  # another run may have been faster
            os.rename(unfinished, folder)


SYSTEMS: dict[str, Callable[[], Path]] = {
    "host": lambda: Path("/"),  # Debian 12 in CI: systemd 252, Python 3.11
    "debian13": lambda: tree("trixie"),  # systemd 257, Python 3.13
}
MINIMAL: dict[str, Callable[[], Path]] = {
    "minimal12": lambda: tree("bookworm", NEEDED),
    "minimal13": lambda: tree("trixie", NEEDED),
}
"""Only the dependencies of the package."""
