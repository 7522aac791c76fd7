"""The output of `make dist`, installed in an otherwise empty environment."""

from __future__ import annotations

import subprocess
import sys
import sysconfig
from pathlib import Path

import pytest
from running import DEADLINE, running

ROOT = Path(__file__).parents[2]
SHARED = (
    *("man/man1/upperctl.1", "man/man5/upperd.toml.5", "man/man7/upperd.7", "man/man8/upperd.8"),
    "bash-completion/completions/upperctl",
    "zsh/site-functions/_upperctl",
    "fish/vendor_completions.d/upperctl.fish",
)


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder with the wheel and the sources."""
    folder = tmp_path_factory.mktemp("dist")
    subprocess.run([sys.executable, "-m", "hatchling", "build", "--directory", str(folder)], cwd=ROOT, check=True)
    return folder


@pytest.mark.parametrize("kind", ["*.whl", "*.tar.gz"], ids=["wheel", "sdist"])
def test_distribution(built: Path, folder: Path, kind: str) -> None:
    """From the wheel, and from the sources, pip makes an environment whose daemon, client and manual work."""
    [package] = built.glob(kind)
    env = folder / "env"
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", str(env)], check=True)
    [site] = env.glob("lib/python*/site-packages")
    # There is no network: the dependencies of upperd and of its build are those that the tests run with.
    (site / "others.pth").write_text(f"{sysconfig.get_path('purelib')}\n{sysconfig.get_path('platlib')}\n")
    pip = [sys.executable, "-m", "pip", "--python", str(env / "bin/python"), "install", "--quiet", "--no-deps"]
    options = ["--no-index", "--no-build-isolation", "--disable-pip-version-check", "--ignore-installed"]
    subprocess.run([*pip, *options, str(package)], check=True, timeout=DEADLINE * 4)
    assert [name for name in SHARED if not (env / "share" / name).is_file()] == []
    path = folder / "upperd.sock"
    with running(folder, command=[str(env / "bin/upperd"), "--socket", str(path), "--no-fallback"]):
        asked = [str(env / "bin/upperctl"), "--socket", str(path), "send", "straße"]
        assert subprocess.run(asked, capture_output=True, check=True).stdout == b"STRASSE\n"
    code = "import upperd; print(upperd.__file__)"
    done = subprocess.run([str(env / "bin/python"), "-c", code], capture_output=True, text=True, check=True, cwd=folder)
    assert done.stdout.startswith(str(env))
