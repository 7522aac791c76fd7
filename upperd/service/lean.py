"""The entry point of the lean parent. The launcher (cli.py) execs this file:

    python3 -I -S .../upperd/service/lean.py PATH NAME=VALUE ... -- ARGUMENT ...

Besides the standard library, this file imports only from PATH: the folders of our package and of sdnotify. It keeps
`threading`, which socketserver imports, from registering its fork hook. After each fork that hook repairs the locks and
the list of threads, which costs each child some 300 KiB. Our process never has a second thread (a test checks that), so
it has nothing to repair.
"""

from __future__ import annotations

import os
import sys

EX_OSERR = 71


def import_without_fork_hooks() -> None:
    """Import socketserver, and so threading, without any fork hook."""
    register = os.register_at_fork
    os.register_at_fork = lambda **hooks: None
    try:
        import socketserver  # noqa: F401
    finally:
        os.register_at_fork = register


def main() -> int:
    """Run the daemon; returns its exit status."""
    sys.path[:0] = sys.argv[1].split(os.pathsep)
    try:
        import_without_fork_hooks()
        from upperd.service import daemon
    except (OSError, ImportError) as error:  # no descriptor is left, or a sandbox forbids reading
        os.write(2, f"upperd: cannot start: {getattr(error, 'strerror', None) or error}\n".encode())
        return EX_OSERR
    return daemon.main(sys.argv[2:])


if __name__ == "__main__":
    sys.exit(main())
