"""The messages of a daemon while it runs, and when it ends."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "it serves",
        "serve; stop",
        0,
        "upperd[…] ready: upperd … on unix:s (bound) pid=…",
    ),
    Situation(
        "it is told to end",
        "serve; stop",
        0,
        "upperd[…] drain: ending, within 30 s busy=0 waiting=0",
    ),
    Situation(
        "it has ended",
        "serve; stop",
        0,
        "upperd[…] exiting: served 0 connections connections=0 cut=0 killed=0 crashed=0",
    ),
    Situation(
        "a user is refused",
        "serve --deny-user $(id -u); upperctl --socket s send x 2>x; logged 'deny: '",
        0,
        "upperd[…] deny: refused … connections: … by the access rules; the last from uid ……",
    ),
    Situation(
        "a user is refused for its rate",
        (
            "serve --max-rate-per-user 1; upperctl --socket s send x; upperctl --socket s send x 2>x; "
            "upperctl --socket s send x 2>x; logged 'deny: '"
        ),
        0,
        "upperd[…] deny: refused … connections: … over one user's rate; the last from uid ……",
    ),
    Situation(
        "a child is killed",
        "serve; hold; kill -9 $(upperctl --socket s stats | awk '/busy/ { print $1 }'); logged 'end: '",
        0,
        "upperd[…] end: child … served 1 of uid …, 5 B, ended by SIGKILL (out of memory?)…",
    ),
    Situation(
        "the drain deadline is over",
        "serve --drain-timeout 0; hold; stop",
        0,
        "upperd[…] cut: the drain deadline has passed: 1 connection is cut connections=1",
    ),
    Situation(
        "a child is cut at the drain deadline",
        "serve --drain-timeout 0; hold; stop",
        0,
        "upperd[…] end: child … served 1 of uid …, 5 B, was cut at the drain deadline…",
    ),
    Situation(
        "a connection is idle for too long",
        "serve --idle-timeout 3; hold; logged 'end: '",
        0,
        "upperd[…] end: child … served 1 of uid …, 5 B…",
    ),
    Situation(
        "a handler counts what it has not declared",
        (
            'printf \'import socketserver\\nclass X(socketserver.BaseRequestHandler):\\n counters = ("seen",)\\n '
            'def handle(self): self.request.count("sene")\' >x.py; serve --handler ./x.py:X; upperctl '
            "--socket s send x 2>x; logged ' end: '"
        ),
        0,
        (
            "upperd[…] end: child … served 1 of uid …, 0 B, ended with exit code 70: ValueError: no counter "
            "'sene': the handler's class declares seen at …/x.py:4…"
        ),
    ),
    Situation(
        "a handler counts what is no number",
        (
            'printf \'import socketserver\\nclass X(socketserver.BaseRequestHandler):\\n counters = ("seen",)\\n '
            'def handle(self): self.request.count("seen", -1)\' >x.py; serve --handler ./x.py:X; upperctl '
            "--socket s send x 2>x; logged ' end: '"
        ),
        0,
        (
            "upperd[…] end: child … served 1 of uid …, 0 B, ended with exit code 70: ValueError: counter "
            "'seen': cannot add -1: it must be a whole number, 0 or more at …/x.py:4…"
        ),
    ),
    Situation(
        "a handler ends its process",
        (
            "printf 'import os, socketserver\\nclass X(socketserver.BaseRequestHandler):\\n def handle(self): "
            "os._exit(5)' >x.py; serve --handler ./x.py:X; upperctl --socket s send x 2>x; logged ' end: '"
        ),
        0,
        "upperd[…] end: child … served 1 of uid …, 0 B, ended with exit code 5…",
    ),
    Situation(
        "more children end than a log should have",
        (
            "serve --connections-per-child 1 --max-children 200; python3 -c 'from upperd.client import "
            'upper\nfor number in range(150): upper("x", "s")\'; logged \' ends: \''
        ),
        0,
        "upperd[…] ends: … more children served … connections…",
    ),
    Situation(
        "no child can be prepared",
        (
            "printf 'import os, socketserver\\nclass X(socketserver.BaseRequestHandler):\\n @classmethod\\n"
            " def start_child(cls): os._exit(5)' >x.py; upperd --socket s --no-fallback --handler ./x.py:X 2>log &"
            " daemon=$!; logged throttle:"
        ),
        0,
        "upperd[…] throttle: child …: it ended before its first connection; forking again in 0.1 s pause_usec=100000",
    ),
    Situation(
        "the socket's path was removed, and it is told to reload",
        "serve; rm s; kill -HUP $daemon; logged 'bound anew'",
        0,
        "upperd[…] reload: s was removed and is bound anew",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """The log has one line for each event of the daemon."""
    check(row, folder)
