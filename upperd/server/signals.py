"""The signals of the parent and its children: what they mean, and how a child never runs a handler of its parent's.

Signals, as a child takes them:

    SIGTERM  drain: accept no more; a connection that is being served goes on as the server's `quiesce_request` says
    SIGUSR1  cut: the drain deadline is over; the server's `cut_request` ends the connection
    SIGUSR2  retire: accept no more; the connection that is being served goes on to its own end, if its peer may still
             come in
    SIGALRM  the timer of the connection is over: the server's `limit_request` (only where the handler is shared)
    SIGIO    the parent is gone: end (the default action; see link.py)
    SIGINT, SIGHUP  ignored: what a terminal sends to all is for the parent to act on
"""

from __future__ import annotations

import signal
from functools import partial
from signal import set_wakeup_fd

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from types import FrameType
    from typing import Any, Protocol

    class Child(Protocol):
        """What is needed of child.py."""

        handling: tuple[object, ...]

        def on_signal(self, signum: int, frame: FrameType | None = None) -> None: ...

DRAIN = signal.SIGTERM
CUT = signal.SIGUSR1
RETIRE = signal.SIGUSR2
TIMER = signal.SIGALRM
_HANDLED = (DRAIN, CUT, RETIRE, signal.SIGINT, signal.SIGHUP)
_SHARED = (*_HANDLED, TIMER)
"""Those of a handler that parent and children share."""
_DEFAULT = (signal.SIGCHLD, signal.SIGIO)
"""Where the first is ignored nobody can be reaped (wait(2)); the second is to end a child (link.py)."""


class Signals:
    """The signals of a process around its forks, so that a child never runs a handler of its parent's.

    They are blocked in the thread that forks; the child installs its own handlers before it lets them through.
    """

    def __init__(self) -> None:
        self._mask: set[int | signal.Signals] = set()

    def __enter__(self) -> Signals:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())
        return self

    def __exit__(self, *error: object) -> None:
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)

    def settle(self, child: Child) -> None:
        """In the child: its handlers stand, signals may come."""
        set_wakeup_fd(-1)
        for number in _HANDLED:
            signal.signal(number, child.on_signal)
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)


class SharedSignals(Signals):
    """The same for a program whose only handler is this one, installed once: each process has it do something else.

    So there is nothing to block, and a child has nothing to install, which saves it some sixty page faults. In the
    parent it only leaves a note, and is a function of C: one of Python is interrupted by the next signal before its
    first line, so signals that come fast enough would pile up until the stack is full.
    """

    def __init__(self) -> None:
        """Install the handler. Main thread only."""
        super().__init__()
        self._came: dict[int, object] = {}
        note = self._came.__setitem__
        self._leave_note: tuple[object, ...] = (note, (), {}, None)
        handler: Any = partial(note)
        self._hand_over: Callable[[tuple[object, ...]], None] = handler.__setstate__
        self._hand_over(self._leave_note)  # all that it is made of is kept here: a child frees none of it
        for number in _SHARED:
            signal.signal(number, handler)
        # Whoever started us may have left them otherwise (exec(2) hands down what is ignored or blocked).
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def anew(self) -> SharedSignals:
        """The same, made of objects that lie where there is room now, beside what else a child writes to."""
        new = SharedSignals()
        for number in self.take():  # nothing comes here any more
            new._came[number] = None
        return new

    def take(self) -> list[int]:
        """In the parent: the signals that came since the last call, each once."""
        numbers = [*self._came]
        for number in numbers:
            del self._came[number]
        return numbers

    def note(self, number: signal.Signals) -> None:
        """Have the parent take this one, too; at it a child does nothing."""
        handler: Any = self._hand_over
        signal.signal(number, handler.__self__)

    @staticmethod
    def block() -> None:
        """The end has come: the interpreter takes the handler away, and what came then would be its cause of death."""
        signal.pthread_sigmask(signal.SIG_BLOCK, _SHARED)

    def forget_child(self) -> None:
        """After a rehearsal in the parent: there is no child. (A real one would have it to free: twenty pages.)"""
        self._hand_over(self._leave_note)

    def __enter__(self) -> SharedSignals:
        return self

    def __exit__(self, *error: object) -> None:
        pass

    def settle(self, child: Child) -> None:
        """In the child: say whose signals they are."""
        # Not self._hand_over(): Python would look for a method, in vain, and write down that it did.
        hand_over = self._hand_over
        hand_over(child.handling)
        # Or a signal of ours would be written where the parent's wake-up pipe was: to a client, perhaps.
        set_wakeup_fd(-1)
