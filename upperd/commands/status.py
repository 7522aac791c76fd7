"""`upperctl status`: whether the daemon runs, on one screen."""

from __future__ import annotations

import argparse

from upperd import view
from upperd.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""


def run(arguments: argparse.Namespace) -> int:
    """Show the daemon; returns the exit status, the LSB's for an init script."""
    sight = view.find(arguments.socket)
    show(view.status_text(sight))
    return sight.state
