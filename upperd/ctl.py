"""`upperctl`: send text to the daemon, see whether it runs and what it does.

What a command needs is imported when it runs: `send` should not wait for what `stats` needs.
"""

from __future__ import annotations

import argparse
import os
import signal
import sys

from upperd import __version__
from upperd.streams import open_closed

EX_USAGE = 64
EX_NOINPUT = 66
EX_UNAVAILABLE = 69
EX_IOERR = 74
EX_NOPERM = 77
EX_INTERRUPTED = 130


def main() -> int:
    """`upperctl`; returns its exit status (sysexits(3); of `status`, the LSB's)."""
    # As every filter: end quietly when the reader of our output has enough, or at Ctrl-C.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    closed = open_closed()
    try:
        arguments = _make_parser().parse_args()
        if 1 in closed:
            return _fail(EX_IOERR, "standard output is closed")
        arguments.has_input = 0 not in closed
        return int(arguments.run(arguments))
    except KeyboardInterrupt:
        return EX_INTERRUPTED


class _Parser(argparse.ArgumentParser):
    """argparse exits with 2 for a wrong line; a caller knows sysexits(3)."""

    def error(self, message: str) -> None:  # type: ignore[override]
        self.exit(EX_USAGE, f"{self.prog}: {message}\nTry '{self.prog} --help' or man 1 upperctl.\n")


def _make_parser() -> argparse.ArgumentParser:
    where = _Parser(add_help=False, argument_default=argparse.SUPPRESS)
    group = where.add_mutually_exclusive_group()
    group.add_argument("--socket", metavar="PATH", help="the daemon's socket")
    group.add_argument("--tcp", metavar="HOST:PORT", help="the daemon's TCP address")
    parser = _Parser(
        prog="upperctl",
        description="Have text upper-cased by upperd, and see what upperd does.",
        epilog="The manual: man 1 upperctl.",
        parents=[where],
    )
    parser.add_argument("--version", action="version", version=f"upperctl {__version__}")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)
    send = commands.add_parser("send", parents=[where], help="send text, print it in upper case")
    send.add_argument("text", nargs="*", metavar="TEXT", help="the text; with none, standard input is sent")
    send.add_argument("--file", metavar="FILE", help="send this file")
    send.set_defaults(run=_send)
    status = commands.add_parser("status", parents=[where], help="is it running? (exit status 0: yes, 3: no)")
    status.set_defaults(run=_status)
    stats = commands.add_parser("stats", parents=[where], help="what every child does, and the totals")
    stats.add_argument("--json", action="store_true", help="for programs")
    stats.set_defaults(run=_stats)
    return parser


def _fail(status: int, text: str) -> int:
    print(f"upperctl: {text}", file=sys.stderr)
    return status


def _send(arguments: argparse.Namespace) -> int:
    from upperd.client import ClientError, Stream, connect

    if arguments.text and arguments.file is not None:
        return _fail(EX_USAGE, "give either TEXT or --file, not both")
    if not (arguments.text or arguments.file is not None or arguments.has_input):
        return _fail(EX_NOINPUT, "standard input is closed, and there is neither TEXT nor --file")
    try:
        source = _source(arguments)
    except OSError as error:
        return _fail(EX_NOINPUT, f"{arguments.file}: {error.strerror}")
    try:
        with connect(getattr(arguments, "socket", None), getattr(arguments, "tcp", None)) as connection:
            Stream(connection, source, _write_out).run()
    except ClientError as error:
        return _fail(error.status, str(error))
    except OSError as error:
        return _fail(EX_NOINPUT, f"cannot read the text: {error.strerror}")
    return 0


def _source(arguments: argparse.Namespace) -> int:
    """A descriptor to read the text from."""
    if arguments.file is not None:
        return os.open(arguments.file, os.O_RDONLY | os.O_CLOEXEC)
    if not arguments.text:
        return 0
    text = os.fsencode(" ".join(arguments.text)) + b"\n"
    # A file in memory and not a pipe: a text may be longer than a pipe holds.
    descriptor = os.memfd_create("text")
    os.write(descriptor, text)
    os.lseek(descriptor, 0, os.SEEK_SET)
    return descriptor


def _show(text: str) -> None:
    _write_out(f"{text}\n".encode("utf-8", "replace"))


def _write_out(block: bytes) -> None:
    rest = memoryview(block)
    try:
        while rest:
            rest = rest[os.write(1, rest) :]
    except OSError as error:
        raise SystemExit(_fail(EX_IOERR, f"cannot write the answer: {error.strerror}")) from None


def _status(arguments: argparse.Namespace) -> int:
    from upperd import view

    sight = view.find(getattr(arguments, "socket", None))
    _show(view.status_text(sight))
    return sight.state


def _stats(arguments: argparse.Namespace) -> int:
    from upperd import view

    sight = view.find(getattr(arguments, "socket", None))
    if sight.snapshot is None:
        status = EX_NOPERM if sight.is_denied else EX_UNAVAILABLE
        return _fail(status, view.status_text(sight).partition("\n")[2])
    if arguments.json:
        import json

        _show(json.dumps(view.stats_data(sight, sight.snapshot), indent=2))
    else:
        if sight.state != view.RUNNING:
            _show(view.status_text(sight).partition("\n")[0])
        _show(view.stats_text(sight.snapshot))
    return 0


if __name__ == "__main__":
    sys.exit(main())
