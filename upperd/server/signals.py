"""The signals of the parent and its children, and how a child never runs a handler of its parent's.

As a child takes them:

    SIGTERM          end the connection: nothing more is read from its client than the kernel has taken by now
    SIGINT, SIGHUP   ignored: what a terminal sends to all is for the parent to act on
"""

from __future__ import annotations

import _signal  # type: ignore[import-not-found]  # typeshed does not know it
import os
import signal
from functools import partial

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

END = signal.SIGTERM
# Around a fork not those of `signal`: they turn numbers into enums and back, some hundred pages for a child to copy.
_set_handler, _get_handler, _set_mask = _signal.signal, _signal.getsignal, _signal.pthread_sigmask
_BLOCK, _SET = int(signal.SIG_BLOCK), int(signal.SIG_SETMASK)
_DEFAULT, _IGNORE = int(signal.SIG_DFL), int(signal.SIG_IGN)
_END, _CHLD = int(END), int(signal.SIGCHLD)
_IGNORED = int(signal.SIGINT), int(signal.SIGHUP)
_ALL = tuple(map(int, signal.valid_signals()))


class Blocked:
    """No signal is delivered in this thread: around a fork, so that a child has its own handlers before one comes."""

    def __init__(self) -> None:
        self._mask: set[int] = set()

    def __enter__(self) -> Blocked:
        self._mask = _set_mask(_BLOCK, ())
        try:
            _set_mask(_BLOCK, _ALL)
        except BaseException:  # of a handler, of a signal that came just before: it comes out when all are blocked
            _set_mask(_SET, self._mask)
            raise
        return self

    def __exit__(self, *error: object) -> None:
        _set_mask(_SET, self._mask)

    def become_child(self, end: Callable[..., object]) -> None:
        """In a child: `end` is called at each SIGTERM; from now on signals may come."""
        _signal.set_wakeup_fd(-1)  # it would be written to what is the parent's
        _set_handler(_END, end)
        for number in _IGNORED:
            _set_handler(number, _IGNORE)
        _set_handler(_CHLD, _DEFAULT)
        self._mask.discard(_END)
        _set_mask(_SET, self._mask)
        self._end = end

    @property
    def are_changed(self) -> bool:
        """In a child: whether something has changed how we take them since `become_child`."""
        return bool(_get_handler(_END) != self._end or _set_mask(_BLOCK, ()) != self._mask)


class Notes:
    """The signals that came, each once, for a loop to act on.

    The handler is a function of C. One of Python is interrupted by the next signal before its first line, so signals
    that come fast enough would pile up until the stack is full.
    """

    def __init__(self, *numbers: signal.Signals) -> None:
        """Take these from now on. Main thread only."""
        self._came: dict[int, object] = {}
        self._numbers = numbers
        note = partial(self._came.__setitem__)
        for number in numbers:
            signal.signal(number, note)
        # What the program that started us ignored or blocked stays so over exec(2).
        signal.signal(signal.SIGCHLD, note if signal.SIGCHLD in numbers else signal.SIG_DFL)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())

    def take(self) -> list[int]:
        """Those that came since the last call."""
        numbers = [*self._came]
        for number in numbers:
            del self._came[number]
        return numbers

    @staticmethod
    def wake(watch: Callable[[int, Callable[[], object]], object], act: Callable[[], object]) -> None:
        """Have a signal wake a loop, which then calls `act`; `watch(descriptor, callback)` is the loop's."""
        reading, writing = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
        os.write(writing, b"\0")  # where that is refused no signal would wake the loop, and nothing end us

        def woken() -> None:
            os.read(reading, 512)  # not needed: the handler has left its note
            act()

        watch(reading, woken)

    def block(self) -> None:
        """Take none any more: when the interpreter ends it takes our handler away, and dies of the next one."""
        signal.pthread_sigmask(signal.SIG_BLOCK, self._numbers)
