"""The layout of the scoreboard, version 1: what stands where, for who writes it (scoreboard.py) and who reads it.

Every number is an unsigned 64-bit word in the byte order of the host; times are microseconds of CLOCK_MONOTONIC.

    offset 0      the header: words in the order of HEADER_FIELDS
    offset 1024   text in UTF-8, lines ending in a newline, then zeros: the version, then one line for each listener
    offset 4096   the state column: one word a slot (see `cell`)
    offset 36864  the slots: 32 words each, in the order of SLOT_FIELDS, then zeros

The states stand in a column of their own so that "how many children wait on listener 2" and "how many serve uid 1000"
are quickly counted, by the parent and by a child that has just taken a connection alike.
"""

from __future__ import annotations

import sys

MAGIC = int.from_bytes(b"UPPERD\x00\x01", "little")
SLOTS = 4096
"""The ceiling of `max_children`: slots in every scoreboard."""

TEXT = 1024
STATES = 4096
TABLE = STATES + SLOTS * 8
WORDS_A_SLOT = 32
SIZE = TABLE + SLOTS * WORDS_A_SLOT * 8

UNKNOWN = 2**64 - 1
"""Stands for a peer's uid, gid or pid that cannot be known (TCP)."""

UNKNOWN_CODE = 2**32
"""What stands for UNKNOWN in the state column, where a uid is 1 more than itself."""

# State of a slot: the lowest byte of its word in the column.
FREE = 0
BUSY = 1
"""The child serves a connection, passes it up, or is on its way out."""
WAITING = 2
"""WAITING + n: the child waits in accept() on listener n."""
LISTENERS = 0x7F
"""The ceiling of listeners, so that WAITING + n is a byte."""
USER_SHIFT = 16
"""How far to the left the user stands in a word of the column."""


AT_REST = SLOTS + 1
"""`poke_below` while the parent sleeps with nothing to do: every connection taken wakes it, and every refusal."""


def cell(state: int, uid: int | None = None) -> int:
    """A word of the state column: the state, and above it whom a busy child serves: the uid + 1; 0: nobody."""
    return state if uid is None else state | (UNKNOWN_CODE if uid == UNKNOWN else uid + 1) << USER_SHIFT


STATE_BYTES, USER_BYTES = (slice(byte if sys.byteorder == "little" else 7 - byte, None, 8) for byte in (0, 2))
"""In the bytes of the column: the states, and of whom each child serves the lowest byte (0: of nobody, too)."""

SLOT_FIELDS = (
    "pid",
    "generation",
    "listener",
    "started_usec",
    "peer_uid",
    "peer_gid",
    "peer_pid",
    "connections",
    "messages",
    "bytes_in",
    "bytes_out",
    "undecodable",
    "refused",
    "refused_access",
    "refused_user",
    "refused_rate",
    "ended_idle",
    "ended_lifetime",
    "ended_bytes",
    "ended_access",
    "connected_usec",
    "active_usec",
    "outcome",
    "claimed_nsec",
    "rules",
    "idle_limit_usec",
    "expires_usec",
    "unanswered",
    "unanswered_size",
    "unanswered_full",
)
(
    PID, GENERATION, LISTENER, STARTED, PEER_UID, PEER_GID, PEER_PID, CONNECTIONS,
    MESSAGES, BYTES_IN, BYTES_OUT, UNDECODABLE, REFUSED, REFUSED_ACCESS, REFUSED_USER, REFUSED_RATE,
    ENDED_IDLE, ENDED_LIFETIME, ENDED_BYTES, ENDED_ACCESS, CONNECTED, ACTIVE, OUTCOME, CLAIMED, RULES,
    IDLE_LIMIT, EXPIRES, UNANSWERED, UNANSWERED_SIZE, UNANSWERED_FULL,
) = range(len(SLOT_FIELDS))  # fmt: skip

TOTALS = SLOT_FIELDS[CONNECTIONS:CONNECTED] + SLOT_FIELDS[UNANSWERED:]
"""What is counted for each child and in all."""

OUTCOMES = (
    "", "done", "quiet", "cut", "reset", "refused", "failed", "passed", "idle", "lifetime", "bytes", "denied",
    "unanswered",
)  # fmt: skip
"""How a child's last connection ended, by the number in `outcome`:

done: at the client's end of file; quiet: by us, while draining, in a quiet moment; cut: by us at the drain deadline;
reset: by the client, before it had read everything; refused: by `verify_request`; failed: the handler raised;
passed: it came from another user and was handed to the parent; idle, lifetime, bytes: by us, at that limit;
denied: by us, since a reload no longer allows the peer; unanswered: it was a datagram to which no answer could be sent.
Empty: none has ended yet.
"""
(
    NONE, DONE, QUIET, CUT, RESET, REFUSED_OUTCOME, FAILED, PASSED, IDLE, LIFETIME, BYTES, DENIED, NOT_ANSWERED,
) = range(len(OUTCOMES))  # fmt: skip
COUNTED = {IDLE: ENDED_IDLE, LIFETIME: ENDED_LIFETIME, BYTES: ENDED_BYTES, DENIED: ENDED_ACCESS}
"""The outcomes that are counted in a field of the slot: those that the daemon's limits and rules are the cause of."""

PHASES = ("starting", "ready", "draining", "stopped")
STARTING, READY, DRAINING, STOPPED = range(len(PHASES))

HEADER_FIELDS = (
    "magic",
    "pid",
    "pid_started",  # field 22 of /proc/PID/stat: with the pid it names one process for ever
    "phase",
    "started_usec",
    "started_unix_usec",
    "slots",
    "max_children",
    "spare_children",
    "connections_per_child",
    "drain_timeout_usec",
    "max_children_per_user",
    "idle_timeout_usec",
    "max_lifetime_usec",
    "max_bytes",
    "listeners",
    "poke_below",
    "guarded",
    "rules",
    "penalised",
    "denied_uid",
    "forked",
    "ended",
    "crashed",
    "cut",
    "killed",
    "overdue",
    "fork_failures",
    "passed",
    "records_lost",
    # Totals of the children that have ended. Those of the living are added by the reader (snapshot.py).
    *TOTALS,
)
DOOR, LIMITS, CROWD, TURNS = 1, 2, 4, 8
"""Bits of `guarded`: somebody may not come in; a connection has limits; a user may have so many children at most; users
take turns, so that a child ends after one connection."""
HEADER = {name: index for index, name in enumerate(HEADER_FIELDS)}
SUMMED = tuple((SLOT_FIELDS.index(name), HEADER[name]) for name in TOTALS)
"""What is added to the totals when a child ends: (field of its slot, field of the header)."""
