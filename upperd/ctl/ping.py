"""`upperctl ping`: how long a text takes there and back, as ping(8) tells it of a host; and the check of health.

Each round trip has a connection of its own, as most clients have: so it also takes a child that is free.
"""

from __future__ import annotations

import argparse
import math
import time

from upperd.base.text import printable
from upperd.client.client import exchange
from upperd.client.finding import ClientError, NoDaemonError, ReplyTimeoutError, ShortReplyError, connect
from upperd.ctl.exits import fail
from upperd.ctl.output import show
from upperd.ctl.terminal import Waiter

EXAMPLES = """examples:
  upperctl ping                 until Ctrl-C
  upperctl ping -c 1 -q -W 2    for health checks: 0 it answers, 1 not
"""
TEXT = "upperd ping \N{LATIN SMALL LETTER SHARP S} {}\n"
"""With a letter that only Unicode's rules know: an echo, or tr(1), is not taken for upperd."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = EXAMPLES
    parser.add_argument("-c", dest="count", metavar="COUNT", type=_count, help="end after so many; else at Ctrl-C")
    for letter, name, default, text in (
        ("-i", "interval", 1.0, "from one to the next, else 1"),
        ("-W", "timeout", 10.0, "wait so long for an answer, else 10"),
    ):
        parser.add_argument(letter, dest=name, metavar="SECONDS", type=_seconds, default=default, help=text)
    parser.add_argument("-q", dest="is_quiet", action="store_true", help="the summary only")


def _count(text: str) -> int:
    if not (text.isascii() and text.isdigit() and 0 < int(text) < 10**9):
        raise argparse.ArgumentTypeError("COUNT is 1 or more")
    return int(text)


def _seconds(text: str) -> float:
    value = float(text)
    if not 0.01 <= value <= 86400:
        raise argparse.ArgumentTypeError("SECONDS is 0.01 to 86400")
    return value


def run(arguments: argparse.Namespace) -> int:
    """Ask again and again; returns the exit status: 0, it answered; 1, never."""
    return _Ping(arguments).run()


class _LostError(Exception):
    """No answer, or a wrong one. The text says why."""


class _Ping:
    """One run: what was sent, and how long the answers took."""

    def __init__(self, arguments: argparse.Namespace) -> None:
        self._arguments = arguments
        self._where = printable(arguments.tcp or arguments.socket or "upperd")
        self._sent = 0
        self._seconds: list[float] = []
        self._last = ""
        """Why the last one was lost; empty: it was not."""

    def run(self) -> int:
        """Until COUNT, or Ctrl-C; then the summary."""
        count, began = self._arguments.count, time.monotonic()
        show(f"PING {self._where}: {len(TEXT.format(1).encode())} bytes of text, each on a connection of its own")
        try:
            with Waiter() as waiter:
                while True:
                    self._ask_once()
                    if self._sent == count:
                        break
                    # From beginning to beginning; a new size of the terminal is no reason to hurry.
                    due = began + self._sent * self._arguments.interval
                    while (left := due - time.monotonic()) > 0:
                        waiter.wait(left)
        except KeyboardInterrupt:
            show("")
        except ClientError as error:
            return fail(error.status, str(error))
        return self._sum_up(time.monotonic() - began)

    def _ask_once(self) -> None:
        self._sent += 1
        try:
            seconds, size = self._round_trip(TEXT.format(self._sent))
        except _LostError as lost:
            reason = printable(str(lost))
            if not self._arguments.is_quiet:
                show(f"seq={self._sent} lost: {'likewise' if reason == self._last else reason}")
            self._last = reason
            return
        self._seconds.append(seconds)
        self._last = ""
        if not self._arguments.is_quiet:
            show(f"{size} bytes from {self._where}: seq={self._sent} time={_milliseconds(seconds)} ms")

    def _round_trip(self, text: str) -> tuple[float, int]:
        """How long it takes, the connection included, and how long the answer is.

        Raises _LostError, or ClientError where there is no use in asking again.
        """
        arguments = self._arguments
        began = time.perf_counter()
        try:
            connection = connect(arguments.socket, arguments.tcp, arguments.timeout)
            try:
                answer = exchange(connection, text.encode(), arguments.timeout)
            finally:
                connection.close()
        except (NoDaemonError, ReplyTimeoutError, ShortReplyError) as error:
            raise _LostError(str(error)) from None
        seconds = time.perf_counter() - began
        if answer != text.upper().encode():
            raise _LostError(f"wrong answer, {answer[:40]!r}: something else than upperd listens there")
        return seconds, len(answer)

    def _sum_up(self, elapsed: float) -> int:
        came = len(self._seconds)
        lost = 100 * (self._sent - came) / max(1, self._sent)
        show(f"--- {self._where} ping statistics ---")
        show(f"{self._sent} sent, {came} answered, {lost:.3g}% loss, time {elapsed * 1000:.0f} ms")
        if not came:
            return fail(1, self._last) if self._arguments.is_quiet else 1
        mean = sum(self._seconds) / came
        deviation = math.sqrt(max(0.0, sum(seconds**2 for seconds in self._seconds) / came - mean**2))
        figures = (min(self._seconds), mean, max(self._seconds), deviation)
        show(f"round trip min/avg/max/mdev = {'/'.join(map(_milliseconds, figures))} ms")
        return 0


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:.3f}"
