"""The messages of upperd at its start about a path that is taken, and about what its manager offers."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "a folder on the way is a file",
        "echo >f; upperd --socket f/s --no-fallback",
        73,
        (
            "upperd[…] exiting: cannot listen on f/s: Not a directory: part of the path is not a folder; choose "
            "another path with --socket"
        ),
    ),
    Situation(
        "a daemon has the path, which was removed",
        "serve; rm s; upperd --socket s --no-fallback",
        75,
        (
            "upperd[…] exiting: already running (pid …) on s; the path was removed, and a reload binds it "
            "anew (kill -HUP …)"
        ),
    ),
    Situation(
        "a daemon has the path, and is ending",
        "serve; busy; kill $daemon; logged drain:; upperd --socket s --no-fallback",
        75,
        "upperd[…] exiting: already running (pid …) on s; it is draining, try again in … s",
    ),
    Situation(
        "a manager keeps the socket of a process that has ended",
        (
            "python3 -c 'import os, socket, sys\nlistener = "
            'socket.socket(socket.AF_UNIX)\nlistener.bind("s")\nif os.fork() == 0:\n    listener.listen()\n'
            '    os._exit(0)\nos.wait()\nos.set_inheritable(listener.fileno(), True)\nos.execvp("upperd", '
            '["upperd", "--socket", "s", "--no-fallback"])\''
        ),
        75,
        (
            "upperd[…] exiting: s is kept open, as by a service manager, although the process that made it "
            "(pid …) has ended: start its service (systemctl list-sockets names it), or choose another path "
            "with --socket"
        ),
    ),
    Situation(
        "--store-listeners without a manager",
        "serve --store-listeners; stop",
        0,
        "upperd[…] starting: store-listeners: there is no service manager to store listeners",
    ),
    Situation(
        "--store-listeners, and the manager does not say that it stores any",
        (
            "mkfifo f; python3 -c 'import socket, time\nmanager = socket.socket(socket.AF_UNIX, "
            'socket.SOCK_DGRAM)\nmanager.bind("n")\nopen("f", "w").close()\nwhile True: manager.recv(4096)\''
            " & held=$!\nread -r _ <f; NOTIFY_SOCKET=$PWD/n serve --store-listeners; stop"
        ),
        0,
        (
            "upperd[…] starting: store-listeners: $FDSTORE is not set, so the manager may store none: "
            "systemd since 254 sets it if FileDescriptorStoreMax= is set; older ones never do"
        ),
    ),
    Situation(
        "sockets are passed, and not for which process",
        "LISTEN_FDS=1 serve; stop",
        0,
        (
            "upperd[…] starting: LISTEN_FDS=1 without LISTEN_PID, so the sockets that were passed are "
            "ignored: the manager must set LISTEN_PID to the pid of this process"
        ),
    ),
    Situation(
        "an address whose host's name is none",
        "upperd --no-fallback --socket s --tcp .:1",
        73,
        "upperd[…] exiting: .:1: not a host name: name an address of this host, such as localhost:9999",
    ),
    Situation(
        "a text in the file without quotes",
        "echo 'socket-mode = 0660x' >c; upperd --check-config --config c",
        78,
        (
            "upperd: c: not TOML: Expected newline or end of document after a statement (at line 1, column "
            "16): text needs quotes, and so do modes and times with a unit"
        ),
    ),
    Situation(
        "another file is where the scoreboard goes",
        "echo hello >b; serve --scoreboard b; stop",
        0,
        (
            "upperd[…] starting: no scoreboard at b: the file there is not a scoreboard; upperctl will"
            " have no statistics"
        ),
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """Each message names what is in the way, and what to do."""
    check(row, folder)
