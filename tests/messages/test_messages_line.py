"""The messages of upperd about its command line."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "standard output is closed",
        "upperd --help >&-",
        74,
        "upperd: cannot write to standard output: it is closed",
    ),
    Situation(
        "an option is misspelt",
        "upperd --sockett x",
        64,
        "upperd: no option '--sockett'; is it '--socket'?",
    ),
    Situation(
        "a word that is no option",
        "upperd start",
        64,
        "upperd: no option 'start'",
    ),
    Situation(
        "the value of an option is missing",
        "upperd --socket",
        64,
        "upperd: --socket needs a value: PATH",
    ),
    Situation(
        "the value of an option is another option",
        "upperd --socket --no-fallback",
        64,
        "upperd: --socket needs a value: PATH",
    ),
    Situation(
        "the value of an option is empty",
        "upperd --socket=",
        64,
        "upperd: --socket is empty: leave it out for its default",
    ),
    Situation(
        "a value for an option that takes none",
        "upperd --no-fallback=yes",
        64,
        "upperd: --no-fallback takes no value",
    ),
    Situation(
        "a number that is none",
        "upperd --max-children many",
        64,
        "upperd: max-children is 'many': it must be a whole number from 1 to 4096",
    ),
    Situation(
        "a number out of its range",
        "upperd --max-children 5000",
        64,
        "upperd: max-children is 5000: it must be a whole number from 1 to 4096",
    ),
    Situation(
        "a time that is negative",
        "upperd --idle-timeout=-1",
        64,
        ("upperd: idle-timeout is -1.0: it must be a time from 0 to 31622400 seconds, such as 30, 500ms or 2min"),
    ),
    Situation(
        "a level of the log that there is not",
        "upperd --log-level loud",
        64,
        "upperd: log-level is 'loud': it must be one of error, warning, info, debug",
    ),
    Situation(
        "permissions that are not octal",
        "upperd --socket-mode 689",
        64,
        "upperd: socket-mode is '689': it must be octal, such as 0660",
    ),
    Situation(
        "a value with a line break",
        "upperd --scoreboard 'a\nb'",
        64,
        "upperd: scoreboard is 'a\\nb': it must be text of one line",
    ),
    Situation(
        "a name with a slash",
        "upperd --name a/b",
        64,
        (
            "upperd: name is 'a/b': it must be PROGRAM or PROGRAM@INSTANCE of letters, digits and -_., "
            "at most 48 characters"
        ),
    ),
    Situation(
        "an address without a port",
        "upperd --tcp localhost",
        64,
        "upperd: tcp is 'localhost': it must be HOST:PORT, such as localhost:9999 or [::1]:9999",
    ),
    Situation(
        "an abstract socket without a name",
        "upperd --socket @",
        64,
        ("upperd: socket: an abstract socket needs a name, such as @upperd; write a path that begins with @ as ./@..."),
    ),
    Situation(
        "an abstract socket whose name is too long",
        "upperd --socket @$(printf %0200d 0)",
        64,
        (
            "upperd: socket: the name of an abstract socket has 200 bytes, and may have at most 107; write a path "
            "that begins with @ as ./@..."
        ),
    ),
    Situation(
        "a user that this host has not",
        "upperd --allow-user nobody-here",
        64,
        "upperd: allow-user: no user 'nobody-here' on this host",
    ),
    Situation(
        "a group that this host has not",
        "upperd --allow-group nobody-here",
        64,
        "upperd: allow-group: no group 'nobody-here' on this host",
    ),
    Situation(
        "a uid above the highest",
        "upperd --deny-user 4294967295",
        64,
        "upperd: deny-user: '4294967295' is not a user: the highest number is 4294967294",
    ),
    Situation(
        "a user both allowed and denied",
        "upperd --allow-user root --deny-user 0",
        64,
        "upperd: allow-user and deny-user both name user 0: choose one",
    ),
    Situation(
        "a handler without a class",
        "upperd --handler shout",
        64,
        ("upperd: handler is 'shout': it must be MODULE:CLASS or FILE:CLASS, such as shout:Shout or ./shout.py:Shout"),
    ),
    Situation(
        "a handler whose module is no name",
        "upperd --handler shout-it.py:Shout",
        64,
        ("upperd: handler: 'shout-it.py' is not a module name; name a file by its path: ./shout-it.py:Shout"),
    ),
    Situation(
        "a folder of Python that there is not",
        "upperd --python-path none",
        64,
        "upperd: python-path: 'none' is not a folder",
    ),
    Situation(
        "a folder of Python with a colon",
        "upperd --python-path a:b",
        64,
        "upperd: python-path: 'a:b': a folder in Python's path cannot have ':' in its name",
    ),
    Situation(
        "neither a path nor another listener",
        "upperd --no-socket",
        64,
        (
            "upperd: --no-socket needs --tcp HOST:PORT, --udp HOST:PORT or --datagram PATH: there is nothing "
            "else to listen on"
        ),
    ),
    Situation(
        "a path, and none",
        "upperd --no-socket --socket s",
        64,
        "upperd: --no-socket and --socket exclude each other",
    ),
    Situation(
        "other hosts let in to no address",
        "upperd --tcp-allow-remote",
        64,
        "upperd: --tcp-allow-remote needs --tcp HOST:PORT or --udp HOST:PORT: it applies only to these",
    ),
    Situation(
        "permissions for an abstract socket",
        "upperd --socket @x --socket-mode 0600",
        64,
        (
            "upperd: socket-mode is for a path, and @x is an abstract socket, which has no permissions: "
            "use --allow-user and --allow-group instead"
        ),
    ),
    Situation(
        "two files with one name",
        "upperd --socket s --pid-file s",
        64,
        "upperd: pid-file and socket are the same file, 's': choose another",
    ),
    Situation(
        "a reload of a process that there is not",
        "upperd --reload 4194304",
        64,
        "upperd: reload is 4194304: No such process",
    ),
    Situation(
        "a number in hexadecimal, for a descriptor",
        "upperd --ready-fd 0x5",
        64,
        "upperd: ready-fd is '0x5': it must be a whole number from 3 to 1048575",
    ),
    Situation(
        "a descriptor for readiness that is not open",
        "upperd --ready-fd 77",
        64,
        (
            "upperd: ready-fd is 77: it is not open: the supervisor must open it (s6: write 77 "
            "to the file notification-fd)"
        ),
    ),
    Situation(
        "a descriptor for readiness that cannot be written",
        "upperd --ready-fd 7 7</dev/null",
        64,
        "upperd: ready-fd is 7: it is open, but not for writing",
    ),
    Situation(
        "a file for options that there is not",
        "upperd --config none.toml",
        78,
        ("upperd: none.toml: No such file or directory: correct the name, or create the file (it may be empty)"),
    ),
    Situation(
        "a check of flags that are right",
        "upperd --check-config --socket s",
        0,
        "upperd: the command line is valid",
    ),
    Situation(
        "into the background under systemd",
        "INVOCATION_ID=x upperd --daemonize",
        64,
        ("upperd: INVOCATION_ID is set, so systemd supervises this process: use Type=notify without --daemonize"),
    ),
    Situation(
        "into the background under a supervisor",
        "upperd --daemonize --ready-fd 7 7>x",
        64,
        "upperd: --ready-fd is for a supervisor, which needs upperd in the foreground: leave out --daemonize",
    ),
    Situation(
        "a file for options that the user may not read",
        "echo >c; chown 61001 c; chmod 600 c; powerless upperd --check-config --config c",
        78,
        "upperd: c: Permission denied: uid 0 must be able to read it",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A wrong command line of upperd causes a message with the fault and the cure; status 64."""
    check(row, folder)
