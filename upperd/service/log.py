"""The log: to the journal with fields, else in lines, to syslog after --daemonize, else to standard error.

The law: saying something never blocks the daemon and never fails it. What could not be said is counted in `lost`.
Under systemd an entry goes to the journal's own socket (systemd.journal-fields(7), "Native Journal Protocol"), so that
`journalctl UPPERD_PEER_UID=1000` finds it. Only the parent logs.
"""

from __future__ import annotations

import os
import select
import socket

from upperd.base.text import printable

ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7
"""Levels, by the numbers of syslog(3)."""
LEVELS = {"error": ERROR, "warning": WARNING, "info": INFO, "debug": DEBUG}

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKET = "/dev/log"
_SYSLOG_DAEMON = 3 << 3
"""The facility of system daemons (RFC 3164, 4.1.1)."""
_CLOSE_SECONDS = 1.0
"""How long the end of a process waits for a journal that does not read."""
_LINE = 4000
"""Bytes of a line at most: below PIPE_BUF, so that a pipe that is ready takes it whole."""


class Log:
    """Writes entries: an event from the closed list in upperd(7), a sentence, and fields."""

    def __init__(self, level: str = "info", *, journal: bool = False, syslog: str = "") -> None:
        """Entries less important than `level` are left out. `journal`: standard error is the journal.

        `syslog`: the path of a datagram socket that takes all entries.
        """
        self._level = LEVELS[level]
        self._journal = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) if journal else None
        if self._journal is not None:
            self._journal.setblocking(False)
        self._syslog_path = syslog
        self._syslog = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) if syslog else None
        self.lost = 0

    def set_level(self, level: str) -> None:
        """From now on leave out what is less important than `level`."""
        self._level = LEVELS[level]

    def is_on(self, level: int) -> bool:
        """Whether entries of this level are written."""
        return level <= self._level

    def write(self, level: int, event: str, text: str, **fields: object) -> None:
        """Log one entry."""
        if level > self._level:
            return
        if self._syslog is not None:
            self._send_to_syslog(self._syslog, _SYSLOG_DAEMON | level, _line(event, text, fields))
        elif not self._send_to_journal(level, event, text, fields):
            self._write_line(level, _line(event, text, fields))

    def close(self, timeout: float = _CLOSE_SECONDS) -> bool:
        """Write no more. Wait until the journal has taken what it was sent, at most `timeout` seconds: whether it has.

        It looks up the unit of who sent an entry when it reads it, in /proc: who has ended meanwhile had none. The
        kernel counts an entry to its sender until it is read, and calls a socket writable whose entries take less than
        a quarter of its buffer (socket(7), SO_SNDBUF). Of the smallest buffer an entry of 400 bytes takes more, as
        that of a connection's end does.
        """
        if self._journal is None:
            return True
        self._journal.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        is_taken = _is_writable(self._journal.fileno(), timeout)
        self._journal.close()
        return is_taken

    def _send_to_journal(self, level: int, event: str, text: str, fields: dict[str, object]) -> bool:
        if self._journal is None:
            return False
        entry = [f"MESSAGE={printable(text)}", f"PRIORITY={level}", f"UPPERD_EVENT={event}"]
        entry.append("SYSLOG_IDENTIFIER=upperd")
        entry += [f"UPPERD_{name.upper()}={printable(str(value))}" for name, value in fields.items()]
        try:
            self._journal.sendto("\n".join((*entry, "")).encode("utf-8", "replace"), JOURNAL_SOCKET)
        except OSError:
            return False  # the journal is full or gone: the line on standard error is the second way
        return True

    def _send_to_syslog(self, syslog: socket.socket, priority: int, line: str) -> None:
        # By its path each time: a new syslogd has a new socket there.
        message = f"<{priority}>upperd[{os.getpid()}]: {line}".encode("utf-8", "replace")[:_LINE]
        try:
            syslog.sendto(message, self._syslog_path)
        except OSError:
            self.lost += 1

    def _write_line(self, level: int, shown: str) -> None:
        # Under systemd: the prefix that standard error is read with (sd-daemon(3)).
        prefix = f"<{level}>" if self._journal is not None else f"upperd[{os.getpid()}] "
        line = f"{prefix}{shown}".encode("utf-8", "replace")[:_LINE] + b"\n"
        try:
            if not _is_writable(2):
                self.lost += 1
            else:
                os.write(2, line)
        except OSError:
            self.lost += 1


def _line(event: str, text: str, fields: dict[str, object]) -> str:
    shown = "".join(f" {name}={printable(str(value))}" for name, value in fields.items())
    return f"{event}: {printable(text)}{shown}"


def _is_writable(descriptor: int, timeout: float = 0.0) -> bool:
    """Whether a write would not block, within `timeout` seconds: a terminal may be stopped, a pipe full."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    return any(event & select.POLLOUT for _, event in poll.poll(timeout * 1000))
