"""Real clients that can half-close, each with a call, a conversation, and 100 MiB of mixed text."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
from talking import LINE, Service, Text, call, client, converse, expect
from tools import path_of

PROGRAMS = Path(__file__).parent / "programs"

TOOLS = {
    "nc": ("nc", "netcat-openbsd", ["-N", "-U"], ""),
    "socat": ("socat", "socat", ["-t", "60", "-"], "UNIX-CONNECT:"),
    "ncat": ("ncat", "ncat", ["-U"], ""),
}
"""The command and its package, its options, and the words before the path. For nc's -N see nc(1): half-close."""
PROGRAM = {
    "python": ([sys.executable], "", "relay.py"),
    "asyncio": ([sys.executable], "", "relay_async.py"),
    "node": (["node"], "nodejs", "relay.mjs"),
    "perl": (["perl"], "perl", "relay.pl"),
    "java": (["java"], "default-jdk-headless", "Relay.java"),
}
COMPILED = {
    "c": (["cc", "-O1", "-Wall", "-Werror"], "gcc libc6-dev", "relay.c"),
    "rust": (["rustc", "-O", "--edition", "2021"], "rustc", "relay.rs"),
}
"""The command that runs or compiles it, the package, the program."""
CLIENTS = [*TOOLS, *PROGRAM, *COMPILED]


@pytest.fixture(scope="session")
def built(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The programs that have been compiled; each is compiled once."""
    return {"": str(tmp_path_factory.mktemp("programs"))}


def command(name: str, mode: str, service: Service, built: dict[str, str]) -> list[str]:
    """The client's command line: `mode` is copy or talk; a tool without modes ignores it."""
    if name in TOOLS:
        tool, package, options, prefix = TOOLS[name]
        return [path_of(tool, package), *options, f"{prefix}{service.path}"]
    if name in PROGRAM:
        (tool, *options), package, program = PROGRAM[name]
        return [path_of(tool, package), *options, str(PROGRAMS / program), mode, service.path]
    if name not in built:
        (tool, *options), package, program = COMPILED[name]
        path = f"{built['']}/{name}"
        subprocess.run([path_of(tool, package), *options, "-o", path, str(PROGRAMS / program)], check=True)
        built[name] = path
    return [built[name], mode, service.path]


@pytest.mark.parametrize("name", CLIENTS)
def test_one_call(name: str, service: Service, built: dict[str, str]) -> None:
    """A real client sends a text, half-closes, and reads its answer to the end: it gets all of it, and no more."""
    text = LINE * 100 + "and the last without a newline, ß"
    assert call(command(name, "copy", service, built), text.encode()) == text.upper().encode()


@pytest.mark.parametrize("name", CLIENTS)
def test_conversation(name: str, service: Service, built: dict[str, str]) -> None:
    """A real client gets the whole answer to each message before it sends the next, all on one connection."""
    with client(command(name, "talk", service, built)) as running:
        converse(running)
        running.end()


@pytest.mark.parametrize("name", CLIENTS)
def test_stream(name: str, service: Service, text: Text, built: dict[str, str]) -> None:
    """A real client streams 100 MiB of mixed text, characters cut anywhere, and gets every byte right."""
    with open(text.path, "rb") as file, client(command(name, "copy", service, built), file) as running:
        expect(running, text)
        running.end()
