"""`upperctl send` on a terminal: reads a line and prints it in upper case, until Ctrl-D.

Lines can be edited and recalled (readline(3)). The history is kept in a file that only the user can read; lines that
begin with a space are not kept.
"""

from __future__ import annotations

import locale
import os
import readline
import signal
import sys
from contextlib import suppress

from upperd.client.finding import ClientError
from upperd.ctl.output import Paint, has_colour, write_out

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.client.client import Client
    from upperd.ctl.send import Target

PROMPT = ">>: "
REMEMBERED = 1000
"""Lines of history."""
LOOK = 0.2
"""Seconds between two looks for Ctrl-C."""
RESTART_SECONDS = 1.0
"""How long a line waits for an absent daemon. That is short, since the line can be recalled and sent again."""


def converse(target: Target) -> int:
    """Read lines and print their answers; return the exit status of the last line. Raises ClientError."""
    with target.client(RESTART_SECONDS) as client:
        return _converse(client, target)


def _converse(client: Client, target: Target) -> int:
    signal.signal(signal.SIGINT, signal.default_int_handler)
    with suppress(locale.Error):  # under LC_ALL=C readline neither shows nor remembers characters beyond ASCII
        if locale.setlocale(locale.LC_CTYPE) in ("C", "POSIX"):
            os.environ["LC_ALL"] = locale.setlocale(locale.LC_CTYPE, "C.UTF-8")  # readline uses both
    sys.stdin.reconfigure(errors="surrogateescape")  # type: ignore[union-attr]
    history = _open_history(dict(os.environ))
    prompt = PROMPT
    if has_colour(1):
        # readline ignores text between \1 and \2 when it measures the prompt (readline(3), RL_PROMPT_START_IGNORE).
        prompt = Paint(True)(">>:", "green", "bold").replace("\x1b[", "\1\x1b[").replace("m", "m\2") + " "
    status = interrupts = 0
    while True:
        try:
            line = _read_line(prompt)
            interrupts = 0
            _remember(line, history)
            write_out(client.upper_bytes(line.encode(sys.stdin.encoding, "surrogateescape")) + b"\n")
            status = 0
        except EOFError:
            write_out(b"\n")
            return status
        except KeyboardInterrupt:
            interrupts += 1
            write_out(b"\n" if interrupts == 1 else b" (Ctrl-D ends)\n")
        except ClientError as error:
            status = target.fail(error)


def _read_line(prompt: str) -> str:
    """As input(), but always notices Ctrl-C.

    Python waits for a key in select(2). It would notice a Ctrl-C just before that wait only at the next key, so an
    alarm interrupts the wait every LOOK seconds.
    """
    signal.signal(signal.SIGALRM, lambda number, frame: None)
    signal.setitimer(signal.ITIMER_REAL, LOOK, LOOK)
    try:
        return input(prompt)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)


def _open_history(environ: dict[str, str]) -> str:
    """Load the history; return its file (XDG Base Directory Specification).

    Empty if there is no place for the file, or its folder is another user's, as under a sudo(8) that keeps HOME. The
    history then lasts until we exit.
    """
    readline.set_auto_history(False)
    if not hasattr(readline, "append_history_file"):  # libedit
        return ""
    state, home = environ.get("XDG_STATE_HOME", ""), environ.get("HOME", "")
    if not state.startswith("/"):
        if not (home.startswith("/") and os.path.isdir(home)):
            return ""
        state = f"{home}/.local/state"
    path = f"{state}/upperd/history"
    try:
        os.makedirs(os.path.dirname(path), 0o700, exist_ok=True)
        if os.stat(os.path.dirname(path)).st_uid != os.geteuid():
            return ""
        with open(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)) as file:
            os.fchmod(file.fileno(), 0o600)
        readline.read_history_file(path)
        if readline.get_current_history_length() > 2 * REMEMBERED:
            readline.set_history_length(REMEMBERED)
            readline.write_history_file(path)
    except OSError:
        return ""
    return path


def _remember(line: str, path: str) -> None:
    """Add a line to the history, unless it is empty, begins with a space, or repeats the last."""
    length = readline.get_current_history_length()
    if not line.strip() or line.startswith(" ") or (length and readline.get_history_item(length) == line):
        return
    with suppress(OSError, UnicodeEncodeError):  # the locale may lack a character
        readline.add_history(line)
        if path:
            readline.append_history_file(1, path)
