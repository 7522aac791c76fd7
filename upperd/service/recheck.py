"""The options, read and checked anew for a daemon that runs: what a reload starts as a process of its own.

    python3 -I -S .../upperd/recheck.py PATH ARGUMENTS

PATH is the import path as lean.py gets it, ARGUMENTS the launcher's command line as one word. What it took to parse and
check ends with this process, and so does whatever a bad file may do to it. Standard output has our version and the
settings, a line each, and the exit status is 0; else it has the reason, and the exit status is the launcher's for it.
SIGALRM ends it where the file cannot be read in time.
"""

from __future__ import annotations

import os
import signal
import sys

SECONDS = 10
"""For a file on a slow disk; a reload is not to be under way for ever."""
LONGEST_REASON = 2000
"""Characters: a reason may quote the file, and the parent reads once, when we have ended (pipe(7), capacity)."""


def main() -> int:
    """Print the settings, or what is wrong with them; returns the exit status."""
    signal.alarm(SECONDS)
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    import shlex

    from upperd import __version__
    from upperd.service import cli, options

    try:
        settings = cli.make_settings(cli.read_options(cli.parse(shlex.split(sys.argv[2]))))
    except options.OptionError as error:
        _say(str(error)[:LONGEST_REASON])
        return cli.status_of(error)
    _say("\n".join((__version__, *settings.words())))
    return 0


def _say(text: str) -> None:
    """Say it in whatever bytes a path may have; where the daemon is gone, nobody wants to know."""
    try:
        os.write(1, text.encode("utf-8", "surrogateescape") + b"\n")
    except BrokenPipeError:
        pass


if __name__ == "__main__":
    sys.exit(main())
