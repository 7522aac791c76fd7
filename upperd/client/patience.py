"""Decides how long a client waits, how often it tries again, and when it says what it waits for."""

from __future__ import annotations

from time import monotonic

from upperd.client.finding import ShortReplyError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.client.finding import ClientError

NOTICE_SECONDS = 2.0
"""How long a wait may take before `tell` is called."""
MOST_SHORT = 5
"""Short answers in a row that a call survives: a restart of the daemon causes one, a kill causes a few."""
FIRST_PAUSE, LONGEST_PAUSE = 0.02, 1.0


class Patience:
    """Counts waiting time and tries since the last progress, which `renew` reports."""

    def __init__(self, timeout: float | None, restart: float = 0.0, tell: Callable[[], object] | None = None) -> None:
        """`timeout`: seconds to wait for an answer; None: no limit. `restart`: seconds to wait for an absent daemon.

        `tell` is called once a wait takes longer than NOTICE_SECONDS.
        """
        self._timeout, self._tell = timeout, tell
        self._restart = restart if timeout is None else min(timeout, restart)
        self.renew()

    def renew(self) -> None:
        """Note progress: all limits count from now."""
        self._since = monotonic()
        self._is_told = False
        self._short = 0
        self._next_pause = 0.0

    def left(self) -> float | None:
        """The seconds that the next wait may take before `spend` is due; None: no limit."""
        ends = [] if self._timeout is None else [self._timeout]
        if self._tell is not None and not self._is_told:
            ends.append(NOTICE_SECONDS)
        return max(0.001, min(ends) - (monotonic() - self._since)) if ends else None

    def spend(self, error: ClientError) -> None:
        """Note a wait without result. Raises `error` if the time is over."""
        waited = monotonic() - self._since
        if self._timeout is not None and waited >= self._timeout:
            raise error
        if self._tell is not None and waited >= NOTICE_SECONDS and not self._is_told:
            self._is_told = True
            self._tell()

    def pause(self, error: ClientError) -> None:
        """Wait before the next try, longer each time. Raises `error` if short answers or seconds exceed their limit."""
        self._short += isinstance(error, ShortReplyError)
        if self._short > MOST_SHORT or monotonic() - self._since >= self._restart:
            raise error
        self.spend(error)
        if self._next_pause:
            import select  # imported here: a restarted daemon usually answers the first try

            select.select([], [], [], self._next_pause)
        self._next_pause = min(max(FIRST_PAUSE, 2 * self._next_pause), LONGEST_PAUSE)
