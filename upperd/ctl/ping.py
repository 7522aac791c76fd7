"""`upperctl ping`: how long a text takes there and back, as ping(8) tells it of a host; and the check of health.

Each round trip has a connection of its own, as most clients have: so it also takes a child that is free.
"""

from __future__ import annotations

import argparse
import statistics
import time

from upperd.base.text import printable
from upperd.client.client import exchange
from upperd.client.finding import ClientError, NoDaemonError, ReplyTimeoutError, ShortReplyError, connect
from upperd.ctl.output import fail, pause, show

TEXT = "upperd ping \N{LATIN SMALL LETTER SHARP S} {}\n"
"""With a letter that only Unicode's rules know: an echo, or tr(1), is not taken for upperd."""


def run(arguments: argparse.Namespace) -> int:
    """Ask again and again, until COUNT or Ctrl-C; returns the exit status: 0, it answered; 1, never."""
    where = printable(arguments.tcp or arguments.socket or "upperd")
    show(f"PING {where}: {len(TEXT.format(1).encode())} bytes of text, each on a connection of its own")
    began, sent, times, last = time.monotonic(), 0, list[float](), ""
    try:
        while sent != arguments.count:
            # From beginning to beginning.
            pause(began + sent * arguments.interval - time.monotonic())
            sent += 1
            text, start = TEXT.format(sent), time.perf_counter()
            if reason := _ask(arguments, text):
                said, last = f"seq={sent} lost: {'likewise' if reason == last else reason}", reason
            else:
                times.append((time.perf_counter() - start) * 1000)
                length = len(text.upper().encode())
                said, last = f"{length} bytes from {where}: seq={sent} time={times[-1]:.3f} ms", ""
            if not arguments.is_quiet:
                show(said)
    except KeyboardInterrupt:
        show("")
    except ClientError as error:
        return fail(error.status, str(error))
    lost, elapsed = 100 * (sent - len(times)) / max(1, sent), (time.monotonic() - began) * 1000
    show(f"--- {where} ping statistics ---")
    show(f"{sent} sent, {len(times)} answered, {lost:.3g}% loss, time {elapsed:.0f} ms")
    if not times:
        return fail(1, last) if arguments.is_quiet else 1
    figures = (min(times), statistics.fmean(times), max(times), statistics.pstdev(times))
    show(f"round trip min/avg/max/mdev = {'/'.join(f'{figure:.3f}' for figure in figures)} ms")
    return 0


def _ask(arguments: argparse.Namespace, text: str) -> str:
    """Why there was no right answer; empty: there was. Raises ClientError where there is no use in asking again."""
    try:
        connection = connect(arguments.socket, arguments.tcp, arguments.timeout)
        try:
            answer = exchange(connection, text.encode(), arguments.timeout)
        finally:
            connection.close()
    except (NoDaemonError, ReplyTimeoutError, ShortReplyError) as error:
        return printable(str(error))
    if answer != text.upper().encode():
        return printable(f"wrong answer, {answer[:40]!r}: something else than upperd listens there")
    return ""
