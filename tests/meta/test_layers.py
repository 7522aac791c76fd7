"""Imports go one way, the process that forks stays lean, and the program stays small."""

import ast
import json
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import sdnotify

import upperd

PACKAGE = Path(upperd.__file__).parent
MAY_IMPORT = {
    "": {"base"},
    "upper": set(),
    "server": set(),
    "base": set(),
    "client": {"base"},
    "service": {"server", "base"},
    "ctl": {"client", "base", "server"},
}
"""For each package: the other packages of ours that it may import. All may import `upperd` itself, for the version."""
LOOSE = {"__init__", "demo"}
"""The modules outside of any package."""
READER = {"server.layout", "server.snapshot"}
"""The parts of the server that `upperctl` may import: the reader of the scoreboard."""


def _module(path: Path) -> str:
    """The name of a file's module, within the package: ctl, ctl.send."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts if len(parts) == 1 or parts[-1] != "__init__" else parts[:-1])


MODULES = {_module(path): path for path in sorted(PACKAGE.rglob("*.py"))}


def _imports(path: Path) -> set[str]:
    """The modules of the package that a file imports, anywhere in it."""
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.ImportFrom) and f"{node.module}.".startswith("upperd."):
            origin = str(node.module).removeprefix("upperd").removeprefix(".")
            names = {f"{origin}.{alias.name}".removeprefix(".") for alias in node.names}
            found |= {name if name in MODULES else origin or "__init__" for name in names}
        elif isinstance(node, ast.Import):
            names = {alias.name for alias in node.names if alias.name.startswith("upperd.")}
            found |= {name.removeprefix("upperd.") for name in names}
    return found


def _package(module: str) -> str:
    """The package of a module; empty for a loose module, or the package `upperd` itself."""
    return module.partition(".")[0] if "." in module or module in MAY_IMPORT else ""


MOST_LINES, MOST_LINES_OF_A_FILE, MOST_LINES_OF_A_CLASS, MOST_METHODS = 13043, 300, 200, 15


@pytest.mark.parametrize("module", MODULES)
def test_a_file_can_be_read_in_one_sitting(module: str) -> None:
    """A file has at most 300 lines, a class at most 200 and 15 methods, not counting properties and special methods."""
    text = MODULES[module].read_text()
    assert len(text.splitlines()) <= MOST_LINES_OF_A_FILE
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.ClassDef):
            assert (node.end_lineno or 0) - node.lineno < MOST_LINES_OF_A_CLASS, node.name
            assert len(_methods(node)) <= MOST_METHODS, node.name


def _methods(node: ast.ClassDef) -> list[str]:
    functions = [part for part in node.body if isinstance(part, ast.FunctionDef)]
    plain = [part for part in functions if not any("property" in ast.unparse(mark) for mark in part.decorator_list)]
    return [part.name for part in plain if not part.name.startswith("__")]


def test_the_program_is_small() -> None:
    """The program does not grow unnoticed."""
    assert sum(len(path.read_text().splitlines()) for path in MODULES.values()) <= MOST_LINES


def test_every_rule_of_imports_is_needed() -> None:
    """A package imports every package that the table lets it import, so the table describes the facts."""
    used: dict[str, set[str]] = {package: set() for package in MAY_IMPORT}
    for module, path in MODULES.items():
        used[_package(module)] |= {_package(name) for name in _imports(path)} - {_package(module), ""}
    assert used == MAY_IMPORT


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_one_way(module: str) -> None:
    """A package imports only what the table lets it import, and every module lies in a package."""
    package = _package(module)
    assert package in MAY_IMPORT
    assert package or module in LOOSE
    others = {name for name in _imports(MODULES[module]) if _package(name) not in (package, "")}
    assert {name for name in others if _package(name) not in MAY_IMPORT[package]} == set()
    if package == "ctl":
        assert {name for name in others if _package(name) == "server"} <= READER


PROBE = """
import os, sys
sys.path[:0] = sys.argv[1:]
registered = []
os.register_at_fork = lambda **hooks: registered.append(hooks)
from upperd.service import lean
lean.import_without_fork_hooks()
import threading, upperd.service.daemon
modules = sorted(sys.modules)
import json
print(json.dumps([modules, len(registered), threading.active_count()]))
"""


HEAVY = {
    *("argparse", "asyncio", "contextlib", "ctypes", "dataclasses", "datetime", "getopt", "inspect", "json", "logging"),
    *("multiprocessing", "pathlib", "pickle", "random", "re", "shutil", "subprocess", "tempfile", "textwrap"),
    *("tomllib", "traceback", "typing", "urllib", "uuid"),
    *("daemon", "psutil"),
    *(f"upperd.service.{name}" for name in ("options", "kinds", "cli", "manager", "recheck", "inetd")),
    *(f"upperd.service.{name}" for name in ("single", "daemonize", "datagram")),
    *("upperd.client", "upperd.ctl", "upperd.demo"),
}
"""Modules that would slow each fork, and that a daemon of streams never uses: of others, and ours."""


def test_parent_is_lean() -> None:
    """The parent imports none of the heavy modules, registers no hook to run after a fork, and has one thread."""
    folders = [str(PACKAGE.parent), str(Path(str(sdnotify.__file__)).parents[1])]
    command = [sys.executable, "-I", "-S", "-c", PROBE, *folders]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    modules, hooks, threads = json.loads(done.stdout)
    assert HEAVY & set(modules) == set()
    assert (hooks, threads) == (0, 1)


SEND = """
import sys
before = set(sys.modules)
sys.path[:0] = sys.argv[1:2]
from upperd.ctl import main as ctl
sys.argv[1:] = sys.argv[2:]
try:
    status = ctl.main()
finally:
    print(sorted(set(sys.modules) - before))
"""
LEAN_SEND = {
    *("__future__", "_socket", "errno"),  # and os:
    *("os", "stat", "_stat", "posixpath", "os.path", "genericpath", "_collections_abc"),
    *("upperd", "upperd.base", "upperd.base.streams", "upperd.base.paths"),
    *("upperd.client", "upperd.client.finding", "upperd.client.client", "upperd.client.patience"),
    *("upperd.ctl", "upperd.ctl.main", "upperd.ctl.send", "upperd.ctl.output"),
}
"""All imports of `upperctl send TEXT`, whose run time is mostly the start of an interpreter."""


@pytest.mark.parametrize("words", [["--socket", "SOCKET", "send", "x", "y"], ["send", "--socket", "SOCKET", "x"]])
def test_sending_words_is_lean(tmp_path: Path, words: list[str]) -> None:
    """`upperctl send TEXT` imports only what it needs: no parser of options, no `socket`, no `signal`."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "s"))
        listener.listen()
        listener.settimeout(60)
        words = [str(tmp_path / "s") if word == "SOCKET" else word for word in words]
        command = [sys.executable, "-IS", "-c", SEND, str(PACKAGE.parent), *words]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            with listener.accept()[0] as connection:
                connection.sendall(connection.recv(100).upper())
            printed = process.communicate(timeout=60)[0]
    answer, modules = printed.splitlines()
    assert answer == " ".join(word for word in words if len(word) == 1).upper()
    assert set(ast.literal_eval(modules)) <= LEAN_SEND


LAUNCH = """
import sys
before = set(sys.modules)
sys.path[:0] = sys.argv[1:3]
from upperd.service import cli
import os
def become(program, words):
    print(sorted(set(sys.modules) - before))
    sys.exit(0)
os.execv = become
sys.argv[1:] = sys.argv[3:]
sys.exit(cli.main())
"""
LEAN_LAUNCH = {
    *("__future__", "errno"),  # and os:
    *("os", "stat", "_stat", "posixpath", "os.path", "genericpath", "_collections_abc"),
    *("upperd", "upperd.base", "upperd.base.paths", "upperd.base.streams", "upperd.service", "upperd.service.cli"),
    "upperd.service.flags",
    *("upperd.service.kinds", "upperd.service.manager", "upperd.service.options"),
    *("upperd.service.settings", "upperd.service.subuids"),
}
"""All imports of the launcher before it becomes the parent, and, if users have subordinate uids, `pwd`."""


@pytest.mark.parametrize(
    "words",
    [
        pytest.param([], id="nothing said"),
        pytest.param(["--no-fallback", "--store-listeners", "--max-children", "5", "--tcp=localhost:1"], id="flags"),
    ],
)
def test_launching_is_lean(words: list[str]) -> None:
    """The launcher of an ordinary start imports only what it needs: no argparse, no `re`, no `socket`."""
    folders = [str(PACKAGE.parent), str(Path(str(sdnotify.__file__)).parents[1])]
    command = [sys.executable, "-IS", "-c", LAUNCH, *folders, *words]
    environment = {"NOTIFY_SOCKET": "/none", "LISTEN_FDS": "1", "LISTEN_PID": "1"}
    done = subprocess.run(command, env=environment, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    assert set(ast.literal_eval(done.stdout)) <= LEAN_LAUNCH | {"pwd"}
