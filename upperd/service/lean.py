"""The front door of the lean parent. The launcher (cli.py) execs this very file:

    python3 -s -P -S .../upperd/lean.py PATH NAME=VALUE ...

No user's site, no `.pth` file decides what is in the process, and nothing is imported but what is named. Nor does an
environment variable: it is `-I` in all but PYTHONMALLOC, which the launcher sets when it has removed every variable of
Python's (packing.py says what for). Two things are done here before the daemon is imported, and nowhere else:

- the import path is what the launcher says in PATH (our package, and where sdnotify is);
- `threading` registers no hook to be run after a fork. socketserver imports it, its hook puts right the locks and the
  list of threads in every child, which costs each some hundred page faults, and a process that never has a second
  thread (a test holds it to that) has nothing to be put right.
"""

from __future__ import annotations

import gc
import os
import sys


def _import_without_fork_hooks() -> None:
    register = os.register_at_fork
    os.register_at_fork = lambda **hooks: None
    try:
        import socketserver  # noqa: F401
    finally:
        os.register_at_fork = register


def main() -> int:
    """Be the daemon; returns its exit status."""
    gc.disable()  # warmup.py does it for good: until then there is nothing to be found, only time to be lost
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    _import_without_fork_hooks()
    from upperd.service import daemon

    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
