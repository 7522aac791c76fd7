"""The messages of upperd about the sockets that a manager passes."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "a passed socket is of another family",
        "pass 'socket(AF_NETLINK, SOCK_RAW)'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is of address family "
            "16, neither Unix nor TCP"
        ),
    ),
    Situation(
        "a passed socket is one of packets",
        "pass 'socket(AF_UNIX, SOCK_SEQPACKET)'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is SOCK_SEQPACKET: it "
            "must be a stream socket (ListenStream=) or a datagram socket (ListenDatagram=)"
        ),
    ),
    Situation(
        "a passed socket does not listen",
        "pass 'socket(AF_UNIX)'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager does not listen: upperd "
            "takes listening sockets (Accept=no); for a connection, start it with --inetd"
        ),
    ),
    Situation(
        "a passed socket is bound to nothing",
        "pass 'socket(AF_UNIX, SOCK_DGRAM)'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is not bound: no "
            "datagram can reach it"
        ),
    ),
    Situation(
        "a passed socket has one peer alone",
        "pass 'socketpair(AF_UNIX, SOCK_DGRAM)[0]'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is connected: it receives "
            "datagrams from one peer only"
        ),
    ),
    Situation(
        "a passed socket is for another protocol",
        "pass 'socket(AF_INET, SOCK_DGRAM, 136)'",
        78,
        (
            "upperd[…] exiting: descriptor 3 (unknown) passed by the service manager is for datagrams of "
            "protocol 136, not UDP"
        ),
    ),
    Situation(
        "--inetd is passed what listens (Accept=no)",
        "pass 'create_server((\"127.0.0.1\", 0))' --inetd",
        78,
        (
            "upperd: descriptor 3 (unknown) passed by the service manager is a listening socket (Accept=no; "
            "in inetd.conf: wait): --inetd serves one connection that inetd, xinetd or a socket unit with "
            "Accept=yes has accepted"
        ),
    ),
    Situation(
        "--inetd is passed what is not connected",
        "pass 'socket(AF_UNIX)' --inetd",
        78,
        (
            "upperd: descriptor 3 (unknown) passed by the service manager is not connected: --inetd serves "
            "one connection that inetd, xinetd or a socket unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "--inetd is passed datagrams",
        "pass 'socketpair(AF_UNIX, SOCK_DGRAM)[0]' --inetd",
        78,
        (
            "upperd: descriptor 3 (unknown) passed by the service manager is not a stream socket but "
            "SOCK_DGRAM: --inetd serves one connection that inetd, xinetd or a socket unit with Accept=yes "
            "has accepted"
        ),
    ),
    Situation(
        "--inetd is passed another family",
        "pass 'socket(AF_NETLINK, SOCK_RAW)' --inetd",
        78,
        (
            "upperd: descriptor 3 (unknown) passed by the service manager is of address family 16, neither "
            "Unix nor TCP: --inetd serves one connection that inetd, xinetd or a socket unit with Accept=yes "
            "has accepted"
        ),
    ),
    Situation(
        "--inetd is passed more than one socket",
        "LISTEN_FDS=2 exec sh -c 'LISTEN_PID=$$ exec upperd --inetd'",
        78,
        (
            "upperd: 2 sockets were passed: --inetd serves one connection that inetd, xinetd or a socket "
            "unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "the descriptor for readiness is a passed socket",
        "pass 'create_server((\"127.0.0.1\", 0))' --ready-fd 3",
        64,
        "upperd: ready-fd is 3: the service manager passed a socket there: choose another",
    ),
    Situation(
        "--inetd with a listener",
        "upperd --inetd --socket s",
        64,
        "upperd: --socket has no meaning with --inetd: there is no listener",
    ),
    Situation(
        "--inetd without a connection: closed",
        "upperd --inetd <&-",
        64,
        (
            "upperd: standard input is closed: --inetd serves one connection that inetd, xinetd or a socket "
            "unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "--inetd without a connection: a device",
        "upperd --inetd </dev/null",
        64,
        (
            "upperd: standard input is a device, not a connection: --inetd serves one connection that inetd, "
            "xinetd or a socket unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "--inetd without a connection: a file",
        "echo >x; upperd --inetd <x",
        64,
        (
            "upperd: standard input is a file, not a connection: --inetd serves one connection that inetd, "
            "xinetd or a socket unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "--inetd without a connection: a pipe",
        "echo | upperd --inetd",
        64,
        (
            "upperd: standard input is a pipe, not a connection: --inetd serves one connection that inetd, "
            "xinetd or a socket unit with Accept=yes has accepted"
        ),
    ),
    Situation(
        "a manager that passes another process's sockets",
        (
            "mkfifo ready; LISTEN_PID=1 LISTEN_FDS=2 upperd --socket s --no-fallback --ready-fd 5 5>ready "
            "2>log & daemon=$!; read -r _ <ready; stop"
        ),
        0,
        (
            "upperd[…] starting: LISTEN_PID=1 is not this process (…), so the sockets that were passed are "
            "ignored: a wrapper between the manager and upperd must exec it, not fork"
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
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A passed descriptor of the wrong kind causes a message with its kind, and the right one."""
    check(row, folder)
