"""The terminal that we were started on: a daemon that no manager supervises ends with it.

It is gone when it was closed (EIO) or its shell has ended (ENOTTY). SIGHUP comes with either, and as long as it is
there asks for a reload, as it does everywhere. With --daemonize and nohup(1) there is none.
"""

from __future__ import annotations

import os


class Terminal:
    """The controlling terminal on our standard input or error, if there is one."""

    def __init__(self, *, is_supervised: bool) -> None:
        self._descriptor = -1 if is_supervised else next(filter(_is_ours, (0, 2)), -1)

    @property
    def is_lost(self) -> bool:
        """Whether there was one, and it is gone."""
        return self._descriptor >= 0 and not _is_ours(self._descriptor)


def _is_ours(descriptor: int) -> bool:
    try:
        os.tcgetpgrp(descriptor)
    except OSError:
        return False
    return True
