"""The messages of upperd about its file."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "a misspelt key",
        "printf '%s\\n' 'max-childern = 5' >c; upperd --check-config --config c",
        78,
        "upperd: c: no option 'max-childern'; is it 'max-children'?",
    ),
    Situation(
        "a table",
        "printf '%s\\n' '[upperd]' >c; upperd --check-config --config c",
        78,
        "upperd: c: no option 'upperd'",
    ),
    Situation(
        "no TOML",
        "printf '%s\\n' 'max-children' >c; upperd --check-config --config c",
        78,
        "upperd: c: not TOML: Expected '=' after a key in a key/value pair (at line 1, column 13)",
    ),
    Situation(
        "an empty value",
        "printf '%s\\n' 'socket = \"\"' >c; upperd --check-config --config c",
        78,
        "upperd: c: socket is empty: leave it out for its default",
    ),
    Situation(
        "a number as text",
        "printf '%s\\n' 'max-children = \"5\"' >c; upperd --check-config --config c",
        78,
        ("upperd: c: max-children is '5': it must be a whole number from 1 to 4096, without quotes"),
    ),
    Situation(
        "a number out of its range",
        "printf '%s\\n' 'spare-children = 0' >c; upperd --check-config --config c",
        78,
        "upperd: c: spare-children is 0: it must be a whole number from 1 to 4096",
    ),
    Situation(
        "a time that is none",
        "printf '%s\\n' 'drain-timeout = \"soon\"' >c; upperd --check-config --config c",
        78,
        ("upperd: c: drain-timeout is 'soon': it must be a time from 0 to 86400 seconds, such as 30, 500ms or 2min"),
    ),
    Situation(
        "a mode as a number",
        "printf '%s\\n' 'socket-mode = 660' >c; upperd --check-config --config c",
        78,
        ('upperd: c: socket-mode is 660: it must be octal, such as 0660, in quotes: "0660"'),
    ),
    Situation(
        "a switch as text",
        "printf '%s\\n' 'no-fallback = \"yes\"' >c; upperd --check-config --config c",
        78,
        "upperd: c: no-fallback is 'yes': it must be true or false",
    ),
    Situation(
        "a list that is none",
        "printf '%s\\n' 'allow-user = \"root\"' >c; upperd --check-config --config c",
        78,
        "upperd: c: allow-user is 'root': it must be a list of names, or of numbers from 0 to 4294967294",
    ),
    Situation(
        "a user that this host has not",
        "printf '%s\\n' 'allow-user = [\"nobody-here\"]' >c; upperd --check-config --config c",
        78,
        "upperd: c: allow-user: no user 'nobody-here' on this host",
    ),
    Situation(
        "a list that is too long",
        (
            "printf '%s\\n' 'deny-user = "
            "[0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0"
            ",0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,0,]' >c; upperd --check-config --config c"
        ),
        78,
        "upperd: c: deny-user: 1025 names are too many: at most 1024",
    ),
    Situation(
        "folders that are none",
        "printf '%s\\n' 'python-path = \"lib\"' >c; upperd --check-config --config c",
        78,
        "upperd: c: python-path is 'lib': it must be a list of folders",
    ),
    Situation(
        "an owner that is none",
        "printf '%s\\n' 'socket-owner = -1' >c; upperd --check-config --config c",
        78,
        ("upperd: c: socket-owner is -1: it must be a name, or a number from 0 to 4294967294, in quotes"),
    ),
    Situation(
        "a value too large to show",
        (
            "printf '%s\\n' 'max-children = "
            "0xffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffffff"
            "ffffffffff' >c; upperd --check-config --config c"
        ),
        78,
        "upperd: c: max-children is too large to show: it must be a whole number from 1 to 4096",
    ),
    Situation(
        "a handler that is not there",
        "printf '%s\\n' 'handler = \"nothing_here:Shout\"' >c; upperd --check-config --config c",
        78,
        "upperd: handler nothing_here:Shout: no module nothing_here: name its folder with --python-path",
    ),
    Situation(
        "the file may not be read: it is a folder",
        "mkdir c; upperd --check-config --config c",
        78,
        "upperd: c: Is a directory",
    ),
    Situation(
        "the file is not UTF-8",
        "printf 'name = \"\\377\"' >c; upperd --check-config --config c",
        78,
        ("upperd: c: not UTF-8 at byte 9: save it as UTF-8"),
    ),
    Situation(
        "the file is right",
        "echo 'max-children = 5' >c; upperd --check-config --config c",
        0,
        "upperd: c is valid",
    ),
    Situation(
        "a handler's file that there is not",
        "upperd --check-config --handler ./none.py:X",
        78,
        "upperd: handler …/none.py: No such file or directory",
    ),
    Situation(
        "a handler's file without that class",
        "echo 'class Shout: pass' >x.py; upperd --check-config --handler ./x.py:Shuot",
        78,
        "upperd: handler …/x.py:Shuot: …/x.py has no Shuot; is it 'Shout'?",
    ),
    Situation(
        "a handler that is not a subclass of socketserver",
        "echo 'class Shout: pass' >x.py; upperd --check-config --handler ./x.py:Shout",
        78,
        "upperd: handler …/x.py:Shout: Shout is not a subclass of socketserver.BaseRequestHandler",
    ),
    Situation(
        "a handler's file named as a module",
        "echo >x.py; upperd --check-config --handler x.py:Shout",
        78,
        "upperd: handler x.py:Shout: no module x: name a file by its path: ./x.py:Shout",
    ),
    Situation(
        "a handler whose module raises",
        "echo '1 / 0' >x.py; upperd --check-config --handler ./x.py:Shout",
        78,
        "upperd: handler …/x.py:Shout: ZeroDivisionError: division by zero at …/x.py:1",
    ),
    Situation(
        "a handler whose module imports what is missing",
        "echo 'import nothing_here' >x.py; upperd --check-config --handler ./x.py:Shout",
        78,
        "upperd: handler …/x.py:Shout: ModuleNotFoundError: No module named 'nothing_here' at …/x.py:1",
    ),
    Situation(
        "a handler whose module starts threads",
        (
            "printf 'import socketserver, threading\\nthreading.Thread(target=threading.Event().wait, "
            "daemon=True).start()\\nclass X(socketserver.BaseRequestHandler): pass' >x.py; upperd "
            "--check-config --handler ./x.py:X"
        ),
        78,
        ("upperd: handler …/x.py:X: its module starts threads, which a fork would lose: use start_child"),
    ),
    Situation(
        "a handler with a start_child that is no class method",
        (
            "printf 'import socketserver\\nclass X(socketserver.BaseRequestHandler):\\n def start_child(self): "
            "pass' >x.py; upperd --check-config --handler ./x.py:X"
        ),
        78,
        "upperd: handler …/x.py:X: start_child is not a class method (@classmethod)",
    ),
    Situation(
        "a handler with counters that are none",
        (
            "printf 'import socketserver\\nclass X(socketserver.BaseRequestHandler):\\n counters = \"seen\"' "
            ">x.py; upperd --check-config --handler ./x.py:X"
        ),
        78,
        (
            "upperd: handler …/x.py:X: counters is 'seen': it must be a tuple of at most 8 ASCII identifiers "
            "of at most 64 characters"
        ),
    ),
    Situation(
        "a handler with a counter of upperd's own",
        (
            "printf 'import socketserver\\nclass X(socketserver.BaseRequestHandler):\\n counters = "
            '("bytes_in",)\' >x.py; upperd --check-config --handler ./x.py:X'
        ),
        78,
        (
            "upperd: handler …/x.py:X: counters has 'bytes_in': it must be a tuple of at most 8 ASCII "
            "identifiers of at most 64 characters, and none that upperd itself has"
        ),
    ),
    Situation(
        "a handler of connections for datagrams",
        (
            "printf 'import socketserver\\nclass X(socketserver.StreamRequestHandler): pass' >x.py; upperd "
            "--check-config --handler ./x.py:X --datagram d"
        ),
        78,
        "upperd: handler …/x.py:X is a StreamRequestHandler, and --datagram takes datagrams",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A wrong file causes a message with its name, the key, and the cure; status 78."""
    check(row, folder)
