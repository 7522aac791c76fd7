"""Tells whether the terminal that the daemon was started on is gone: without a manager, the daemon then ends.

The terminal is gone if it was closed (EIO) or its shell has exited (ENOTTY). SIGHUP comes with either. While the
terminal is there, SIGHUP asks for a reload, as usual. With --daemonize or nohup(1) the daemon has no terminal.
"""

from __future__ import annotations

import os


class Terminal:
    """The controlling terminal on our standard input or error, if there is one."""

    def __init__(self, *, is_supervised: bool) -> None:
        self._descriptor = -1 if is_supervised else next(filter(_is_ours, (0, 2)), -1)

    @property
    def is_lost(self) -> bool:
        """Whether there was a terminal, and it is gone."""
        return self._descriptor >= 0 and not _is_ours(self._descriptor)


def _is_ours(descriptor: int) -> bool:
    try:
        os.tcgetpgrp(descriptor)
    except OSError:
        return False
    return True
