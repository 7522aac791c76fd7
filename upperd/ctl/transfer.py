"""Sends text of any length from a descriptor to standard output through the daemon, with a progress line."""

from __future__ import annotations

import signal

from upperd.client.stream import Stream
from upperd.ctl.output import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.ctl.progress import Line
    from upperd.ctl.send import Target


def transfer_shown(target: Target, source: int) -> None:
    """Transfer all text of the descriptor `source`; show the progress if standard error is a terminal.

    Raises ClientError; OSError of the source.
    """
    tell = target.teller()
    if tell is not None:  # standard error is a terminal
        from upperd.ctl import progress  # imported here: it imports rich

        if progress.is_wanted(source):
            return _transfer_with_line(target, source, progress.Line(progress.size_of(source)), tell)
    _stream(target, tell).transfer(source, write_out)


def _transfer_with_line(target: Target, source: int, line: Line, tell: Callable[[], object]) -> None:
    def tell_above() -> None:
        line.clear()
        tell()

    stream = _stream(target, tell_above)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)  # finish the progress line before we exit
    try:
        stream.transfer(source, write_out, line.show)
        line.complete()
    finally:
        line.end()


def _stream(target: Target, tell: Callable[[], object] | None) -> Stream:
    stream = Stream(target.socket, tcp=target.tcp, timeout=target.timeout, may_repeat=target.may_repeat, tell=tell)
    target.say_fallback(stream.connection)
    return stream
