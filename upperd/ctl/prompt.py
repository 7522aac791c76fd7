"""`upperctl send` on a terminal: a line in, the same in upper case out, until Ctrl-D.

Lines can be edited and come back (readline(3)). They are remembered in a file of the user's alone, but for those that
begin with a space.
"""

from __future__ import annotations

import os
import signal
import sys

from upperd.client.client import Client, ClientError
from upperd.ctl.exits import fail
from upperd.ctl.output import write_out
from upperd.ctl.terminal import Paint, has_colour

try:
    import readline
except ImportError:  # Python was built without; the terminal edits a little by itself
    readline = None  # type: ignore[assignment]

PROMPT = ">>: "
REMEMBERED = 1000
"""Lines."""


def converse(client: Client) -> int:
    """Read lines and print their answers; returns the exit status: that of the last line."""
    signal.signal(signal.SIGINT, signal.default_int_handler)
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    encoding = sys.stdin.encoding
    history = History(history_path(dict(os.environ)))
    prompt = _prompt()
    status = interrupts = 0
    while True:
        try:
            line = input(prompt)
            interrupts = 0
            history.add(line)
            write_out(client.upper_bytes(line.encode(encoding, "surrogateescape")) + b"\n")
            status = 0
        except EOFError:
            write_out(b"\n")
            return status
        except KeyboardInterrupt:
            interrupts += 1
            write_out(b"\n" if interrupts == 1 else b" (Ctrl-D ends)\n")
        except ClientError as error:
            status = fail(error.status, str(error))


def _prompt() -> str:
    if not has_colour(1):
        return PROMPT
    painted = Paint(True)(PROMPT.rstrip(), "green", "bold")
    if readline is None:
        return f"{painted} "
    # readline counts what stands between \1 and \2 as nothing (readline(3), RL_PROMPT_START_IGNORE).
    return painted.replace("\x1b[", "\1\x1b[").replace("m", "m\2") + " "


def history_path(environ: dict[str, str]) -> str:
    """The file of the lines (XDG Base Directory Specification); empty: there is no place for one."""
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if state.startswith("/"):
        return f"{state}/upperd/history"
    return f"{home}/.local/state/upperd/history" if home.startswith("/") and os.path.isdir(home) else ""


class History:
    """What was typed. Where the file cannot be read or written, lines are remembered as long as we run."""

    def __init__(self, path: str) -> None:
        """`path` empty: no file."""
        self._path = ""
        if readline is None:
            return
        readline.set_auto_history(False)
        if not hasattr(readline, "append_history_file"):
            return  # libedit in its place
        try:
            self._path = path if path and _make(path) else ""
            if self._path:
                readline.read_history_file(self._path)
                self._shorten()
        except OSError:
            self._path = ""

    def _shorten(self) -> None:
        if readline.get_current_history_length() > 2 * REMEMBERED:
            readline.set_history_length(REMEMBERED)
            readline.write_history_file(self._path)

    def add(self, line: str) -> None:
        """Remember a line, unless it is empty, begins with a space, or repeats the last."""
        length = 0 if readline is None else readline.get_current_history_length()
        if readline is None or not line.strip() or line.startswith(" "):
            return
        if length and readline.get_history_item(length) == line:
            return
        readline.add_history(line)
        if self._path:
            try:
                readline.append_history_file(1, self._path)
            except OSError:
                self._path = ""


def _make(path: str) -> bool:
    """Have the file there, for its user alone. False: it is another's, as where sudo(8) keeps HOME."""
    folder = os.path.dirname(path)
    os.makedirs(folder, 0o700, exist_ok=True)
    if os.stat(folder).st_uid != os.geteuid():
        return False
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        if os.fstat(descriptor).st_uid != os.geteuid():
            return False
        os.fchmod(descriptor, 0o600)
    finally:
        os.close(descriptor)
    return True
