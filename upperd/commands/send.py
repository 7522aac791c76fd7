"""`upperctl send`: have words, a file or standard input upper-cased."""

from __future__ import annotations

import argparse
import os

from upperd.client import ClientError, Stream, connect
from upperd.commands.exits import EX_NOINPUT, EX_USAGE, fail
from upperd.commands.output import write_out


def add_arguments(parser: argparse.ArgumentParser) -> None:
    """The options of this command."""
    parser.add_argument("text", nargs="*", metavar="TEXT", help="the text; with none, standard input is sent")
    parser.add_argument("--file", metavar="FILE", help="send this file")


def run(arguments: argparse.Namespace) -> int:
    """Send the text, and print the answer as it comes; returns the exit status."""
    if arguments.text and arguments.file is not None:
        return fail(EX_USAGE, "give either TEXT or --file, not both")
    if not (arguments.text or arguments.file is not None or arguments.has_input):
        return fail(EX_NOINPUT, "standard input is closed, and there is neither TEXT nor --file")
    try:
        source = _source(arguments)
    except OSError as error:
        return fail(EX_NOINPUT, f"{arguments.file}: {error.strerror}")
    try:
        with connect(arguments.socket, arguments.tcp) as connection:
            Stream(connection, source, write_out).run()
    except ClientError as error:
        return fail(error.status, str(error))
    except OSError as error:
        return fail(EX_NOINPUT, f"cannot read the text: {error.strerror}")
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
