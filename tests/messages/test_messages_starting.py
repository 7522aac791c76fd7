"""What upperd says when it cannot start, or not as it was told."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "the folder of the path is missing",
        "upperd --socket none/s --no-fallback",
        73,
        "upperd[…] exiting: cannot listen on none/s: No such file or directory: make the folder none first",
    ),
    Situation(
        "the path is too long",
        "upperd --socket $(printf %0120d 0) --no-fallback",
        73,
        ("upperd[…] exiting: … has 120 bytes, a socket's path may have 107: choose a shorter one with --socket"),
    ),
    Situation(
        "the folder cannot be written to: a file system for reading",
        "unshare -m sh -c 'mount -t tmpfs -o ro tmpfs /mnt; exec upperd --socket /mnt/s --no-fallback'",
        73,
        (
            "upperd[…] exiting: cannot listen on /mnt/s: Read-only file system: mount a folder that can be "
            "written to there, or choose another path with --socket"
        ),
    ),
    Situation(
        "another file is at the path",
        "echo >s; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: s is there and is not a socket: choose another path with --socket",
    ),
    Situation(
        "a socket for datagrams is at the path",
        "serve --datagram d; upperd --socket d --no-fallback",
        75,
        "upperd[…] exiting: already running (pid …) on d",
    ),
    Situation(
        "a daemon is on the path",
        "serve; upperd --socket s --no-fallback",
        75,
        "upperd[…] exiting: already running (pid …) on s",
    ),
    Situation(
        "a daemon is on the abstract name",
        (
            "serve; upperd --socket @messages-$$ --ready-fd 6 6>/dev/null 2>/dev/null & first=$!; until "
            "upperctl --socket @messages-$$ send x >x 2>&1; do :; done; upperd --socket @messages-$$ "
            "--no-fallback; status=$?; kill $first; exit $status"
        ),
        75,
        "upperd[…] exiting: already running (pid … of uid …) on @messages-…",
    ),
    Situation(
        "the lock is a link",
        "ln -s x s.lock; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: cannot listen on s: its lock s.lock is a symbolic link: remove it",
    ),
    Situation(
        "the lock is a folder",
        "mkdir s.lock; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: cannot listen on s: its lock s.lock is not a file: remove it",
    ),
    Situation(
        "the lock has two names",
        "echo >x; ln x s.lock; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: cannot listen on s: its lock s.lock is not a file of uid … alone: remove it",
    ),
    Situation(
        "the owner of the path cannot be given",
        "unshare -U upperd --socket s --no-fallback --socket-owner 5",
        73,
        "upperd[…] exiting: cannot give s its permissions (owner 5 and group as it is): Invalid argument",
    ),
    Situation(
        "the port is taken",
        "serve --tcp localhost:$PORT; upperd --socket t --no-fallback --tcp localhost:$PORT",
        73,
        ("upperd[…] exiting: cannot listen on tcp:localhost:$PORT: Address already in use: choose another with --tcp"),
    ),
    Situation(
        "an address of other hosts",
        "upperd --no-socket --tcp 0.0.0.0:$PORT",
        73,
        (
            "upperd[…] exiting: tcp:…:$PORT is …, not a loopback address, so other hosts could connect: if "
            "they are to, say so with --tcp-allow-remote, or have systemd pass a socket (ListenStream=)"
        ),
    ),
    Situation(
        "an address of other hosts, for datagrams",
        "upperd --no-socket --udp 0.0.0.0:$PORT",
        73,
        (
            "upperd[…] exiting: udp:…:$PORT is …, not a loopback address, so other hosts could connect: if "
            "they are to, say so with --tcp-allow-remote, or have systemd pass a socket (ListenDatagram=)"
        ),
    ),
    Situation(
        "an address that this host has not",
        "upperd --no-socket --tcp 127.0.0.1.example.invalid:$PORT",
        73,
        "upperd[…] exiting: 127.….invalid:$PORT: [Errno -2] Name or service not known",
    ),
    Situation(
        "a host that has no name",
        "upperd --no-socket --tcp no.such.host.invalid:$PORT",
        73,
        "upperd[…] exiting: no.such.host.invalid:$PORT: [Errno -2] Name or service not known",
    ),
    Situation(
        "other hosts are let in",
        "serve --tcp 0.0.0.0:$PORT --tcp-allow-remote; cat log",
        0,
        (
            "upperd[…] starting: tcp:…:$PORT: any host that can reach that may connect, and the user there "
            "remains unknown"
        ),
    ),
    Situation(
        "other hosts are let in by datagrams",
        "serve --udp 0.0.0.0:$PORT --tcp-allow-remote; cat log",
        0,
        (
            "upperd[…] starting: udp:…:$PORT: any host that can reach that may connect, and the user there "
            "remains unknown; a datagram's sender can be forged"
        ),
    ),
    Situation(
        "the scoreboard cannot be made",
        "serve --scoreboard none/board; cat log",
        0,
        (
            "upperd[…] starting: no scoreboard at none/board: [Errno 2] No such file or directory: "
            "'none/board.lock'; upperctl will have no statistics"
        ),
    ),
    Situation(
        "another file is at the scoreboard's path",
        "echo >board; serve --scoreboard board; cat log",
        0,
        (
            "upperd[…] starting: no scoreboard at board: [Errno 17] a file that is not a scoreboard is "
            "there: 'board'; upperctl will have no statistics"
        ),
    ),
    Situation(
        "another daemon has the scoreboard",
        (
            "serve --scoreboard board; first=$daemon; upperd --socket t --no-fallback --scoreboard board "
            "--ready-fd 6 6>x 2>log2 & daemon=$!; until grep -q ready log2; do :; done; kill $first $daemon; "
            "wait; cat log2"
        ),
        0,
        (
            "upperd[…] starting: no scoreboard at board: board.lock is locked by process …; upperctl will "
            "have no statistics"
        ),
    ),
    Situation(
        "the pid file cannot be written",
        "upperd --socket s --no-fallback --pid-file none/pid",
        73,
        (
            "upperd[…] exiting: cannot write the pid file none/pid: No such file or directory; choose "
            "another with --pid-file"
        ),
    ),
    Situation(
        "the pid file is another file",
        "echo hello >pid; upperd --socket s --no-fallback --pid-file pid",
        73,
        "upperd[…] exiting: pid is there and is not a pid file: remove it, or choose another with --pid-file",
    ),
    Situation(
        "the pid file is that of a daemon that runs",
        "serve --pid-file pid; upperd --socket t --no-fallback --pid-file pid",
        73,
        "upperd[…] exiting: pid has the pid of a daemon that runs (…): choose another with --pid-file",
    ),
    Situation(
        "too few descriptors",
        "ulimit -n 32; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: only 32 descriptors may be open, 64 are needed: raise LimitNOFILE= (ulimit -Hn)",
    ),
    Situation(
        "the supervisor's pipe is full",
        (
            "mkfifo p; exec 8<>p; dd if=/dev/zero of=p bs=65536 count=1 2>/dev/null; upperd --socket s "
            "--no-fallback --ready-fd 8 2>log & daemon=$!; logged ready; stop"
        ),
        0,
        "upperd[…] notify: descriptor 8 (--ready-fd) takes no newline (it is full), ignoring",
    ),
    Situation(
        "a manager that passes another process's sockets",
        (
            "mkfifo ready; LISTEN_PID=1 LISTEN_FDS=2 upperd --socket s --no-fallback --ready-fd 5 5>ready "
            "2>log & daemon=$!; read -r _ <ready; stop"
        ),
        0,
        (
            "upperd[…] starting: LISTEN_PID=1 is not this process (…), so the 2 sockets that were passed are "
            "not taken: a wrapper between the manager and upperd must exec it, not fork"
        ),
    ),
    Situation(
        "a manager that passes more sockets than there are",
        "LISTEN_FDS=1025 exec sh -c 'LISTEN_PID=$$ exec upperd'",
        78,
        "upperd: LISTEN_FDS=1025 is more than 1024",
    ),
    Situation(
        "a manager that passes what is no number",
        "LISTEN_PID=x LISTEN_FDS=1 upperd",
        78,
        "upperd: LISTEN_PID='x' is not a number",
    ),
    Situation(
        "a passed descriptor that is closed",
        "exec 3<&-; LISTEN_FDS=1 exec sh -c 'LISTEN_PID=$$ exec upperd'",
        78,
        ("upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is not open: Bad file descriptor"),
    ),
    Situation(
        "a passed descriptor that is no socket",
        "exec 3</dev/null; LISTEN_FDS=1 exec sh -c 'LISTEN_PID=$$ exec upperd'",
        78,
        "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is not a socket",
    ),
    Situation(
        "idle-exit where no manager listens",
        "serve --idle-exit 5; stop",
        0,
        "upperd[…] idle: idle-exit is ignored: no manager listens for us while we are away",
    ),
    Situation(
        "nothing could be done in the background",
        "upperd --daemonize --socket none/s --no-fallback",
        73,
        "upperd: cannot listen on …/none/s: No such file or directory: make the folder …/none first",
    ),
    Situation(
        "process 1 goes into the background",
        "unshare -pf --mount-proc upperd --daemonize",
        64,
        "upperd: the end of process … is that of its container: leave out --daemonize",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A start that fails, or is not quite what was asked for, says why and what to do."""
    check(row, folder)
