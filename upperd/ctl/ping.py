"""`upperctl ping`: measures round trips to the daemon, as ping(8) does to a host; also the health check.

Each round trip has its own connection, as with most clients, so its time includes getting a free child.
"""

from __future__ import annotations

import argparse
import statistics
import time

from upperd.base.text import printable
from upperd.client.client import exchange
from upperd.client.finding import AccessError, ClientError, NoDaemonError, ReplyTimeoutError, ShortReplyError, connect
from upperd.client.patience import Patience
from upperd.ctl.output import fail, pause, show
from upperd.ctl.send import Target

TEXT = "upperd ping \N{LATIN SMALL LETTER SHARP S} {}\n"
"""Contains a letter that only Unicode's rules upper-case, so an echo service or tr(1) is not taken for upperd."""


def run(arguments: argparse.Namespace) -> int:
    """Ask until COUNT or Ctrl-C; return the exit status: 0 if there was an answer, 1 if there was none.

    After Ctrl-C, raises KeyboardInterrupt once the summary is printed.
    """
    target = Target(arguments.socket, arguments.tcp, arguments.timeout)
    where = printable(arguments.tcp or arguments.socket or "upperd")
    show(f"PING {where}: {len(TEXT.format(1).encode())} bytes of text, each on a connection of its own")
    began, sent, times, last, is_interrupted = time.monotonic(), 0, list[float](), "", False
    try:
        while sent != arguments.count:
            # The interval counts from start to start, and does not drift.
            pause(began + sent * arguments.interval - time.monotonic())
            sent += 1
            text, start = TEXT.format(sent), time.perf_counter()
            if reason := _ask(target, text):
                said, last = f"seq={sent} lost: {'same reason' if reason == last else reason}", reason
            else:
                times.append((time.perf_counter() - start) * 1000)
                length = len(text.upper().encode())
                said, last = f"{length} bytes from {where}: seq={sent} time={times[-1]:.3f} ms", ""
            if not arguments.is_quiet:
                show(said)
    except KeyboardInterrupt:
        is_interrupted = True
        show("")
    except ClientError as error:
        return fail(error.status, str(error))
    lost, elapsed = 100 * (sent - len(times)) / max(1, sent), (time.monotonic() - began) * 1000
    show(f"--- {where} ping statistics ---")
    show(f"{sent} sent, {len(times)} answered, {lost:.3g}% loss, time {elapsed:.0f} ms")
    if times:
        figures = (min(times), statistics.fmean(times), max(times), statistics.pstdev(times))
        show(f"round trip min/avg/max/mdev = {'/'.join(f'{figure:.3f}' for figure in figures)} ms")
    elif arguments.is_quiet and last:
        fail(1, last)
    if is_interrupted:
        raise KeyboardInterrupt
    return 0 if times else 1


def _ask(target: Target, text: str) -> str:
    """Ask once: return why there was no right answer, empty if there was. Raises ClientError if retrying is no use."""
    try:
        connection = connect(target.socket, target.tcp, target.timeout)
        target.say_fallback(connection)
        try:
            answer = exchange(connection, text.encode(), Patience(target.timeout))
        finally:
            connection.close()
    except (NoDaemonError, ReplyTimeoutError, ShortReplyError) as error:
        explained = target.explain(error)
        if isinstance(explained, AccessError):
            raise explained from None
        return printable(str(explained))
    if answer != text.upper().encode():
        return printable(f"wrong answer, {answer[:40]!r}: another program or handler answers there")
    return ""
