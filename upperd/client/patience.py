"""How long a client waits, and how often it tries again; and when it says what it waits for."""

from __future__ import annotations

from time import monotonic

from upperd.client.finding import ShortReplyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.client.finding import ClientError

NOTICE_SECONDS = 2.0
"""A wait that takes longer is worth a word."""
MOST_SHORT = 5
"""Answers that end short, one after the other: a daemon that is restarted gives one, one that is killed a few."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0


class Patience:
    """Counts from the last progress on: `renew` says that there was some."""

    def __init__(self, timeout: float | None, restart: float = 0.0, tell: Callable[[], object] | None = None) -> None:
        """`timeout`: seconds to wait for an answer; None: any time. `restart`: for a daemon that is not there.

        `tell` is called where a wait takes longer than NOTICE_SECONDS.
        """
        self._timeout, self._tell = timeout, tell
        self._restart = restart if timeout is None else min(timeout, restart)
        self.renew()

    def renew(self) -> None:
        """There was progress."""
        self._since = monotonic()
        self._is_told = False
        self._short = 0
        self._next_pause = 0.0

    def left(self) -> float | None:
        """The seconds that the next wait may take, before `spend` must be asked; None: no limit."""
        ends = [] if self._timeout is None else [self._timeout]
        if self._tell is not None and not self._is_told:
            ends.append(NOTICE_SECONDS)
        return max(0.001, min(ends) - (monotonic() - self._since)) if ends else None

    def spend(self, error: ClientError) -> None:
        """A wait has brought nothing. Raises `error` where the time is over."""
        waited = monotonic() - self._since
        if self._timeout is not None and waited >= self._timeout:
            raise error
        if self._tell is not None and waited >= NOTICE_SECONDS and not self._is_told:
            self._is_told = True
            self._tell()

    def pause(self, error: ClientError) -> None:
        """Wait before the next try, longer each time. Raises `error` where there were enough."""
        self._short += isinstance(error, ShortReplyError)
        if self._short > MOST_SHORT or monotonic() - self._since >= self._restart:
            raise error
        self.spend(error)
        if self._next_pause:
            import select  # a daemon that was restarted is there at the first try, as a rule

            select.select([], [], [], self._next_pause)
        self._next_pause = min(max(FIRST_PAUSE, 2 * self._next_pause), LONGEST_PAUSE)
