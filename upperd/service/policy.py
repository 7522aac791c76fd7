"""Who may come in and what they may take, as the settings have it: the rules, the limits, and who sees to them.

The law: what a setting means is here; how it is kept is in guard.py, limits.py, rates.py and overdue.py.
"""

from __future__ import annotations

import math

from upperd.server.layout import LIMITS
from upperd.server.limits import Allowance
from upperd.service.guard import Guard
from upperd.service.overdue import Overdue
from upperd.service.rates import Rates
from upperd.service.settings import numbers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from upperd.server.parent import Parent
    from upperd.server.scoreboard import Scoreboard
    from upperd.service.settings import Settings


class Policy:
    """The policy of one daemon, towards every peer of every listener."""

    def __init__(self, board: Scoreboard) -> None:
        self._board = board
        self.guard = Guard(board)
        self.allowance = Allowance(board.header)
        self._rates: Rates | None = None
        self._overdue: Overdue | None = None

    def see_to(self, parent: Parent, is_at_rest: Callable[[], bool]) -> None:
        """Have this parent count who comes, and end who outlasts a limit."""
        self._rates = Rates(self._board, self.guard, parent.children, is_at_rest)
        self._overdue = Overdue(self._board, parent.children)
        parent.timers += [self._rates.turn, self._overdue.turn]
        parent.accounts.append(self._rates.child_ended)

    def follow(self, settings: Settings) -> None:
        """Go by these settings. Children that wait follow the rules at once; a busy one when it is retired."""
        board = self._board
        for name in ("max_children", "max_children_per_user", "spare_children", "connections_per_child", "max_bytes"):
            board[name] = getattr(settings, name)
        for name in ("drain_timeout", "idle_timeout", "max_lifetime"):
            # Upwards: 0 would mean that there is none.
            board[f"{name}_usec"] = math.ceil(getattr(settings, name) * 1e6)
        rules = [numbers(words) for words in (settings.deny_user, settings.allow_user, settings.allow_group)]
        self.guard.set_rules(*rules)
        has_limits = settings.idle_timeout or settings.max_lifetime or settings.max_bytes
        # In one go: whoever comes at this moment must not find the door open.
        board["guarded"] = board["guarded"] & ~LIMITS | (LIMITS if has_limits else 0)
        self.guard.stand()
        self.allowance.read()
        if self._rates is not None:
            self._rates.limit(settings.max_rate_per_user)
        if self._overdue is not None:
            self._overdue.is_on = self.guard.has_private or any(rules) or bool(has_limits)
