"""The messages of upperctl when it cannot send, or the answer is not whole."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "no daemon at the path",
        "upperctl --socket s send x",
        69,
        ("upperctl: no socket at s: start upperd (upperd --socket s), or correct the path"),
    ),
    Situation(
        "nobody listens at the path",
        "python3 -c 'import socket; socket.socket(socket.AF_UNIX).bind(\"s\")'; upperctl --socket s send x",
        69,
        ("upperctl: nothing listens on s: a daemon that has exited left it; start upperd (upperd --socket s)"),
    ),
    Situation(
        "another file is at the path",
        "echo >f; upperctl --socket f send x",
        69,
        ("upperctl: f is a file, not a socket: name upperd's socket"),
    ),
    Situation(
        "a socket of another type",
        "serve --datagram d; upperctl --socket d send x",
        69,
        ("upperctl: d is not a stream socket: name upperd's stream socket"),
    ),
    Situation(
        "an abstract name that nobody has",
        "upperctl --socket @messages-none send x",
        69,
        ("upperctl: nothing listens on @messages-none in this network namespace: start upperd, or name its socket"),
    ),
    Situation(
        "an abstract socket without a name",
        "upperctl --socket @ send x",
        69,
        "upperctl: @: an abstract socket needs a name, such as @upperd; write a path that begins with @ as ./@...",
    ),
    Situation(
        "a path that is too long",
        "upperctl --socket $(printf %0120d 0) send x",
        69,
        "upperctl: …: a socket path may have at most 107 bytes",
    ),
    Situation(
        "an address without a port",
        "upperctl --tcp localhost send x",
        69,
        "upperctl: 'localhost' is not HOST:PORT, such as localhost:9999",
    ),
    Situation(
        "nobody listens at the port",
        "upperctl --tcp localhost:$PORT send x",
        69,
        "upperctl: cannot connect to localhost:$PORT: Connection refused: is upperd running there?",
    ),
    Situation(
        "a host that there is not",
        "upperctl --tcp no.such.host.invalid:$PORT send x",
        69,
        ("upperctl: cannot resolve no.such.host.invalid:$PORT: …"),
    ),
    Situation(
        "the daemon refuses the user",
        "serve --deny-user $(id -u); upperctl --socket s send x",
        77,
        ("upperctl: the rules of the daemon refuse uid …: ask its administrator (upperd.toml(5))"),
    ),
    Situation(
        "the file that is sent is missing",
        "serve; upperctl --socket s send --file none",
        66,
        "upperctl: cannot read none: No such file or directory",
    ),
    Situation(
        "the file that is sent is a folder",
        "serve; mkdir d; upperctl --socket s send --file d",
        66,
        "upperctl: cannot read d: Is a directory",
    ),
    Situation(
        "standard input is closed",
        "serve; upperctl --socket s send <&-",
        66,
        "upperctl: standard input is closed: give TEXT or --file",
    ),
    Situation(
        "standard output is closed",
        "serve; upperctl --socket s send x >&-",
        74,
        "upperctl: standard output is closed",
    ),
    Situation(
        "standard output is full",
        "serve; upperctl --socket s send x >/dev/full",
        74,
        ("upperctl: cannot write to standard output: No space left on device"),
    ),
    Situation(
        "text and a file",
        "upperctl send --file x y",
        64,
        "upperctl: give either TEXT or --file, not both",
    ),
    Situation(
        "the answer ends early",
        "liar HALF; upperctl --socket s send half a line",
        76,
        (
            "upperctl: the connection was closed early, 1 line of the answer is missing: the daemon was restarted"
            " or ended the connection; send the text again"
        ),
    ),
    Situation(
        "the connection ends without an answer",
        "liar ''; upperctl --socket s send x",
        76,
        (
            "upperctl: the connection was closed without an answer: the daemon refused the connection, its handler "
            "failed, or it was restarted; its log says which"
        ),
    ),
    Situation(
        "a handler that does not answer line by line",
        "liar 'a\nb'; upperctl --socket s send x",
        76,
        "upperctl: the answer does not match the text: does the daemon's handler answer line by line?",
    ),
    Situation(
        "the owner keeps the socket closed",
        (
            'python3 -c \'import os, socket; socket.socket(socket.AF_UNIX).bind("s"); os.chown("s", 61001, '
            '61001); os.chmod("s", 0o600)\'; powerless upperctl --socket s send x'
        ),
        77,
        "upperctl: permission denied: s belongs to 61001:61001, mode 0600; ask 61001, or run as that user",
    ),
    Situation(
        "a group may connect that the user is not in",
        (
            'python3 -c \'import os, socket; socket.socket(socket.AF_UNIX).bind("s"); os.chown("s", 61001, '
            '61001); os.chmod("s", 0o660)\'; powerless upperctl --socket s send x'
        ),
        77,
        (
            "upperctl: permission denied: s belongs to 61001:61001, mode 0660; join the group (usermod -aG "
            "61001 root) and log in again"
        ),
    ),
    Situation(
        "a folder on the way is closed",
        "mkdir d; chmod 700 d; chown 61001 d; powerless upperctl --socket d/s send x",
        77,
        "upperctl: permission denied: d belongs to 61001:root, mode 0700; ask 61001, or run as that user",
    ),
    Situation(
        "no room in the backlog in time",
        (
            "python3 -c 'import socket\nfrom upperd.client import ClientError, upper\nlistener = "
            'socket.socket(socket.AF_UNIX)\nlistener.bind("s")\nlistener.listen(0)\nfirst = '
            'socket.socket(socket.AF_UNIX)\nfirst.connect("s")\ntry: upper("x", "s", timeout=0.1)\nexcept '
            "ClientError as error: print(error)'"
        ),
        0,
        "s: no room in the backlog in time: the daemon is overloaded or stuck",
    ),
    Situation(
        "no answer in time",
        (
            "python3 -c 'import socket\nfrom upperd.client import ClientError, upper\nlistener = "
            'socket.socket(socket.AF_UNIX)\nlistener.bind("s")\nlistener.listen()\ntry: upper("x", "s", '
            "timeout=0.1)\nexcept ClientError as error: print(error)'"
        ),
        0,
        "no answer in time: the daemon is overloaded or stuck",
    ),
    Situation(
        "a client that is closed",
        (
            'serve; python3 -c \'from upperd.client import Client\nclient = Client("s")\nclient.close()\ntry: '
            'client.upper("x")\nexcept ValueError as error: print(error)\''
        ),
        0,
        "the client is closed",
    ),
    Situation(
        "standard input cannot be read",
        "serve; upperctl --socket s send 0>x",
        66,
        "upperctl: cannot read standard input: Bad file descriptor",
    ),
    Situation(
        "the daemon refuses the user, and its scoreboard cannot be read",
        "serve --deny-user $(id -u); rm s.scoreboard; upperctl --socket s send x",
        77,
        (
            "upperctl: the connection was closed at once: the daemon refuses uid …, by a rule or a limit; "
            "only its administrator and its group can see which"
        ),
    ),
    Situation(
        "the user has as many connections as it may have",
        (
            "serve --max-children 1 --max-queue 4; hold; upperctl --socket s send y 2>y & "
            "until upperctl --socket s status | grep -q 'queue  *1 '; do :; done; upperctl --socket s send x"
        ),
        75,
        "upperctl: uid … has as many connections as one user may have: try again later",
    ),
    Situation(
        "every child is busy",
        "serve --max-children 1; hold; upperctl --socket s send --timeout 2 x",
        75,
        "upperctl: no answer in 2 s: every child is busy, 1 wait; 'upperctl status' shows more",
    ),
    Situation(
        "a handler that does not answer",
        (
            "printf 'import socketserver\\nclass X(socketserver.StreamRequestHandler):\\n def handle(self): "
            "self.rfile.read()' >x.py; serve --handler ./x.py:X; upperctl --socket s send --timeout 0.2 x"
        ),
        75,
        (
            "upperctl: no answer in 0.2 s: the daemon is at its limit for one user, or its handler is slow; "
            "'upperctl status' shows more"
        ),
    ),
    Situation(
        "a daemon without a scoreboard that does not answer",
        (
            "printf 'import socketserver\\nclass X(socketserver.StreamRequestHandler):\\n def handle(self): "
            "self.rfile.read()' >x.py; serve --handler ./x.py:X; rm s.scoreboard; upperctl --socket s send "
            "--timeout 0.2 x"
        ),
        75,
        "upperctl: no answer in 0.2 s: the daemon is at its limit, or being restarted; 'upperctl status' shows more",
    ),
    Situation(
        "a host whose name is none",
        "upperctl --tcp a..b:1 send x",
        69,
        "upperctl: cannot resolve a..b:1: not a host name",
    ),
    Situation(
        "nothing tells whose the fallback's port is",
        (
            "unshare -nm sh -c 'mount -t tmpfs none /run\nmkfifo f\npython3 -c \"import fcntl, socket, select, "
            'struct\nfcntl.ioctl(socket.socket(), 0x8914, struct.pack(\\"16sH14x\\", b\\"lo\\", 1))  # SIOCSIFFLAGS'
            '\nlistener = socket.create_server((\\"127.0.0.1\\", 9999))\nopen(\\"f\\", '
            '\\"w\\").close()\nselect.select([listener], [], [])" &\nread -r _ <f\numount -l /proc\nupperctl'
            " send x'"
        ),
        77,
        (
            "upperctl: cannot tell which user owns localhost:9999 (/proc is not mounted): nothing was sent; if "
            "you trust it, use --tcp localhost:9999"
        ),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """If a text cannot be upper-cased, upperctl says why, and what to do."""
    check(row, folder)
