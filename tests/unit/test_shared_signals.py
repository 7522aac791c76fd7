"""The handler that parent and children share."""

from __future__ import annotations

import subprocess
import sys

# Every function of Python that is called is interrupted by another signal, before its first line.
_SIGNALS_WITHOUT_END = """
import signal, sys
from upperd.server.signals import SharedSignals

signals = SharedSignals()
left = 5000

def interrupt(frame, event, argument):
    global left
    if event == "call" and left:
        left -= 1
        signal.raise_signal(signal.SIGTERM)

sys.setprofile(interrupt)
signal.raise_signal(signal.SIGTERM)
sys.setprofile(None)
print(signals.take(), signals.take())
"""


def test_signals_do_not_pile_up() -> None:
    """However fast signals come, no handler of the parent's interrupts another, and each number is taken once."""
    done = subprocess.run([sys.executable, "-c", _SIGNALS_WITHOUT_END], capture_output=True, text=True, timeout=60)
    assert (done.stdout, done.stderr) == ("[15] []\n", "")
