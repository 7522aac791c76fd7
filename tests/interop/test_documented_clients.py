"""The examples of docs/clients.md, unchanged: compiled, run, and compared."""

from __future__ import annotations

import contextlib
import os
import re
import shlex
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from running import DEADLINE
from talking import LINE, Service
from tools import path_of

DOCUMENT = (Path(__file__).parents[2] / "docs" / "clients.md").read_text()
PACKAGES = {
    "cc": "gcc libc6-dev", "node": "nodejs", "java": "default-jdk-headless", "socat": "socat", "rustc": "rustc",
}  # fmt: skip


class Example(NamedTuple):
    """One fenced block of code, whose first line is the command that runs it."""

    language: str
    code: str
    build: str
    run: str
    file: str


def _examples() -> Iterator[Example]:
    for language, code in re.findall(r"^```(\w+)\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE):
        command = code.splitlines()[0]
        found = re.fullmatch(r"(?:#|//) (?:(.*) && )?(\S.*) (?:PATH|HOST PORT) < text", command)
        assert found is not None, command
        build, run = found[1] or "", found[2]
        [file] = [word for word in shlex.split(f"{build} {run}") if re.fullmatch(r"\w+\.\w+", word)]
        yield Example(language, code, build, run, file)


EXAMPLES = {example.file: example for example in _examples()}
Run = Callable[[bytes, Service], "subprocess.CompletedProcess[bytes]"]
"""Runs the example with this text and this daemon."""


@pytest.fixture(scope="session", params=EXAMPLES)
def run(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Run:
    """An example, in a folder of its own, built."""
    example = EXAMPLES[request.param]
    folder = tmp_path_factory.mktemp("example")
    (folder / example.file).write_text(example.code)
    tools = [shlex.split(example.build or example.run)[0], *(["socat"] if "\nsocat" in example.code else [])]
    for tool in tools:
        path_of(tool, PACKAGES.get(tool, tool))
    environ = {**os.environ, "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}"}
    if example.build:
        subprocess.run(["sh", "-c", example.build], cwd=folder, env=environ, check=True)

    def run(text: bytes, service: Service) -> subprocess.CompletedProcess[bytes]:
        address = ["127.0.0.1", str(service.port)] if "HOST PORT" in example.code else [service.path]
        return _run(["sh", "-c", f'{example.run} "$@"', "sh", *address], text, cwd=folder, env=environ)

    return run


def _run(command: list[str], text: bytes, **popen: Any) -> subprocess.CompletedProcess[bytes]:
    """As subprocess.run(); an example that hangs is killed with all its processes, and fails."""
    pipes = dict.fromkeys(("stdin", "stdout", "stderr"), subprocess.PIPE)
    with subprocess.Popen(command, **pipes, start_new_session=True, **popen) as process:
        try:
            output, errors = process.communicate(text, DEADLINE)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.communicate()
            pytest.fail(f"it hangs: nothing within {DEADLINE:g} s", pytrace=False)
    return subprocess.CompletedProcess(command, process.returncode, output, errors)


def test_languages() -> None:
    """There are examples for seven languages, none of them longer than 40 lines."""
    assert {example.language for example in EXAMPLES.values()} == {"python", "c", "js", "perl", "java", "rust", "bash"}
    assert [name for name, example in EXAMPLES.items() if len(example.code.splitlines()) > 40] == []


@pytest.mark.parametrize("text", ["", f"{LINE}\n\nzero \0, and no newline: ß"], ids=["empty", "lines"])
def test_example_prints_the_answer(run: Run, service: Service, text: str) -> None:
    """An example prints the answer to its text and nothing else, and to an empty text nothing."""
    done = run(text.encode(), service)
    assert (done.stdout, done.stderr, done.returncode) == (text.upper().encode(), b"", 0)


def test_example_sends_five_megabytes(run: Run, service: Service) -> None:
    """An example exchanges 5 MB, much more than the kernel holds for it, and does not block for ever."""
    text = LINE * (5_000_000 // len(LINE.encode()) + 1)
    done = run(text.encode(), service)
    assert done.stdout == text.upper().encode()
    assert (done.stderr, done.returncode) == (b"", 0)


def test_example_names_a_missing_daemon(run: Run, folder: Path) -> None:
    """An example says in a line which daemon does not run, and ends with a status that is not 0."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = probe.getsockname()[1]
    done = run(b"text", Service(str(folder / "nobody"), port))
    said = _error(done)
    assert "nobody" in said or f"/{port}" in said
    assert re.search("No such file|ENOENT|no socket at|refused", said)


def _error(done: subprocess.CompletedProcess[bytes]) -> str:
    """Check that it failed: no result, a line or two, and a status that is no signal's; 255 is Perl's `die`."""
    said = done.stderr.decode()
    assert done.stdout == b""
    assert 1 <= len(said.splitlines()) <= 2, said
    assert done.returncode in {*range(1, 126), 255}
    return said


def _answer_one_line_less(connection: socket.socket) -> None:
    """Read a text of three lines, answer two of them, and close as if that were all."""
    received = b""
    while received.count(b"\n") < 3 and (block := connection.recv(65536)):
        received += block
    connection.sendall(b"ONE\nTWO\n")


def _refuse(connection: socket.socket) -> None:
    """Close at once, as the daemon does with clients that its rules refuse."""


@contextlib.contextmanager
def _impostor(folder: Path, serve: Callable[[socket.socket], None]) -> Iterator[Service]:
    """A daemon, on a Unix socket and on TCP, that gives each connection this treatment, and closes it."""
    path = str(folder / "impostor.sock")
    listeners = [socket.create_server(("127.0.0.1", 0)), socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)]
    listeners[1].bind(path)
    listeners[1].listen()

    def serve_all(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):  # the listener is shut down
            while True:
                with listener.accept()[0] as connection:
                    serve(connection)

    threads = [threading.Thread(target=serve_all, args=(listener,)) for listener in listeners]
    for thread in threads:
        thread.start()
    try:
        yield Service(path, listeners[0].getsockname()[1])
    finally:
        for listener, thread in zip(listeners, threads, strict=True):
            listener.shutdown(socket.SHUT_RDWR)
            thread.join(DEADLINE)
            listener.close()


@pytest.mark.parametrize("serve", [_answer_one_line_less, _refuse], ids=["short", "none"])
def test_example_fails_on_a_short_answer(run: Run, folder: Path, serve: Callable[[socket.socket], None]) -> None:
    """An example prints no part of an answer that ends early, but an error, and fails."""
    text = b"one\ntwo\nthree" if serve is _answer_one_line_less else LINE.encode() * 50_000
    with _impostor(folder, serve) as service:
        _error(run(text, service))
