"""Raises the limit of descriptors, and defines the error for what the system refuses to a daemon."""

from __future__ import annotations

import errno
import resource

from upperd.server.failure import explain
from upperd.service.listeners import StartError

FEWEST_DESCRIPTORS = 64
MOST_DESCRIPTORS = 2**17
"""More than the largest max_children and max_queue take. If the kernel has no close_range(2), or a sandbox refuses it,
each child tries to close every number below the limit, and the host may allow a billion."""


class RefusedError(StartError):
    """The system refuses something that the daemon needs."""

    status = 71

    def __init__(self, error: OSError | MemoryError | ImportError) -> None:
        super().__init__(f"cannot go on: {explain(error)}", getattr(error, "errno", None) or errno.ENOMEM)


def raise_descriptor_limit() -> int:
    """Raise our limit of descriptors (RLIMIT_NOFILE): the parent needs one for each child and each queued connection.

    Returns the limit for a child; 0: it cannot be set. Raises StartError if our limit is too low.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MOST_DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        # Half for a child: the kernel counts descriptors in flight by user, so it stops a child before us (unix(7)).
        ours, of_a_child = wanted, wanted // 2
    except (OSError, ValueError):  # a sandbox refuses it
        ours, of_a_child = soft, 0
    if ours < FEWEST_DESCRIPTORS:
        what = f"only {ours} descriptors may be open, {FEWEST_DESCRIPTORS} are needed"
        raise StartError(f"{what}: raise LimitNOFILE= (ulimit -Hn)", errno.EMFILE)
    return of_a_child
