"""`upperctl send`: sends words, a file or standard input to the daemon and prints the answer.

It imports little when it starts: see main.py.
"""

from __future__ import annotations

import os

from upperd.client.client import Client
from upperd.client.finding import ClientError, NoDaemonError, ReplyTimeoutError, ShortReplyError, is_fallback
from upperd.ctl.output import fail, say, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable

    from upperd.client.finding import Connection


class Target:
    """The daemon's address, and how long an answer may take."""

    def __init__(self, socket: str | None, tcp: str | None = None, timeout: float | None = None) -> None:
        self.socket, self.tcp, self.timeout = socket, tcp, timeout
        self._has_said = False

    def client(self, restart: float | None = None) -> Client:
        """A Client of the client library, connected to the target. `restart`: see Client."""
        more = {} if restart is None else {"restart": restart}
        made = Client(self.socket, tcp=self.tcp, timeout=self.timeout, tell=self.teller(), **more)
        self.say_fallback(made.connection)
        return made

    def say_fallback(self, connection: Connection | None) -> None:
        """Say once that the text goes to the default TCP address, if the connection fell back to it."""
        if is_fallback(connection, self.socket, self.tcp) and not self._has_said:
            self._has_said = True
            from upperd.base.paths import FALLBACK_TCP

            say(f"no daemon on its socket: using {FALLBACK_TCP} (--tcp {FALLBACK_TCP} hides this message)")

    def teller(self) -> Callable[[], object] | None:
        """A function that says why there is no answer yet; None if standard error is not a terminal."""

        def tell() -> None:
            from upperd.ctl import waiting

            waiting.tell(self.socket, self.tcp)

        return tell if os.isatty(2) else None

    def may_repeat(self) -> bool:
        """Whether text may safely be sent again: upperd's own handler is known to serve there."""
        if self.tcp is not None:
            return False
        from upperd.ctl import view

        return view.find(self.socket).handler == ""

    def explain(self, error: ClientError) -> ClientError:
        """The error with its cause, if the cause is known."""
        if isinstance(error, ReplyTimeoutError) and self.timeout is not None:
            from upperd.ctl import waiting

            return ReplyTimeoutError(f"no answer in {self.timeout:g} s: {waiting.reason(self.socket, self.tcp)}")
        if isinstance(error, ShortReplyError) and not error.has_answer:
            from upperd.ctl import waiting

            return waiting.refusal(self.socket, self.tcp) or error
        if isinstance(error, NoDaemonError) and self.tcp is None:
            from upperd.ctl import waiting

            if waiting.is_draining(self.socket):
                return ReplyTimeoutError(f"no new connection: {waiting.reason(self.socket, None)}")
        return error

    def fail(self, error: ClientError) -> int:
        """Say why there was no answer; return the exit status."""
        error = self.explain(error)
        return fail(error.status, str(error))


def run(arguments: argparse.Namespace) -> int:
    """Send the text and print the answer as it arrives; return the exit status."""
    target = Target(arguments.socket, arguments.tcp, arguments.timeout)
    if arguments.text and arguments.file is not None:
        return fail(os.EX_USAGE, "give either TEXT or --file, not both")
    if arguments.text not in ([], ["-"]):
        return send_words(arguments.text, target)
    name = "-" if arguments.file is None else arguments.file
    if name == "-" and not arguments.has_input:
        return fail(os.EX_NOINPUT, "standard input is closed: give TEXT or --file")
    try:
        if arguments.file is None and not arguments.text and os.isatty(0) and os.isatty(1):
            from upperd.ctl.prompt import converse

            return converse(target)
        from upperd.ctl.transfer import transfer_shown

        transfer_shown(target, 0 if name == "-" else os.open(name, os.O_RDONLY | os.O_CLOEXEC))
    except ClientError as error:
        return target.fail(error)
    except OSError as error:
        return fail(os.EX_NOINPUT, f"cannot read {'standard input' if name == '-' else name}: {error.strerror}")
    return 0


def send_words(words: list[str], target: Target) -> int:
    """Send the words as one line and print the answer; return the exit status."""
    try:
        with target.client() as client:
            text = os.fsencode(" ".join(words))
            try:
                answer = client.ask_once(text)
            except ShortReplyError:
                if not target.may_repeat():
                    raise
                answer = client.upper_bytes(text)
    except ClientError as error:
        return target.fail(error)
    write_out(answer + b"\n")
    return 0
