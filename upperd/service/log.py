"""The log: writes entries with fields to the journal, or lines to syslog (after --daemonize) or standard error.

Logging never blocks and never raises OSError. An entry that could not be written is counted in `lost`. Under systemd
an entry goes to the journal's own socket (systemd.journal-fields(7), "Native Journal Protocol"), so that
`journalctl UPPERD_PEER_UID=1000` finds it. Only the parent logs.
"""

from __future__ import annotations

import os
import select
import socket

from upperd.base.paths import NAME, program_of
from upperd.base.text import printable

ERROR, WARNING, INFO, DEBUG = 3, 4, 6, 7
"""Levels, by the numbers of syslog(3)."""
LEVELS = {"error": ERROR, "warning": WARNING, "info": INFO, "debug": DEBUG}

JOURNAL_SOCKET = "/run/systemd/journal/socket"
SYSLOG_SOCKET = "/dev/log"
_SYSLOG_DAEMON = 3 << 3
"""The facility of system daemons (RFC 3164, 4.1.1)."""
_LINE = 4000
"""The most bytes of a line: less than PIPE_BUF, so that a pipe that is ready takes the whole line."""


class Log:
    """Writes entries: an event from the closed list in upperd(7), a sentence, and fields."""

    def __init__(self, level: str = "info", name: str = NAME, *, journal: bool = False, syslog: str = "") -> None:
        """`level`: less important entries are left out. `name`: the daemon's name, which each entry has.

        `journal`: standard error is the journal. `syslog`: the path of syslog's datagram socket; empty: none.
        """
        self._level = LEVELS[level]
        self._name, self._program = name, program_of(name)
        self._journal = _datagram_socket() if journal else None
        self._syslog_path = syslog
        self._syslog = _datagram_socket() if syslog else None
        self.lost = 0

    def set_level(self, level: str) -> None:
        """From now on leave out entries less important than `level`."""
        self._level = LEVELS[level]

    def is_on(self, level: int) -> bool:
        """Whether entries of this level are written."""
        return level <= self._level

    def write(self, level: int, event: str, text: str, /, **fields: object) -> None:
        """Log one entry. A field may have any name, even that of a parameter."""
        if level > self._level:
            return
        text = printable(text)
        shown = {name: printable(str(value)) for name, value in fields.items()}
        try:
            # If the journal is full or gone, the entry becomes a line on standard error.
            if self._journal is None or not self._send(self._journal, level, event, text, shown):
                self._write_line(level, f"{event}: {text}" + "".join(f" {name}={shown[name]}" for name in shown))
        except OSError:
            self.lost += 1

    def close(self, timeout: float = 1.0) -> bool:
        """Close the log. Wait at most `timeout` seconds until the journal has read all entries; returns whether it has.

        The journal finds the sender's unit in /proc when it reads an entry, so the sender must still exist then. The
        wait relies on the kernel: a socket is writable only if unread entries take less than a quarter of its buffer
        (socket(7), SO_SNDBUF), and a single entry takes more than that of the smallest buffer.
        """
        if self._journal is None:
            return True
        self._journal.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1)
        is_taken = _is_writable(self._journal.fileno(), timeout)
        self._journal.close()
        return is_taken

    @property
    def _sender(self) -> bytes:
        """The sender in syslog's format: upperd[4711], or upperd@shout[4711]."""
        return f"{self._name}[{os.getpid()}]".encode()

    def _send(self, journal: socket.socket, level: int, event: str, text: str, fields: dict[str, str]) -> bool:
        entry = [f"MESSAGE={text}", f"PRIORITY={level}", f"SYSLOG_IDENTIFIER={self._program}"]
        entry += [f"UPPERD_EVENT={event}", f"UPPERD_NAME={self._name}"]
        entry += [f"UPPERD_{name.upper()}={value}" for name, value in fields.items()]
        try:
            journal.sendto("\n".join((*entry, "")).encode("utf-8", "replace"), JOURNAL_SOCKET)
        except OSError:
            return False
        return True

    def _write_line(self, level: int, line: str) -> None:
        """Write a line to syslog, else to standard error. Raises OSError."""
        data = line.encode("utf-8", "replace")
        if self._syslog is not None:
            # By path each time, since a restarted syslogd has a new socket.
            header = b"<%d>%b: " % (_SYSLOG_DAEMON | level, self._sender)
            self._syslog.sendto((header + data)[:_LINE], self._syslog_path)
        elif _is_writable(2):
            # Under systemd a line on standard error begins with its level (sd-daemon(3)).
            header = b"<%d>" % level if self._journal is not None else b"%b " % self._sender
            os.write(2, (header + data)[:_LINE] + b"\n")
        else:
            self.lost += 1


def _datagram_socket() -> socket.socket:
    return socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)


def _is_writable(descriptor: int, timeout: float = 0.0) -> bool:
    """Whether `descriptor` takes a write within `timeout` seconds: a terminal may be stopped, or a pipe full."""
    poll = select.poll()
    poll.register(descriptor, select.POLLOUT)
    try:
        return any(event & select.POLLOUT for _, event in poll.poll(timeout * 1000))
    except OSError:  # a sandbox refuses poll(2): write all the same, or the reason of our end is lost
        return True
