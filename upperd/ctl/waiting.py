"""Explains why there is no answer, as far as a client can know: to a waiting user, or in an error."""

from __future__ import annotations

import os
import select

from upperd.client.finding import AccessError, ClientError, ReplyTimeoutError, connect
from upperd.ctl import summary, view
from upperd.ctl.output import say

PROBE_SECONDS = 1.0
_REFUSALS = {
    "refused_access": AccessError("the rules of the daemon refuse uid {uid}: ask its administrator (upperd.toml(5))"),
    "refused_user": ReplyTimeoutError("uid {uid} has as many connections as one user may have: try again later"),
    "refused_rate": ReplyTimeoutError("uid {uid} connects more often than one user may: try again later"),
}


def tell(path: str | None, tcp: str | None) -> None:
    """Say on standard error that upperctl waits, and why."""
    say(f"waiting for an answer: {reason(path, tcp)}; Ctrl-C ends")


def reason(path: str | None, tcp: str | None) -> str:
    """Why a daemon that accepts connections does not answer."""
    more = "'upperctl status' shows more"
    daemon = None if tcp is not None else view.find(path)
    if daemon is None or daemon.snapshot is None or daemon.state != view.RUNNING:
        return f"the daemon is at its limit, or being restarted{'' if tcp is not None else f'; {more}'}"
    if draining := summary.drain_text(daemon):
        return draining
    if daemon.snapshot.busy >= daemon.header["max_children"]:
        return f"every child is busy, {daemon.header['queued']} wait; {more}"
    return f"the daemon is at its limit for one user, or its handler is slow; {more}"


def is_draining(path: str | None) -> bool:
    """Whether the daemon is known to drain before it exits, and so accepts no new connection."""
    return bool(summary.drain_text(view.find(path)))


def refusal(path: str | None, tcp: str | None) -> ClientError | None:
    """The error for a connection that the daemon closed without an answer because it refuses us; None: it does not.

    This opens a connection and sends nothing: the daemon closes a refused connection at once and keeps one it serves.
    The scoreboard, if it can be read, tells the reason.
    """
    before = None if tcp is not None else view.find(path).snapshot
    if before is not None and before.handler and before.header["denied_uid"] != os.geteuid():
        return None  # with a handler that is not upperd's, try another connection only if the daemon seems to refuse it
    try:
        connection = connect(path, tcp, PROBE_SECONDS)
    except ClientError:
        return None
    try:
        poll = select.poll()
        poll.register(connection, select.POLLIN)
        if not poll.poll(PROBE_SECONDS * 1000):
            return None
    finally:
        connection.close()
    after = None if tcp is not None else view.find(path).snapshot
    if before is None or after is None or before.header["pid"] != after.header["pid"]:
        return AccessError(
            f"the connection was closed at once: the daemon refuses uid {os.geteuid()}, by a rule or a limit; "
            "only its administrator and its group can see which"
        )
    for field, error in _REFUSALS.items():
        if after.header[field] > before.header[field]:
            return type(error)(str(error).format(uid=os.geteuid()))
    return None
