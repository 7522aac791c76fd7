"""One handler, two models of concurrency: docs/threading.md, run as printed."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import IO, NamedTuple

import pytest
from running import DEADLINE, ask_on, free_port, read_exactly, wait_until
from talking import LINE

DOCUMENT = (Path(__file__).parents[2] / "docs" / "threading.md").read_text()
PREFORKING, CHANGED = re.findall(r"^```python\n(.*?)^```$", DOCUMENT, re.DOTALL | re.MULTILINE)
THREADING = re.sub(r"^class Server.*\n", CHANGED, PREFORKING, flags=re.MULTILINE)
CODES = {"threads": THREADING, "processes": PREFORKING}


class Server(NamedTuple):
    """The page's server, in a process of its own."""

    process: subprocess.Popen[bytes]
    address: str | tuple[str, int]
    log: IO[bytes]

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX if isinstance(self.address, str) else socket.AF_INET)
        try:
            client.connect(self.address)  # without a time-out: it waits if a stock backlog, of 5, is full
        except OSError:
            client.close()
            raise
        client.settimeout(DEADLINE)
        return client

    def accepts(self) -> bool:
        try:
            self.connect().close()
        except OSError:
            return False
        return True

    def errors(self) -> bytes:
        self.log.seek(0)
        return self.log.read()

    def threads(self) -> int:
        return len(os.listdir(f"/proc/{self.process.pid}/task"))

    def count(self) -> tuple[int, int]:
        """The number of its threads, and of its children."""
        tasks = list(Path(f"/proc/{self.process.pid}/task").iterdir())
        return len(tasks), sum(len((task / "children").read_text().split()) for task in tasks)


@contextlib.contextmanager
def serving(code: str, folder: Path, is_tcp: bool = False) -> Iterator[Server]:
    address: str | tuple[str, int] = str(folder / "upper.sock")
    code = code.replace("/tmp/upper.sock", str(address))
    if is_tcp:
        address = ("127.0.0.1", free_port())
        code = code.replace("UnixStreamServer", "TCPServer").replace(f'"{folder}/upper.sock"', repr(address))
    with open(folder / "log", "w+b") as log, subprocess.Popen([sys.executable, "-c", code], stderr=log) as process:
        server = Server(process, address, log)
        try:
            wait_until(server.accepts, "the server listens")
            wait_until(lambda: server.threads() == 1, "the thread that served that connection ends")
            yield server
        finally:
            process.kill()


@pytest.fixture(params=CODES)
def server(request: pytest.FixtureRequest, folder: Path) -> Iterator[Server]:
    with serving(CODES[request.param], folder) as server:
        yield server


def test_one_line_differs() -> None:
    """The threaded server and the preforking one differ in one line."""
    pairs = zip(THREADING.splitlines(), PREFORKING.splitlines(), strict=True)
    assert [one.partition("(")[0] for one, other in pairs if one != other] == ["class Server"]


def test_thread_or_process_for_each_connection(folder: Path) -> None:
    """Eight clients that stay are served by eight threads of one process, or by eight processes, as the class says."""
    counts = {}
    for kind, code in CODES.items():
        (folder / kind).mkdir()
        with serving(code, folder / kind) as server, contextlib.ExitStack() as stack:
            for _ in range(8):
                client = stack.enter_context(server.connect())
                client.sendall("é".encode())
                assert client.recv(16) == "É".encode()
            counts[kind] = server.count()
    assert counts["threads"] == (9, 0)
    assert counts["processes"][0] == 1
    assert counts["processes"][1] >= 8


@pytest.mark.parametrize("is_tcp", [False, True], ids=["unix", "tcp"])
@pytest.mark.parametrize("kind", CODES)
def test_many_streams_at_once(folder: Path, kind: str, is_tcp: bool) -> None:
    """Eight clients that stream different texts at one time each get their own answer, every byte, by either model."""
    with serving(CODES[kind], folder, is_tcp) as server:
        right = [False] * 8

        def stream(number: int) -> None:
            block = f"client {number} ".encode() + LINE.encode() * 50
            with server.connect() as client:
                for at in range(100):  # cut in two, at a different place each time
                    client.sendall(block[: at * 7])
                    client.sendall(block[at * 7 :])
                    expected = block.decode().upper().encode()
                    if read_exactly(client, len(expected)) != expected:
                        return
                right[number] = ask_on(client, b"end\xff\xc3") == b"END\xff\xc3"

        threads = [threading.Thread(target=stream, args=(number,)) for number in range(8)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(2 * DEADLINE)
        assert right == [True] * 8


def test_client_that_goes_away_disturbs_nobody(server: Server) -> None:
    """A client that leaves in the middle of its answer ends neither the server nor another's connection.

    The class decides what is printed: both, like the stock one, name the exception that the handler had.
    """
    with server.connect() as staying:
        staying.sendall(b"one")
        assert staying.recv(16) == b"ONE"
        for _ in range(5):
            with server.connect() as leaving:
                leaving.sendall(LINE.encode() * 1000)
                assert leaving.recv(1) == b"H"
        staying.sendall(b"two")
        assert staying.recv(16) == b"TWO"
    with server.connect() as client:
        assert ask_on(client, b"three") == b"THREE"
    assert server.process.poll() is None
    said = re.findall(rb"^(\w+(?:Error|Exception))\b", server.errors(), re.MULTILINE)
    assert set(said) <= {b"BrokenPipeError", b"ConnectionResetError"}
