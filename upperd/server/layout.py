"""The layout of the scoreboard, version 3, for its writers (scoreboard.py, row.py) and its readers.

Every number is an unsigned 64-bit word in the byte order of the host; times are microseconds of CLOCK_MONOTONIC.

    offset 0       the header: words in the order of HEADER_FIELDS
    offset 768     a note in UTF-8, then zeros: what is wrong with the daemon at this moment
    offset 1024    text in UTF-8, then zeros: lines that say the version, the daemon's name, its handler (empty:
                   upperd's own), each listener, and each counter of the handler
    offset 4096    the places, 128 bytes for each slot, which the parent writes: words in the order of PLACE_FIELDS,
                   then zeros; where the pid is 0 the slot is free
    offset 528384  the rows, a page of 4096 bytes for each slot, which its child writes: words in the order of
                   ROW_FIELDS, then zeros; at offset 2048 of the page text in ASCII, then a zero: the exception that
                   ended the child

A row is a page of its own because a child maps its own row only, so it can falsify its own figures only.
"""

from __future__ import annotations

from enum import IntEnum
from time import monotonic_ns

MAGIC = int.from_bytes(b"UPPERD\x00\x03", "little")
SLOTS = 4096
"""The ceiling of `max_children`."""
COUNTERS = 8
"""The most counters that a handler may have."""

DEFAULT_NAME = "upperd"

NOTE = 768
TEXT = 1024
PLACES = 4096
PLACE_SIZE = 128
ROWS = PLACES + SLOTS * PLACE_SIZE
ROW_SIZE = 4096
FAILURE = 2048
"""The offset of the text in a row."""
SIZE = ROWS + SLOTS * ROW_SIZE

UNKNOWN = 2**64 - 1
"""An unknown uid, gid or pid of a peer; also the mask with which a counter wraps."""

PLACE_FIELDS = (
    "pid", "generation", "started_usec", "listener", "peer_uid", "peer_gid", "peer_pid",
    "handed", "connected_usec", "ending",
)  # fmt: skip
"""pid and generation together identify one child for ever. `handed`: connections that the child has received;
`ending`: why the parent ends the last one, as an Outcome."""
PID, GENERATION, STARTED, LISTENER, PEER_UID, PEER_GID, PEER_PID, HANDED, CONNECTED, ENDING = range(len(PLACE_FIELDS))

ROW_FIELDS = (
    "tell", "finished", "active_usec", "outcome", "connections", "messages", "bytes_in", "bytes_out", "ended_bytes",
    "unanswered", "unanswered_size", "unanswered_full", *(f"counter_{number}" for number in range(COUNTERS)),
)  # fmt: skip
"""`tell`, the only one that the parent writes: whether the child reports when it has finished a connection.
`connections`: those that the child has begun; `finished`: those that it has finished."""
(
    TELL, FINISHED, ACTIVE, OUTCOME, CONNECTIONS, MESSAGES, BYTES_IN, BYTES_OUT, ENDED_BYTES,
    UNANSWERED, UNANSWERED_SIZE, UNANSWERED_FULL, FIRST_COUNTER,
) = range(len(ROW_FIELDS) - COUNTERS + 1)  # fmt: skip

SUMMED_FIELDS = ROW_FIELDS[ROW_FIELDS.index("connections") :]


class Outcome(IntEnum):
    """How a child's last connection ended."""

    NONE = 0
    DONE = 1  # the handler returned, usually at the client's end of file
    RESET = 2  # the client went away before it had read everything
    FAILED = 3  # the handler raised
    BYTES = 4  # the client sent more than max_bytes
    UNANSWERED = 5  # a datagram to which no answer could be sent
    QUIET = 6  # ended by a drain, when the client was quiet
    CUT = 7  # ended at the deadline of a drain
    IDLE = 8  # ended at the idle limit
    LIFETIME = 9  # ended at the limit of lifetime
    DENIED = 10  # ended because a reload no longer allows the peer


OUTCOMES = tuple("" if outcome is Outcome.NONE else outcome.name.lower() for outcome in Outcome)

PHASES = ("starting", "ready", "draining", "stopped")
STARTING, READY, DRAINING, STOPPED = range(len(PHASES))

SETTINGS = (
    "max_children", "max_children_per_user", "max_queue", "spare_children", "connections_per_child",
    "drain_timeout_usec", "idle_timeout_usec", "max_lifetime_usec", "max_bytes",
)  # fmt: skip
HEADER_FIELDS = (
    "magic", "pid", "pid_started", "phase", "started_usec", "started_unix_usec", "slots", "listeners", *SETTINGS,
    "denied_uid", "queued", "queued_users", "waited", "forked", "ended", "crashed", "cut", "killed", "overdue",
    "stopped", "handed_again", "lost", "fork_failures", "records_lost",
    "refused", "refused_access", "refused_user", "refused_rate", "ended_idle", "ended_lifetime", "ended_access",
    *SUMMED_FIELDS, "drain_end_usec",
)  # fmt: skip
"""`pid_started` is field 22 of /proc/PID/stat: with the pid it identifies one process for ever. SUMMED_FIELDS are
totals of the children that have ended; the reader adds the living ones (snapshot.py)."""
HEADER = {name: index for index, name in enumerate(HEADER_FIELDS)}
SUMMED = tuple((ROW_FIELDS.index(name), HEADER[name]) for name in SUMMED_FIELDS)
"""What is added to the totals when a child ends: (field of its row, field of the header)."""
CHILD_FIELDS = PLACE_FIELDS + ROW_FIELDS
"""The fields of a child, as a reader sees it."""
RESERVED = frozenset(CHILD_FIELDS + HEADER_FIELDS) | {
    *("slot", "waiting", "version", "name", "handler", "running", "busy", "spare", "children", "now_usec"),
    *("event", "text", "child_pid", "duration_usec", "exit", "exception", "maxrss_kb", "user_usec", "system_usec"),
    *("rss_bytes", "pss_bytes", "reaped_user_usec", "reaped_system_usec"),
}
"""Names that a handler's counter cannot have: fields of the scoreboard, of records and of `upperctl stats`."""
LONGEST_COUNTER = 64
"""Letters in the name of a counter."""


def now_usec() -> int:
    """The time of every time field: microseconds of CLOCK_MONOTONIC."""
    return monotonic_ns() // 1000
