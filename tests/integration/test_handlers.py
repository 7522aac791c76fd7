"""`--handler`: the daemon serves a class of the operator's like its own."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from datagrams import ask, at, sender
from handlers import MODULE, options, write_module
from running import COMMAND, ask_on, run_to_end, running, wait_until
from users import ALICE, BOB, connect_as, needs_root


@pytest.fixture
def module(folder: Path) -> Path:
    """A module with handlers, in a folder of its own."""
    return write_module(folder)


def test_handler_is_served(folder: Path, module: Path) -> None:
    """A handler answers, knows its peer and counts; a child begins once, and ends once if it leaves by itself."""
    notes = module.parent / "notes"
    notes.mkdir()
    with running(folder, *options(module, "Shout", "--spare-children", "1")) as daemon:
        assert daemon.ask(b"hello\nstarted\n") == b"HELLO\n1\n"
        assert daemon.ask(b"started\n") == b"1\n"
        pid = daemon.ask(b"pid\n").decode().strip()
        said = daemon.ask(b"peer\n").decode()
        assert said.strip() == str((os.geteuid(), os.getegid(), os.getpid(), sorted({os.getegid(), *os.getgroups()})))
        assert b"no counter 'others'" in daemon.ask(b"undeclared\n")
        assert (daemon.board.counters, daemon.board.header["lines"]) == (["lines"], 6)
        assert daemon.stop() == 0
        assert (notes / pid).exists()
        assert "lines=6" in daemon.log


def test_file_is_a_handler(folder: Path, module: Path) -> None:
    """A file may be given in place of a module, by a path relative to the folder of the start."""
    with running(folder, "--handler", "code/shout.py:Shout", cwd=folder) as daemon:
        assert daemon.ask(b"hello\n") == b"HELLO\n"


def test_datagrams(folder: Path, module: Path) -> None:
    """A DatagramRequestHandler answers datagrams, and knows their senders."""
    words = options(module, "Backwards", "--no-socket", "--datagram", str(at(folder)))
    command = [*COMMAND, "--scoreboard", str(folder / "scoreboard"), *words]
    with running(folder, command=command), sender(at(folder)) as client:
        assert ask(client, b"abc") == f"cba{os.geteuid()}".encode()


def test_users_are_told_apart(folder: Path, module: Path) -> None:
    """A handler is told the uid, the gid and the groups of the user that has connected."""
    needs_root(folder)
    with running(folder, *options(module, "Shout", "--socket-mode", "0666")) as daemon:
        for uid in (ALICE, BOB):
            [connection] = connect_as(daemon, uid, gid=uid + 10, groups=[7, 8])
            with connection:
                uid_, gid, _, *groups = ask_on(connection, b"peer\n").decode().strip("()\n").split(", ")
            assert (uid_, gid, "".join(groups)) == (str(uid), str(uid + 10), f"[78{uid + 10}]")


MISTAKES = {
    "nix:Shout": "no module nix: name its folder with --python-path",
    "shout.more:Shout": "no module shout.more",
    "shout:Shuot": "shout.py has no Shuot; is it 'Shout'?",
    "shout:function": "function is not a subclass of socketserver.BaseRequestHandler",
    "shout:os": "os is not a subclass",
    "raises:A": "ZeroDivisionError: division by zero at {folder}/raises.py:2",
    "imports:A": "ModuleNotFoundError: No module named 'nowhere' at {folder}/imports.py:1",
    "exits:A": "SystemExit: 5 at {folder}/exits.py:2",
    "syntax:A": "SyntaxError: invalid syntax at {folder}/syntax.py:2",
    "threads:A": "its module starts threads",
    "./nix.py:A": "nix.py: No such file or directory",
}
MODULES = {
    "raises": "x = 0\n1 / x\n",
    "imports": "import nowhere\n",
    "exits": "import sys\nsys.exit(5)\n",
    "syntax": "x = 1\nx = = 2\n",
    "threads": (
        "import threading\nfrom socketserver import BaseRequestHandler as A\n"
        "threading.Thread(target=threading.Event().wait, daemon=True).start()\n"
    ),
}


@pytest.mark.parametrize("reference", MISTAKES)
def test_mistakes_are_named(folder: Path, module: Path, reference: str) -> None:
    """A faulty handler causes one message with its cause, and exit status 78, at a start and at a check."""
    for name, text in MODULES.items():
        (module.parent / f"{name}.py").write_text(text)
    words = ("--handler", reference, "--python-path", str(module.parent), "--socket", str(folder / "upperd.sock"))
    for more in ((), ("--check-config",)):
        status, said = run_to_end(folder, *words, *more)
        assert MISTAKES[reference].format(folder=module.parent) in said
        assert (status, "Traceback" in said, len(said.splitlines()) <= 2) == (78, False, True)
    assert not (folder / "upperd.sock").exists()


@pytest.mark.parametrize(
    ("name", "more", "reason"),
    [
        ("Backwards", (), "is a DatagramRequestHandler, and unix:"),
        ("Shout", ("--datagram", "d.sock"), "is a StreamRequestHandler, and unix-dgram:"),
        ("Greedy", (), "counters has 'bytes_in'"),
    ],
)
def test_handler_that_does_not_fit(folder: Path, module: Path, name: str, more: tuple[str, ...], reason: str) -> None:
    """A handler for the other kind of socket, or with a counter name that is taken, ends the start with status 78."""
    status, said = run_to_end(folder, *options(module, name, "--socket", str(folder / "upperd.sock"), *more))
    assert (status, reason in said) == (78, True)
    assert not (folder / "upperd.sock").exists()


@pytest.mark.parametrize("option", ["shout", "shout:", ":Shout", "shout:1", "sh-out:Shout"])
def test_words_that_are_no_handler(folder: Path, option: str) -> None:
    """A word that cannot name a class is an error of the command line."""
    assert run_to_end(folder, "--handler", option)[0] == 64


def test_reload(folder: Path, module: Path) -> None:
    """A reload that finds the handler's module broken keeps the old settings; new code needs a restart."""
    config = folder / "upperd.toml"
    config.write_text(f'handler = "shout:Shout"\npython-path = ["{module.parent}"]\nmax-children = 5\n')
    with running(folder, "--config", str(config)) as daemon:
        module.write_text("1 / 0\n")
        config.write_text(config.read_text().replace("children = 5", "children = 6"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: "the old settings stay" in daemon.log, "the reload has failed")
        assert f"ZeroDivisionError: division by zero at {module}:1" in daemon.log
        assert (daemon.board.header["max_children"], daemon.ask(b"a\n")) == (5, b"A\n")
        module.write_text(MODULE.replace("upper()", "lower()"))
        daemon.signal(signal.SIGHUP)
        wait_until(lambda: daemon.board.header["max_children"] == 6, "the reload has worked")
        assert daemon.ask(b"Ab\n") == b"AB\n"
