"""`upperctl stats`: what every child does, and the totals; for people, for programs, for Prometheus; once or again."""

from __future__ import annotations

import argparse
import os
import time

from upperd.base.text import printable, size
from upperd.ctl import view
from upperd.ctl.exits import EX_CANTCREAT, EX_NOPERM, EX_UNAVAILABLE, EX_USAGE, fail
from upperd.ctl.history import History
from upperd.ctl.output import show, write_out
from upperd.ctl.terminal import Paint, Waiter, has_colour, is_capable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.ctl.usage import Usage

EXAMPLES = """examples:
  upperctl stats --watch                   again every 2 seconds, until Ctrl-C
  upperctl stats --json | jq .connections
  upperctl stats --prometheus --output /var/lib/node_exporter/upperd.prom
"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = EXAMPLES
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--json", action="store_true", help="one JSON object, for programs")
    form.add_argument("--prometheus", action="store_true", help="Prometheus's text format")
    parser.add_argument("--output", metavar="FILE", help="with --prometheus: replace FILE, in one step")
    text = "again and again: every 2 seconds, or so many"
    parser.add_argument("--watch", metavar="SECONDS", nargs="?", type=seconds, const=2.0, help=text)


def seconds(text: str) -> float:
    """An interval: 0.1 seconds to a day. Raises ValueError."""
    value = float(text)
    if not 0.1 <= value <= 86400:
        raise argparse.ArgumentTypeError("SECONDS is 0.1 to 86400")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Show the figures; returns the exit status."""
    if arguments.output is not None and not arguments.prometheus:
        return fail(EX_USAGE, "--output goes with --prometheus only; else redirect: upperctl stats > FILE")
    if arguments.watch is None:
        return _show_once(arguments)
    return _Watch(arguments).run()


def _look(arguments: argparse.Namespace) -> tuple[view.Sight, dict[int, Usage]]:
    """One look at the daemon, and at its processes where it runs."""
    sight = view.find(arguments.socket)
    if sight.snapshot is None or sight.state == view.NOT_RUNNING:
        return sight, {}
    from upperd.ctl import usage  # psutil, which a daemon that does not run need not wait for

    return sight, usage.of_daemon(sight.snapshot)


def _show_once(arguments: argparse.Namespace) -> int:
    sight, usages = _look(arguments)
    if arguments.prometheus:
        return _show_prometheus(sight, usages, arguments.output)
    if sight.snapshot is None:
        return _missing(sight)
    show(_text(arguments, sight, usages, has_colour(1)))
    return 0


def _missing(sight: view.Sight) -> int:
    return fail(EX_NOPERM if sight.is_denied else EX_UNAVAILABLE, view.explain(sight))


def _show_prometheus(sight: view.Sight, usages: dict[int, Usage], output: str | None) -> int:
    """A daemon that does not run is a figure, too: `upperd_up` 0, and no error."""
    from upperd.ctl.prometheus import exposition

    text = exposition(sight, usages).encode()
    if output is None:
        write_out(text)
    else:
        from upperd.base import atomic

        try:
            atomic.replace(output, text)
        except OSError as error:
            return fail(EX_CANTCREAT, f"cannot write {printable(output)}: {error.strerror}; {_cure(output)}")
    return _missing(sight) if sight.is_denied else 0


def _cure(output: str) -> str:
    folder = os.path.dirname(output) or "."
    if not os.path.isdir(folder):
        return f"make the folder first: mkdir -p {printable(folder)}"
    return f"it takes a file, in a folder that {os.environ.get('USER', 'this user')} may write to"


def _text(arguments: argparse.Namespace, sight: view.Sight, usages: dict[int, Usage], colour: bool) -> str:
    """What is shown of a daemon with a scoreboard, as a table or as JSON."""
    assert sight.snapshot is not None
    if arguments.json:
        import json

        # One object a line where there are many: JSON Lines.
        return json.dumps(view.stats_data(sight, sight.snapshot, usages), indent=2 if arguments.watch is None else None)
    paint = Paint(colour)
    table = view.stats_text(sight.snapshot, usages, paint)
    return table if sight.state == view.RUNNING else f"{view.title(sight, paint)}\n{table}"


class _Watch:
    """Looks again and again. On a terminal what was shown is drawn over, elsewhere the next stands below."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._redraws = is_capable(1) and not (arguments.json or arguments.output)
        self._drawn = 0
        self._history = History()

    def run(self) -> int:
        """Until Ctrl-C; or an error that another look does not cure."""
        due = time.monotonic()
        is_first = True
        with Waiter() as waiter:
            # The terminal is to cut what is too wide for it, instead of breaking it into two lines.
            write_out(b"\x1b[?7l\x1b[?25l" if self._redraws else b"")
            try:
                while True:
                    if (status := self._turn(is_first)) is not None:
                        return status
                    is_first = False
                    # From beginning to beginning; what was missed, as while the machine slept, is left out.
                    due = max(due + self._arguments.watch, time.monotonic())
                    self._wait(waiter, due)
            finally:
                write_out(b"\x1b[?7h\x1b[?25h" if self._redraws else b"")

    def _wait(self, waiter: Waiter, due: float) -> None:
        while (left := due - time.monotonic()) > 0:
            before = os.get_terminal_size(1) if self._redraws else None
            waiter.wait(left)
            if before is not None and os.get_terminal_size(1) != before:
                # What stands there has been moved, nobody knows where to.
                write_out(b"\x1b[H\x1b[J")
                self._drawn = 0
                return

    def _turn(self, is_first: bool) -> int | None:
        sight, usages = _look(self._arguments)
        if self._arguments.prometheus:
            return _show_prometheus(sight, usages, self._arguments.output) or None
        if sight.snapshot is None:
            if is_first:
                return _missing(sight)
            self._draw(view.status_text(sight, None, Paint(self._redraws and has_colour(1))))
            return None
        self._history.add(sight, usages, time.monotonic())
        text = _text(self._arguments, sight, usages, self._redraws and has_colour(1))
        if not (self._arguments.json or is_first):
            rates = self._history.rates
            moved = (f"{size(int(rates[name]))} {name.replace('bytes_', '')}" for name in ("bytes_in", "bytes_out"))
            text += f"\na second: {rates['connections']:.1f} connections, {', '.join(moved)}"
        self._draw(text)
        return None

    def _draw(self, text: str) -> None:
        if self._arguments.json:
            show(text)
            return
        block = [view.clock(), *text.split("\n")]
        if not self._redraws:
            show("\n".join([*block, ""]))
            return
        height = os.get_terminal_size(1).lines
        if len(block) >= height:
            # The head and the totals are to be seen; upperctl top has all of it.
            block = [*block[: height - 5], f"... and {len(block) - height + 2} more", *block[-3:]]
        over = f"\x1b[{self._drawn}A\r" if self._drawn else "\r"
        lines = "".join(f"\x1b[2K{line}\r\n" for line in block)
        write_out(f"{over}{lines}\x1b[J".encode("utf-8", "replace"))
        self._drawn = len(block)
