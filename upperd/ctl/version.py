"""`upperctl version`: shows the versions of upperctl and of the running daemon."""

from __future__ import annotations

import argparse

from upperd import __version__
from upperd.base import installation
from upperd.base.text import printable
from upperd.ctl import view
from upperd.ctl.output import show


def run(arguments: argparse.Namespace) -> int:
    """Show both versions and whether they differ; return the exit status."""
    show(f"upperctl {__version__}")
    daemon = view.find(arguments.socket)
    word = view.WORDS[daemon.state]
    version = printable(daemon.snapshot.version) if daemon.snapshot is not None else ""
    if not version:
        show(f"upperd: {word}: {view.explain(daemon)}")
    elif daemon.state == view.NOT_RUNNING:
        show(f"upperd: not running; the last one was {version}")
    else:
        show(f"upperd {version} ({word}, pid {daemon.header['pid']})")
        if version != __version__:
            cure = installation.command("restart", "restart it")
            show(f"the versions differ: the daemon was started before this version was installed; {cure}")
    return 0
