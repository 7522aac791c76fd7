"""The messages of upperctl about a daemon."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "status of a daemon that never was",
        "upperctl --socket s status",
        3,
        ("no scoreboard at …/s.scoreboard: start the daemon (upperd --socket PATH), or name its socket with --socket"),
    ),
    Situation(
        "status of a daemon that runs",
        "serve; upperctl --socket s status",
        0,
        "upperd …: running (pid …), ready",
    ),
    Situation(
        "status of a daemon that has ended",
        "serve; stop; upperctl --socket s status",
        3,
        "upperd …: not running (pid …); these are its last figures",
    ),
    Situation(
        "status of a daemon without a scoreboard",
        "serve --scoreboard none/board; upperctl --socket s status",
        0,
        (
            "no scoreboard at …/s.scoreboard; its scoreboard is elsewhere (--scoreboard), or was lost "
            "(its log says why)"
        ),
    ),
    Situation(
        "the scoreboard is another file",
        "echo hello >s.scoreboard; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard: it has 6 bytes, not 17305600: truncated, or not a scoreboard: remove it, "
            "and restart the daemon"
        ),
    ),
    Situation(
        "the scoreboard is of another version",
        "head -c 600000 /dev/zero >s.scoreboard; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard: it has 600000 bytes, not 17305600: truncated, or not a scoreboard: "
            "remove it, and restart the daemon"
        ),
    ),
    Situation(
        "the scoreboard is a pipe",
        "mkfifo s.scoreboard; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard: it is a pipe, a device or a folder, not a file: remove it, "
            "and restart the daemon"
        ),
    ),
    Situation(
        "the scoreboard is cut",
        "serve; truncate -s 5000 s.scoreboard; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard: it has 5000 bytes, not 17305600: truncated, or not a scoreboard: "
            "remove it, and restart the daemon"
        ),
    ),
    Situation(
        "figures of a daemon that never was",
        "upperctl --socket s stats",
        69,
        (
            "upperctl: no scoreboard at …/s.scoreboard: start the daemon (upperd --socket PATH), or name its "
            "socket with --socket"
        ),
    ),
    Situation(
        "figures for Prometheus into a folder that is missing",
        "serve; upperctl --socket s stats --prometheus --output none/x",
        73,
        ("upperctl: cannot write none/x: No such file or directory; make its folder first (mkdir -p)"),
    ),
    Situation(
        "the version of a daemon that never was",
        "upperctl --socket s version",
        0,
        (
            "upperd: not running: no scoreboard at …/s.scoreboard: start the daemon (upperd --socket PATH), or "
            "name its socket with --socket"
        ),
    ),
    Situation(
        "the version of a daemon that has ended",
        "serve; stop; upperctl --socket s version",
        0,
        "upperd: not running; the last one was …",
    ),
    Situation(
        "ping of a daemon that answers",
        "serve; upperctl --socket s ping -c 1",
        0,
        "17 bytes from s: seq=1 time=… ms",
    ),
    Situation(
        "ping of a daemon that does not run",
        "upperctl --socket s ping -c 1 -q",
        1,
        ("upperctl: no socket at s: start upperd (upperd --socket s), or correct the path"),
    ),
    Situation(
        "ping of something else",
        (
            "printf 'import socketserver\\nclass X(socketserver.StreamRequestHandler):\\n def handle(self): "
            "self.wfile.write(self.rfile.readline())' >x.py; serve --handler ./x.py:X; upperctl --socket s "
            "ping -c 1"
        ),
        1,
        "seq=1 lost: wrong answer, b'upperd ping \\xc3\\x9f 1\\n': another program or handler answers there",
    ),
    Situation(
        "top of a daemon that never was",
        "upperctl --socket s top",
        69,
        (
            "upperctl: no scoreboard at …/s.scoreboard: start the daemon (upperd --socket PATH), or name its "
            "socket with --socket"
        ),
    ),
    Situation(
        "the children, as status has them",
        "serve; upperctl --socket s status",
        0,
        "   children     0 busy, 8 spare, at most 64",
    ),
    Situation(
        "ping begins",
        "serve; upperctl --socket s ping -c 1",
        0,
        "PING s: 17 bytes of text, each on a connection of its own",
    ),
    Situation(
        "ping ends",
        "serve; upperctl --socket s ping -c 1",
        0,
        "--- s ping statistics ---",
    ),
    Situation(
        "ping has counted",
        "serve; upperctl --socket s ping -c 1",
        0,
        "1 sent, 1 answered, 0% loss, time … ms",
    ),
    Situation(
        "ping has measured",
        "serve; upperctl --socket s ping -c 1",
        0,
        "round trip min/avg/max/mdev = … ms",
    ),
    Situation(
        "a scoreboard of another version",
        ("serve; stop; printf x | dd of=s.scoreboard bs=1 seek=7 conv=notrunc 2>/dev/null; upperctl --socket s stats"),
        69,
        (
            "upperctl: …/s.scoreboard: it is not a scoreboard of version 3: remove it, "
            "and restart the daemon"
        ),
    ),
    Situation(
        "a scoreboard that the user may not read",
        "serve; chown 61001 s.scoreboard; chmod 600 s.scoreboard; powerless upperctl --socket s stats",
        77,
        ("upperctl: …/s.scoreboard: permission denied; the daemon's user and group may read it"),
    ),
    Situation(
        "a command that looks for files, with an address",
        "upperctl --tcp 127.0.0.1:$PORT status",
        64,
        (
            "upperctl: status takes no --tcp: it reads the daemon's files; name its socket (--socket PATH, or "
            "-n NAME), or use: upperctl --tcp 127.0.0.1:$PORT ping -c 1"
        ),
    ),
    Situation(
        "figures into a pipe that no process reads",
        "mkfifo p; serve; upperctl --socket s stats --prometheus --output p",
        73,
        "upperctl: cannot write p: No such device or address; no process reads that pipe",
    ),
    Situation(
        "figures into a folder of another user",
        "mkdir d; serve; chown 61001 d; chmod 700 d; powerless upperctl --socket s stats --prometheus --output d/x",
        73,
        "upperctl: cannot write d/x: Permission denied; choose a folder that this user may write to",
    ),
    Situation(
        "the daemon has another scoreboard than the one before",
        "serve; kill -9 $daemon; wait $daemon; rm s; serve --scoreboard b; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard has the last figures of an earlier daemon; its scoreboard is "
            "elsewhere (--scoreboard), or was lost (its log says why)"
        ),
    ),
    Situation(
        "another program listens",
        "liar x; upperctl --socket s stats",
        69,
        "upperctl: no scoreboard at …/s.scoreboard; process … listens on …/s, and it may not be upperd",
    ),
    Situation(
        "a process of another container listens",
        "liar x; unshare -pf --mount-proc upperctl --socket s stats",
        69,
        (
            "upperctl: no scoreboard at …/s.scoreboard; a process that cannot be seen from here, as in "
            "another container, listens on …/s"
        ),
    ),
    Situation(
        "the socket's path was removed",
        "serve --socket $PWD/s; rm s; upperctl --socket s status",
        0,
        "   trouble      …/s was removed, so no client finds it: a reload binds it anew (…)",
    ),
    Situation(
        "the scoreboard is that of a daemon on another path",
        "serve --socket $PWD/t --scoreboard s.scoreboard; upperctl --socket s stats",
        69,
        (
            "upperctl: …/s.scoreboard is the scoreboard of another daemon, on …/t: start the daemon (upperd "
            "--socket PATH), or name its socket with --socket"
        ),
    ),
    Situation(
        "figures into a link of another user",
        "serve; ln -s x l; chown -h 61001 l; powerless upperctl --socket s stats --prometheus --output l",
        73,
        "upperctl: cannot write l: l is a link owned by uid 61001, and is not followed",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """Each command says which daemon it found, or why it found none."""
    check(row, folder)
