"""The front door of the lean parent. The launcher (cli.py) execs this very file:

    python3 -I -S .../upperd/service/lean.py PATH NAME=VALUE ... -- ARGUMENT ...

Nothing is imported but what is named, from PATH: the folders of our package and of sdnotify. And `threading`, which
socketserver imports, registers no hook to be run after a fork: it puts right the locks and the list of threads in every
child, which costs each some 300 KiB, and a process that never has a second thread (a test holds it to that) has nothing
to be put right.
"""

from __future__ import annotations

import os
import sys

EX_OSERR = 71


def import_without_fork_hooks() -> None:
    """Import socketserver."""
    register = os.register_at_fork
    os.register_at_fork = lambda **hooks: None
    try:
        import socketserver  # noqa: F401
    finally:
        os.register_at_fork = register


def main() -> int:
    """Be the daemon; returns its exit status."""
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    try:
        import_without_fork_hooks()
        from upperd.service import daemon
    except (OSError, ImportError) as error:  # no descriptor is left, or a sandbox refuses to read
        os.write(2, f"upperd: cannot start: {getattr(error, 'strerror', None) or error}\n".encode())
        return EX_OSERR
    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
