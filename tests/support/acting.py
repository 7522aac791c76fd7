"""Other users of this host, played by small programs that run with another uid."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import Any

from tools import missing

USER, OTHER = 61001, 61002
"""Two uids that no user of the host has."""


def need_root() -> None:
    """Skip if the tests cannot act as another user."""
    if os.geteuid() != 0:
        missing("acting as another user takes root")


_CTL = """
import locale, os, pkgutil, sys
import psutil
import upperd.base, upperd.ctl
for package in (upperd.base, upperd.ctl):
    for module in pkgutil.iter_modules(package.__path__, package.__name__ + "."):
        __import__(module.name)
upperd.ctl.parser.make_parser()
uid, gid = int(sys.argv.pop(1)), int(sys.argv.pop(1))
os.setgroups([]); os.setgid(gid); os.setuid(uid)
sys.exit(upperd.ctl.main.main())
"""


def ctl_as(uid: int, gid: int) -> list[str]:
    """The command upperctl of this user, who may not be able to read the files of this checkout."""
    return [sys.executable, "-c", _CTL, str(uid), str(gid)]


def start_as(uid: int, script: str, *arguments: str, **popen: Any) -> subprocess.Popen[bytes]:
    """Run a script of the standard library as this user, with pipes, by a Python that all users may execute."""
    command = ["/usr/bin/python3", "-c", script, *arguments]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    return subprocess.Popen(command, user=uid, group=uid, extra_groups=[], cwd="/", **{**pipes, **popen})


def said(process: subprocess.Popen[bytes]) -> str:
    """The next line of the process's standard output."""
    assert process.stdout is not None
    return process.stdout.readline().decode().rstrip("\n")


def tell(process: subprocess.Popen[bytes], line: str) -> None:
    """Send a line to the process."""
    assert process.stdin is not None
    process.stdin.write(f"{line}\n".encode())
    process.stdin.flush()
