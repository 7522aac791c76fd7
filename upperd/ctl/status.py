"""`upperctl status`: whether the daemon runs, on one screen."""

from __future__ import annotations

import argparse

from upperd.ctl import view
from upperd.ctl.output import show
from upperd.ctl.terminal import Paint, has_colour


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = "examples:\n  upperctl status && echo it runs\n  upperctl --socket /run/other/upperd.sock status"


def run(arguments: argparse.Namespace) -> int:
    """Show the daemon; returns the exit status, the LSB's for an init script."""
    sight = view.find(arguments.socket)
    usages = {}
    if sight.state == view.RUNNING and sight.snapshot is not None:
        from upperd.ctl import usage  # psutil, which a daemon that does not run need not wait for

        usages = usage.of_daemon(sight.snapshot)
    show(view.status_text(sight, usages, Paint(has_colour(1))))
    return sight.state
