"""The messages of upperd when it cannot start, or not as configured."""

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
        ("upperd[…] exiting: … has 120 bytes, and a socket's path at most 107: choose a shorter one with --socket"),
    ),
    Situation(
        "the folder cannot be written to: a file system for reading",
        "unshare -m sh -c 'mount -t tmpfs -o ro tmpfs /mnt; exec upperd --socket /mnt/s --no-fallback'",
        73,
        (
            "upperd[…] exiting: cannot listen on /mnt/s: Read-only file system: mount a writable file system "
            "there, or choose another path with --socket"
        ),
    ),
    Situation(
        "another file is at the path",
        "echo >s; upperd --socket s --no-fallback",
        73,
        "upperd[…] exiting: s exists and is not a socket: choose another path with --socket",
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
            "serve; upperd --socket @messages-$$ --scoreboard b --ready-fd 6 6>/dev/null 2>/dev/null & first=$!; "
            "until upperctl --socket @messages-$$ send x >x 2>&1; do :; done; "
            "upperd --socket @messages-$$ --no-fallback; status=$?; kill $first; exit $status"
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
        "upperd[…] exiting: cannot listen on s: its lock s.lock is not owned by uid …, or has two links: remove it",
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
            "upperd[…] exiting: tcp:…:$PORT is …, not a loopback address, so other hosts could connect: allow "
            "that with --tcp-allow-remote, or have systemd pass a socket (ListenStream=)"
        ),
    ),
    Situation(
        "an address of other hosts, for datagrams",
        "upperd --no-socket --udp 0.0.0.0:$PORT",
        73,
        (
            "upperd[…] exiting: udp:…:$PORT is …, not a loopback address, so other hosts could connect: allow "
            "that with --tcp-allow-remote, or have systemd pass a socket (ListenDatagram=)"
        ),
    ),
    Situation(
        "other hosts are let in",
        "serve --tcp 0.0.0.0:$PORT --tcp-allow-remote; cat log",
        0,
        (
            "upperd[…] starting: tcp:…:$PORT: any host that can reach this address may connect, and its "
            "users are unknown"
        ),
    ),
    Situation(
        "other hosts are let in by datagrams",
        "serve --udp 0.0.0.0:$PORT --tcp-allow-remote; cat log",
        0,
        (
            "upperd[…] starting: udp:…:$PORT: any host that can reach this address may connect, and its "
            "users are unknown; a datagram's sender can be forged"
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
        "upperd[…] exiting: pid exists and is not a pid file: remove it, or choose another with --pid-file",
    ),
    Situation(
        "the pid file is that of a daemon that runs",
        "serve --pid-file pid; upperd --socket t --no-fallback --pid-file pid",
        73,
        "upperd[…] exiting: pid holds the pid of a running daemon (…): choose another with --pid-file",
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
        "upperd[…] notify: cannot write to descriptor 8 (--ready-fd): it is full, ignoring",
    ),
    Situation(
        "idle-exit where no manager listens",
        "serve --idle-exit 5; stop",
        0,
        "upperd[…] idle: idle-exit is ignored: no manager listens while upperd is not running",
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
        "upperd: the container ends when process 1 exits: leave out --daemonize",
    ),
    Situation(
        "an owner that only root may choose",
        "powerless upperd --socket s --no-fallback --socket-owner 5",
        73,
        (
            "upperd[…] exiting: cannot give s its permissions (owner 5 and group unchanged): Operation not "
            "permitted: only root may choose an owner; others, a group of theirs"
        ),
    ),
    Situation(
        "a folder that is closed to the user",
        "mkdir d; chmod 0 d; powerless upperd --socket d/s --no-fallback",
        73,
        (
            "upperd[…] exiting: cannot listen on d/s: Permission denied: start upperd as a user that may "
            "write there, or choose another path with --socket"
        ),
    ),
    Situation(
        "the package python-daemon is missing",
        "mkdir d; echo raise ImportError >d/daemon.py; PYTHONPATH=d upperd --daemonize --socket s",
        64,
        "upperd: --daemonize needs the Python package python-daemon",
    ),
    Situation(
        "the default folder was made by another user",
        (
            "unshare -m sh -c 'mount -t tmpfs tmpfs /run; mkdir -m 0777 /run/upperd; chmod 0777 /run/upperd; "
            "exec upperd --no-fallback'"
        ),
        73,
        "upperd[…] exiting: /run/upperd is not owned by uid …, or is open to others; name another path with --socket",
    ),
    Situation(
        "a program whose class is inside a function",
        (
            "printf 'import socketserver\\nfrom upperd.service import run\\ndef make():\\n class "
            'X(socketserver.BaseRequestHandler): pass\\n return X\\ntry: run(make(), "x")\\nexcept ValueError '
            "as error: print(error)\\n' >p.py; python3 p.py"
        ),
        0,
        "make.<locals>.X is inside a function: a daemon imports its handler, so define it at module level",
    ),
    Situation(
        "a program without a file",
        (
            "printf 'import socketserver\\nfrom upperd.service import run\\nclass "
            'X(socketserver.BaseRequestHandler): pass\\ntry: run(X, "x")\\nexcept ValueError as error: '
            "print(error)\\n' | python3 -"
        ),
        0,
        "the module of X has no file: a daemon imports its handler, so it must have one",
    ),
    Situation(
        "a program that runs at its import",
        (
            "printf 'import socketserver\\nfrom upperd.service import run\\nclass "
            'X(socketserver.BaseRequestHandler): pass\\nrun(X, "x")\\n\' >p.py; upperd --check-config --handler '
            "./p.py:X"
        ),
        78,
        (
            "upperd: handler …/p.py:X: RuntimeError: run() is called when the module is imported: put it "
            'below if __name__ == "__main__": at …/p.py:4'
        ),
    ),
    Situation(
        "another program takes datagrams at the path",
        (
            "python3 -c 'import socket, subprocess, sys\ntaken = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)\n"
            'taken.bind("d")\nsys.exit(subprocess.call(["upperd", "--socket", "d", "--no-fallback"]))\''
        ),
        73,
        "upperd[…] exiting: d: it is a socket of another type: remove it, or choose another path with --socket",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A start that fails, or differs from what was asked for, says why and what to do."""
    check(row, folder)
