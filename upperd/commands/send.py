"""`upperctl send`: have words, a file or standard input upper-cased.

What every start of it imports is little: see ctl.py.
"""

from __future__ import annotations

import os

from upperd.client import Client, ClientError
from upperd.commands.output import write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("text", nargs="*", metavar="TEXT", help="the text; with none, standard input is sent")
    parser.add_argument("--file", metavar="FILE", help="send this file")


def run(arguments: argparse.Namespace) -> int:
    """Send the text, and print the answer as it comes; returns the exit status."""
    from upperd.commands.exits import EX_NOINPUT, EX_USAGE, fail

    if arguments.text and arguments.file is not None:
        return fail(EX_USAGE, "give either TEXT or --file, not both")
    if arguments.text:
        return send_words(arguments.text, arguments.socket, arguments.tcp)
    if arguments.file is None and not arguments.has_input:
        return fail(EX_NOINPUT, "standard input is closed, and there is neither TEXT nor --file")
    return _send_stream(arguments)


def send_words(words: list[str], socket: str | None, tcp: str | None) -> int:
    """Send the words as one line, and print the answer; returns the exit status."""
    try:
        client = Client(socket, tcp=tcp, timeout=None)
        answer = client.upper_bytes(os.fsencode(" ".join(words)))
    except ClientError as error:
        from upperd.commands.exits import fail

        return fail(error.status, str(error))
    client.close()
    write_out(answer + b"\n")
    return 0


def _send_stream(arguments: argparse.Namespace) -> int:
    from upperd.commands.exits import EX_NOINPUT, fail
    from upperd.finding import connect
    from upperd.transfer import Transfer

    try:
        source = 0 if arguments.file is None else os.open(arguments.file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        return fail(EX_NOINPUT, f"{arguments.file}: {error.strerror}")
    try:
        connection = connect(arguments.socket, arguments.tcp)
        Transfer(connection, source, write_out).run()
    except ClientError as error:
        return fail(error.status, str(error))
    except OSError as error:
        return fail(EX_NOINPUT, f"cannot read the text: {error.strerror}")
    return 0
