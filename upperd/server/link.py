"""The descriptors between the parent and its children.

- `poke`: an eventfd. A child adds to it when the parent should look at the scoreboard (a spare was taken), and so does
  whatever wants the parent's loop to turn.
- the lifeline: a pipe into which nobody writes. Only the parent holds its writing end, so the kernel closes it when the
  parent ends, however it ends, and sends SIGIO to the process group of the children, whose default action ends them.
- `passing`: a pair of datagram sockets. A child that has accepted a connection of another user sends it up.
- `null`: /dev/null, which a child puts in the place of its listener to stop accepting.
"""

from __future__ import annotations

import os
import socket
import sys
from fcntl import F_SETFL, F_SETOWN, fcntl
from os import eventfd_read, eventfd_write, getpid, getppid, killpg, setpgid

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

_INT = 4


class Link:
    """One parent's link to all of its children; made by the parent before the first fork."""

    def __init__(self, *, is_rehearsal: bool = False) -> None:
        """`is_rehearsal`: the parent itself plays the child, and must stay in its own process group."""
        self.poke_descriptor = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self.lifeline, self._lifeline_end = os.pipe2(os.O_CLOEXEC)
        fcntl(self.lifeline, F_SETFL, os.O_NONBLOCK | os.O_ASYNC)
        self._is_rehearsal = is_rehearsal
        self._group = os.getpgrp() if is_rehearsal else 0
        """The process group of the children; 0: there is none yet."""
        self.parent = os.getppid() if is_rehearsal else getpid()
        self._passing_parent, self.passing_child = socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM)
        self._passing_parent.setblocking(False)
        self.null = os.open(os.devnull, os.O_RDWR | os.O_CLOEXEC)
        self._reserve = os.dup(self.null)

    def poke(self) -> None:
        """Make the parent's loop turn. May be called by a child, another thread, or a signal handler."""
        try:
            eventfd_write(self.poke_descriptor, 1)
        except BlockingIOError:
            pass  # 2**64 - 2 pokes are waiting: it will turn

    def poked(self) -> None:
        """The parent's loop turns: forget the pokes so far."""
        try:
            eventfd_read(self.poke_descriptor)
        except BlockingIOError:
            pass

    # What either side keeps

    def passing_descriptor(self) -> int:
        """Where the parent waits for connections passed up."""
        return self._passing_parent.fileno()

    def child_descriptors(self) -> tuple[int, ...]:
        """What a child keeps of the link."""
        return self.poke_descriptor, self.lifeline, self.passing_child.fileno(), self.null

    def parent_descriptors(self) -> tuple[int, ...]:
        """What a child must close: above all the lifeline's end, which would keep it up for its sisters."""
        own = (self._lifeline_end, self._passing_parent.fileno(), self._reserve)
        return tuple(descriptor for descriptor in own if descriptor >= 0)

    def close(self) -> None:
        """Close the parent's ends. Children that are left end."""
        self._give_up_reserve()
        for descriptor in (self.poke_descriptor, self.lifeline, self._lifeline_end, self.null):
            os.close(descriptor)
        self._passing_parent.close()
        self.passing_child.close()

    # The child's side

    def watch_parent(self) -> bool:
        """In a child: from now on SIGIO comes when the parent ends. False: it has ended already.

        The children are a process group of their own, which the parent has made the owner of SIGIO (`own_signals`).
        Not PR_SET_PDEATHSIG (prctl(2)): that one fires when the *thread* that forked ends.
        """
        try:
            setpgid(0, self._group)
            if not self._group:
                # We found it. The parent does the same, but may be killed before it comes to that.
                fcntl(self.lifeline, F_SETOWN, -getpid())
        except OSError:
            self._watch_parent_alone()  # the group's last member ended at this moment
        return getppid() == self.parent

    def _watch_parent_alone(self) -> None:
        if self._is_rehearsal:
            return  # a session leader may not call setpgid(), nor is it to get SIGIO
        # The owner of SIGIO belongs to an open file description (fcntl(2), F_SETOWN): open one for ourselves.
        own = os.open(f"/proc/self/fd/{self.lifeline}", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        fcntl(own, F_SETOWN, getpid())
        fcntl(own, F_SETFL, os.O_RDONLY | os.O_NONBLOCK | os.O_ASYNC)

    def pass_up(self, connection: _socket.socket, listener: int) -> None:
        """In a child: hand an accepted connection to the parent (unix(7), SCM_RIGHTS). May wait for its queue."""
        descriptor = connection.fileno().to_bytes(_INT, sys.byteorder)
        rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, descriptor)
        self.passing_child.sendmsg([bytes((listener,))], [rights])

    # The parent's side

    def renew_group(self, *, has_members: bool) -> bool:
        """In the parent, before it forks: whether the children's process group is there to be joined.

        `has_members`: a child was not reaped yet. (Asking the kernel takes it a look at each of them: kill(2).) Where
        the group is not there, the next child founds it, and `own_signals` is to be called with its pid.
        """
        if not has_members:
            self._group = 0
        return self._group != 0

    def own_signals(self, pid: int) -> bool:
        """In the parent: child `pid` founds the group to which SIGIO goes (so does it, too: whoever is first).

        False: it has ended already, and the next one is to found another.
        """
        try:
            setpgid(pid, pid)
            fcntl(self.lifeline, F_SETOWN, -pid)
        except OSError:
            return False
        self._group = pid
        return True

    def adopt(self, pid: int) -> None:
        """In the parent: have child `pid` in the group before its sisters have left it. (It joins by itself, too.)"""
        try:
            if self._group:
                setpgid(pid, self._group)
        except OSError:  # it has ended; or the group has, all of whose members somebody else has reaped
            self._forget_empty_group()

    def _forget_empty_group(self) -> None:
        try:
            killpg(self._group, 0)
        except ProcessLookupError:
            self._group = 0  # the next child is to found another
        except PermissionError:
            pass  # it lives, as somebody else

    def take_passed(self) -> tuple[int, int] | None:
        """In the parent: the next connection passed up, as (listener, descriptor); None where there is none.

        A descriptor that comes while our table is full is lost, and a connection with it. So one is kept in reserve
        and given up for the connection's; whoever takes one calls `restore_reserve` when it is closed.
        """
        self._give_up_reserve()
        try:
            data, rights, _, _ = self._passing_parent.recvmsg(1, socket.CMSG_SPACE(_INT), socket.MSG_CMSG_CLOEXEC)
        except BlockingIOError:
            self.restore_reserve()
            return None
        if not (data and rights and len(rights[0][2]) == _INT):
            for _, _, unasked in rights:
                for start in range(0, len(unasked) - _INT + 1, _INT):
                    os.close(int.from_bytes(unasked[start : start + _INT], sys.byteorder))
            self.restore_reserve()
            return None
        return data[0], int.from_bytes(rights[0][2], sys.byteorder)

    def restore_reserve(self) -> None:
        """Keep a descriptor in reserve again, where one can be had."""
        if self._reserve < 0:
            try:
                self._reserve = os.dup(self.null)
            except OSError:
                pass  # the table is full at this moment; the next call tries again

    def _give_up_reserve(self) -> None:
        if self._reserve >= 0:
            os.close(self._reserve)
            self._reserve = -1
