"""The options, read and checked anew for a daemon that runs: what a reload does in a process of its own.

`check` runs in a process that the parent has forked: what it imports and reads ends with it, and so does whatever a bad
file may do to it. It is not started anew by exec, for an exec would let the parent's children, which have the same uid,
write into its memory (privacy.py) and so change the rules.

A handler has to be imported by a new interpreter, to which its old code is unknown. That one runs this very file:

    python3 -I -S .../upperd/service/recheck.py PATH NAME=VALUE ...

PATH is the import path as lean.py gets it, and the words are settings. Standard output has what is wrong, and the exit
status is the launcher's for it. It says yes or no, and nothing else is taken from it.

SIGALRM ends each of them where a file cannot be read, or a module not be imported, in time.
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
"""For a file on a slow disk; a reload is not to be under way for ever."""
LONGEST_REASON = 2000
"""Characters: a reason may quote the file, and the parent reads once, when we have ended (pipe(7), capacity)."""
EX_SOFTWARE = 70


def check(arguments: Sequence[str], library_path: str, import_path: str) -> tuple[int, str]:
    """Read the options of this command line of the launcher: 0 and the settings, or an exit status and the reason.

    The settings are our version, those that a reload takes over, and those that take a restart, as words of settings.py
    with a zero between two, and two zeros between the three parts. The paths are those
    of Settings.
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
    """Have a new interpreter import the handler: 0, or the exit status and the reason."""
    from upperd.service.settings import Settings

    said = Settings(handler=options.handler, python_path=options.python_path, import_path=import_path)
    command = [sys.executable, "-I", "-S", os.path.abspath(__file__), library_path, *said.words()]
    reading, writing = os.pipe2(os.O_CLOEXEC)
    pid = os.posix_spawn(command[0], command, os.environ, file_actions=[(os.POSIX_SPAWN_DUP2, writing, 1)])
    status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    os.write(writing, b"\n")  # what the module has left behind may hold the pipe, too
    reason = os.read(reading, 4 * LONGEST_REASON).decode("utf-8", "surrogateescape").strip()
    if status < 0:
        return EX_SOFTWARE, f"handler {options.handler}: its import was ended by signal {-status}: does it wait?"
    return status, reason or f"handler {options.handler}: its import ended the process with exit status {status}"


def main() -> NoReturn:
    """Import the handler; print what is wrong with it. Ends with the exit status."""
    signal.alarm(SECONDS - 1)  # before the process that waits for us is ended
    answer = os.dup(1)
    os.dup2(2, 1)  # what the module of a handler prints is not of the answer
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
    os._exit(status)  # whatever threads the module of a handler has started


if __name__ == "__main__":
    main()
