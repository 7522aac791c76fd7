"""`upperctl send`: have words, a file or standard input upper-cased.

What every start of it imports is little: see main.py.
"""

from __future__ import annotations

import os

from upperd.client.client import Client
from upperd.client.finding import ClientError, ShortReplyError
from upperd.ctl.output import fail, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse


def run(arguments: argparse.Namespace) -> int:
    """Send the text, and print the answer as it comes; returns the exit status."""
    if arguments.text and arguments.file is not None:
        return fail(os.EX_USAGE, "give either TEXT or --file, not both")
    if arguments.text:
        return send_words(arguments.text, arguments.socket, arguments.tcp)
    name = "-" if arguments.file is None else arguments.file
    if name == "-" and not arguments.has_input:
        return fail(os.EX_NOINPUT, "standard input is closed, and there is neither TEXT nor --file")
    try:
        if arguments.file is None and os.isatty(0) and os.isatty(1):
            from upperd.ctl.prompt import converse

            with Client(arguments.socket, tcp=arguments.tcp, timeout=None) as client:
                return converse(client)
        from upperd.client.finding import connect
        from upperd.ctl.transfer import transfer_shown

        source = 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC)
        transfer_shown(connect(arguments.socket, arguments.tcp), source)
    except ClientError as error:
        return fail(error.status, str(error))
    except OSError as error:
        return fail(os.EX_NOINPUT, f"cannot read {'the text' if name == '-' else name}: {error.strerror}")
    return 0


def send_words(words: list[str], socket: str | None, tcp: str | None) -> int:
    """Send the words as one line, and print the answer; returns the exit status."""
    try:
        with Client(socket, tcp=tcp, timeout=None) as client:
            text = os.fsencode(" ".join(words))
            try:
                answer = client.ask_once(text)
            except ShortReplyError:
                if not _may_repeat(socket, tcp):
                    raise
                answer = client.ask_once(text)
    except ClientError as error:
        return fail(error.status, str(error))
    write_out(answer + b"\n")
    return 0


def _may_repeat(socket: str | None, tcp: str | None) -> bool:
    """Whether it does no harm to send the text a second time: upperd's own handler is known to serve it."""
    if tcp is not None:
        return False
    from upperd.ctl import view

    snapshot = view.find(socket).snapshot
    return snapshot is not None and not snapshot.handler
