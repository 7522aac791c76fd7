"""Standard input, output and error, where the program that started us has closed them.

The next thing that is opened would get such a number, and be taken for standard output: a lock, a client's connection.
"""

from __future__ import annotations

import os
import sys


def open_closed() -> set[int]:
    """Open /dev/null in the place of those of 0, 1 and 2 that are closed; returns their numbers."""
    closed = set()
    while (descriptor := os.open(os.devnull, os.O_RDWR)) <= 2:
        os.set_inheritable(descriptor, True)
        closed.add(descriptor)
    os.close(descriptor)
    for number, name in enumerate(("stdin", "stdout", "stderr")):
        if getattr(sys, name) is None:
            setattr(sys, name, os.fdopen(number, "w" if number else "r", closefd=False))
    return closed
