"""Reads and checks the options again for a running daemon: the part of a reload that needs a process of its own.

`check` runs in a process that the parent has forked: what it imports, and any harm that a bad file does, end with it.
That process does not exec. An exec would let the parent's children, which have the same uid, write to its memory
(privacy.py), and so change the rules.

The handler must be imported by a new interpreter, which has not loaded its old code. That interpreter runs this file:

    python3 -I -S .../upperd/service/recheck.py PATH NAME=VALUE ...

PATH is the import path, as for lean.py; the other words are settings. Standard output says what is wrong, and the exit
status is the launcher's for that error. The interpreter only says whether the handler is valid: it yields no settings.

SIGALRM ends either process if it cannot read a file, or import a module, in time.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import NoReturn

    from upperd.service.options import Options

SECONDS = 10
"""The time limit of a check, so that no reload takes for ever: enough for a file on a slow disk."""
LONGEST_REASON = 2000
"""Characters: a reason may quote the file, but must fit into the pipe, which is read after we exit (pipe(7))."""
EX_SOFTWARE = 70


def check(arguments: Sequence[str], library_path: str, import_path: str) -> tuple[int, str]:
    """Read the options of a command line of the launcher; return 0 and the settings, or an exit status and the reason.

    The settings are three parts: our version, the settings that a reload applies, and those that need a restart. They
    are words of settings.py, with a zero byte between two words and two between the parts. The paths are those of
    Settings.
    """
    signal.alarm(SECONDS)
    from upperd import __version__
    from upperd.service import cli, flags, unit
    from upperd.service.options import OPTIONS, OptionError
    from upperd.service.settings import word
    from upperd.service.subuids import read_ranges

    try:
        options = cli.read_options(flags.parse(list(arguments)))
        unit.refuse_forbidden(options)
    except OptionError as error:
        return error.status, str(error)[:LONGEST_REASON]
    if options.handler and (found := _check_handler(options, library_path, import_path))[0]:
        return found
    reloadable = [word(x.name, getattr(options, x.name)) for x in OPTIONS if x.reload]
    reloadable.append(word("subordinate_uids", read_ranges()[0]))
    fixed = [word(x.name, getattr(options, x.name)) for x in OPTIONS if not x.reload]
    return 0, "\0\0".join((__version__, "\0".join(reloadable), "\0".join(fixed)))


def _check_handler(options: Options, library_path: str, import_path: str) -> tuple[int, str]:
    """Import the handler in a new interpreter; return 0, or the exit status and the reason."""
    from upperd.service.settings import Settings

    said = Settings(handler=options.handler, python_path=options.python_path, import_path=import_path)
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__), library_path, *said.words()]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(writing, b"\n")  # so the read returns, even if a process that the module left holds the pipe
    reason = os.read(reading, 4 * LONGEST_REASON).decode("utf-8", "surrogateescape").strip()
    if status < 0:
        return EX_SOFTWARE, f"handler {options.handler}: its import was ended by signal {-status}: does it block?"
    return status, reason or f"handler {options.handler}: its import ended the process with exit status {status}"


def main() -> NoReturn:
    """Import the handler, and print what is wrong with it. Exits with the launcher's status for that."""
    signal.alarm(SECONDS - 1)  # before SIGALRM ends the process that waits for us
    answer = os.dup(1)
    os.dup2(2, 1)  # what the handler's module prints is no part of the answer
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    from upperd.service import settings
    from upperd.service.loading import HandlerError, Handlers

    said = settings.parse(sys.argv[2:])
    try:
        Handlers(said, said.import_path)
        status = 0
    except HandlerError as error:
        status = error.status
        os.write(answer, str(error)[:LONGEST_REASON].encode("utf-8", "surrogateescape"))
    os._exit(status)  # at once, even if the handler's module has started threads


if __name__ == "__main__":
    main()
