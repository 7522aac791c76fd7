"""`upperctl stats`: what every child does, and the totals."""

from __future__ import annotations

import argparse
import json

from upperd import view
from upperd.commands.exits import EX_NOPERM, EX_UNAVAILABLE, fail
from upperd.commands.output import show


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("--json", action="store_true", help="for programs")


def run(arguments: argparse.Namespace) -> int:
    """Show the figures; returns the exit status."""
    sight = view.find(arguments.socket)
    if sight.snapshot is None:
        status = EX_NOPERM if sight.is_denied else EX_UNAVAILABLE
        return fail(status, view.status_text(sight).partition("\n")[2])
    if arguments.json:
        show(json.dumps(view.stats_data(sight, sight.snapshot), indent=2))
    else:
        if sight.state != view.RUNNING:
            show(view.status_text(sight).partition("\n")[0])
        show(view.stats_text(sight.snapshot))
    return 0
