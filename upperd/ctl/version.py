"""`upperctl version`: of this program, and of the daemon that runs."""

from __future__ import annotations

import argparse

from upperd import __version__
from upperd.base.text import printable
from upperd.ctl import view
from upperd.ctl.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = "example:\n  upperctl version     after an upgrade: does the new one run already?"


def run(arguments: argparse.Namespace) -> int:
    """Show both versions, and whether they differ; returns the exit status."""
    show(f"upperctl {__version__}")
    sight = view.find(arguments.socket)
    if sight.snapshot is None:
        show(f"upperd: {view.WORDS[sight.state]}: {view.explain(sight)}")
        return 0
    version = printable(sight.snapshot.version)
    if sight.state == view.NOT_RUNNING:
        show(f"upperd: not running; the last one was {version}")
        return 0
    show(f"upperd {version} ({view.WORDS[sight.state]}, pid {sight.snapshot.header['pid']})")
    if version != __version__:
        show("they differ: the daemon was started before this version was installed; systemctl restart upperd")
    return 0
