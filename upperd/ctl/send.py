"""`upperctl send`: have words, a file or standard input upper-cased.

What every start of it imports is little: see ctl.py.
"""

from __future__ import annotations

import os

from upperd.client.client import Client, ClientError
from upperd.ctl.output import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse

    from upperd.ctl.progress import Line


EXAMPLES = """\
examples:
  upperctl send hello, world          the words, as one line
  upperctl send                       on a terminal: a prompt, until Ctrl-D
  upperctl send --file README.md > README.upper
  tail -f log | upperctl send         each line at once, as it comes
  upperctl send -- --help             what begins with a dash goes after --"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.epilog = EXAMPLES
    parser.add_argument("text", nargs="*", metavar="TEXT", help="the text; with none, standard input is sent")
    parser.add_argument("--file", metavar="FILE", help="send this file (-: standard input)")


def run(arguments: argparse.Namespace) -> int:
    """Send the text, and print the answer as it comes; returns the exit status."""
    from upperd.ctl.exits import EX_NOINPUT, EX_USAGE, fail

    if arguments.text and arguments.file is not None:
        return fail(EX_USAGE, "give either TEXT or --file, not both")
    if arguments.text:
        return send_words(arguments.text, arguments.socket, arguments.tcp)
    name = "-" if arguments.file is None else arguments.file
    if name == "-" and not arguments.has_input:
        return fail(EX_NOINPUT, "standard input is closed, and there is neither TEXT nor --file")
    if arguments.file is None and os.isatty(0) and os.isatty(1):
        return _converse(arguments.socket, arguments.tcp)
    try:
        return _send_stream(name, arguments.socket, arguments.tcp)
    except ClientError as error:
        return fail(error.status, str(error))
    except OSError as error:
        return fail(EX_NOINPUT, f"cannot read {'the text' if name == '-' else name}: {error.strerror}")


def send_words(words: list[str], socket: str | None, tcp: str | None) -> int:
    """Send the words as one line, and print the answer; returns the exit status."""
    try:
        client = Client(socket, tcp=tcp, timeout=None)
        answer = client.upper_bytes(os.fsencode(" ".join(words)))
    except ClientError as error:
        from upperd.ctl.exits import fail

        return fail(error.status, str(error))
    client.close()
    write_out(answer + b"\n")
    return 0


def _converse(socket: str | None, tcp: str | None) -> int:
    from upperd.ctl.exits import fail

    try:
        client = Client(socket, tcp=tcp, timeout=None)
    except ClientError as error:
        return fail(error.status, str(error))
    from upperd.ctl.prompt import converse

    with client:
        return converse(client)


def _send_stream(name: str, socket: str | None, tcp: str | None) -> int:
    """Send a file, or standard input (-). Raises ClientError, OSError of the file."""
    import signal

    from upperd.client.finding import connect
    from upperd.ctl.transfer import Transfer

    source = 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
    line = _progress_line(source)
    connection = connect(socket, tcp)
    if line is None:
        Transfer(connection, source, write_out).run()
        return 0
    # The line has to be ended first.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    is_whole = False
    try:
        Transfer(connection, source, write_out, line.show).run()
        is_whole = True
    finally:
        line.end(is_whole)
    return 0


def _progress_line(source: int) -> Line | None:
    """Where nobody would see it, there is none."""
    if not os.isatty(2):
        return None
    from upperd.ctl import progress

    return progress.Line(progress.size_of(source)) if progress.is_wanted(source) else None
