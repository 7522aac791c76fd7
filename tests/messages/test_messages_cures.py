"""The cure in a message works when it is typed where the message is printed."""

import re
from pathlib import Path

import pytest
from situations import run

SHOUT = "printf 'import socketserver\\nclass Shout(socketserver.StreamRequestHandler): pass\\n' >x.py; "
CURES = {
    "a text that begins with a dash": (
        "upperctl --socket s send -x",
        r"text that begins with a dash goes after --: upperctl (send -- -x)",
        "serve; upperctl --socket s CURE",
        "-X",
    ),
    "a text in place of a command": (
        "upperctl --socket s 'a b'",
        r"to send text: upperctl (send 'a b')",
        "serve; upperctl --socket s CURE",
        "A B",
    ),
    "an option of another command": (
        "upperctl --socket s status --prometheus",
        r"--prometheus is no option of status: upperctl (stats --prometheus)",
        "serve; upperctl --socket s CURE",
        "upperd_up",
    ),
    "an option before its command": (
        "upperctl --socket s --once top",
        r"--once comes after the command: upperctl (top --once)",
        "serve; upperctl --socket s CURE",
        "upperd",
    ),
    "an option that is misspelt": (
        "upperd --scket s --check-config",
        r"is it '(--socket)'\?",
        "upperd CURE s --check-config",
        "the command line is valid",
    ),
    "a handler's file named as a module": (
        f"{SHOUT} upperd --check-config --handler x.py:Shout",
        r"name a file by its path: (\./x\.py:Shout)",
        "upperd --check-config --handler CURE",
        "the command line is valid",
    ),
    "a class that is misspelt": (
        f"{SHOUT} upperd --check-config --handler ./x.py:Shuot",
        r"is it '(Shout)'\?",
        "upperd --check-config --handler ./x.py:CURE",
        "the command line is valid",
    ),
    "a module in another folder": (
        f"mkdir d; cd d; {SHOUT} cd ..; upperd --check-config --handler x:Shout",
        r"name its folder with (--python-path)",
        "upperd --check-config --handler x:Shout CURE d",
        "the command line is valid",
    ),
    "a folder that is missing": (
        "upperd --socket d/s --no-fallback",
        r"make the folder (d) first",
        "mkdir CURE; cd CURE; serve; upperctl --socket s send x",
        "X",
    ),
    "a lock that is a link": (
        "ln -s x s.lock; upperd --socket s --no-fallback",
        r"its lock (s\.lock) is a symbolic link: remove it",
        "rm CURE; serve; upperctl --socket s send x",
        "X",
    ),
    "a value in the file that is empty": (
        "echo 'scoreboard = \"\"' >c; upperd --check-config --config c",
        r"(scoreboard) is empty: leave it out for its default",
        "grep -v CURE c >d; upperd --check-config --config d",
        "d is valid",
    ),
    "no daemon at a path": (
        "upperctl --socket s send x",
        r"(?:start upperd \(|no socket at s.*?)(upperd --socket s)\b",
        "CURE --no-fallback --ready-fd 6 6>ready 2>log & daemon=$!; logged ' ready: '; upperctl --socket s send x",
        "X",
    ),
}
"""By situation: a command, the cure in its message, the command with the cure, and a part of the resulting output."""


@pytest.mark.parametrize("name", CURES)
def test_cure_works(name: str, folder: Path) -> None:
    """The cure in the message, applied literally, has the desired effect."""
    command, pattern, typed, wanted = CURES[name]
    _, answer = run(command, folder)
    found = re.search(pattern, answer)
    assert found is not None, answer
    for left in folder.glob("s*"):
        if left.suffix != ".lock":
            left.unlink()
    status, answer = run(typed.replace("CURE", found[1]), folder)
    assert wanted in answer
    assert status == 0, answer
