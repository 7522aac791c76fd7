"""What the host has to give a daemon, and what is said where it does not."""

from __future__ import annotations

import errno
import resource

from upperd.server.failure import explain
from upperd.service.listeners import StartError

FEWEST_DESCRIPTORS = 64
MOST_DESCRIPTORS = 2**17
"""More than the largest max_children and max_queue take. Where the kernel has no close_range(2), or a sandbox refuses
it, each child tries to close every number below the limit, which may be a billion of them."""


class RefusedError(StartError):
    """The system has refused what no daemon can do without."""

    status = 71

    def __init__(self, error: OSError | MemoryError | ImportError) -> None:
        super().__init__(f"cannot go on: {explain(error)}", getattr(error, "errno", None) or errno.ENOMEM)


def raise_descriptor_limit() -> int:
    """Have as many descriptors as we may: each child takes one, each connection in the parent another.

    Returns how many a child may have; 0: it cannot be limited. Raises StartError: they are too few.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = min(hard, MOST_DESCRIPTORS)
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        # Less than ours: the kernel counts descriptors under way for a user, and refuses those beyond this limit.
        ours, of_a_child = wanted, wanted // 2
    except (OSError, ValueError):  # a sandbox refuses it
        ours, of_a_child = soft, 0
    if ours < FEWEST_DESCRIPTORS:
        what = f"only {ours} descriptors may be open, {FEWEST_DESCRIPTORS} are needed"
        raise StartError(f"{what}: raise LimitNOFILE= (ulimit -Hn)", errno.EMFILE)
    return of_a_child
