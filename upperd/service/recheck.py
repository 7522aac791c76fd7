"""The options, read and checked anew for a daemon that runs: what a reload starts as a process of its own.

    python3 -I -S .../upperd/service/recheck.py PATH IMPORT_PATH ARGUMENT ...

PATH is the import path as lean.py gets it, and IMPORT_PATH where the handler's modules are found besides (empty: no
handler is named); then follows the launcher's command line. What it took to parse and check
ends with this process, and so does whatever a bad file may do to it. SIGALRM ends it where the file cannot be read in
time.

Standard output has our version, the settings that a reload takes over, and those that take a restart, as words of
settings.py with a zero between two, and two zeros between the three parts. Else it has the reason, and the exit status
is the launcher's for it.
"""

from __future__ import annotations

import os
import signal
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

SECONDS = 10
"""For a file on a slow disk; a reload is not to be under way for ever."""
LONGEST_REASON = 2000
"""Characters: a reason may quote the file, and the parent reads once, when we have ended (pipe(7), capacity)."""


def main() -> NoReturn:
    """Print the settings, or what is wrong with them; ends with the exit status."""
    signal.alarm(SECONDS)
    answer = os.dup(1)
    os.dup2(2, 1)  # what the module of a handler prints is not of the answer
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    from upperd import __version__
    from upperd.service import cli
    from upperd.service.cli import parse
    from upperd.service.options import OPTIONS, OptionError
    from upperd.service.settings import word

    status, said = 0, ""
    try:
        options = cli.read_options(parse(sys.argv[3:]))
        cli.check_handler(options, sys.argv[2])
        reloadable = [word(x.name, getattr(options, x.name)) for x in OPTIONS if x.reload]
        fixed = [word(x.name, getattr(options, x.name)) for x in OPTIONS if not x.reload]
        said = "\0\0".join((__version__, "\0".join(reloadable), "\0".join(fixed)))
    except OptionError as error:
        status, said = error.status, str(error)[:LONGEST_REASON]
    try:
        os.write(answer, said.encode("utf-8", "surrogateescape"))  # whatever bytes a path may have
    except BrokenPipeError:
        pass  # the daemon is gone
    os._exit(status)  # whatever threads the module of a handler has started


if __name__ == "__main__":
    main()
