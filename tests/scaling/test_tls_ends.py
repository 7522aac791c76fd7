"""TLS termination before the daemon, in HAProxy and in stunnel, by the configurations in docs/."""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from pathlib import Path

import pytest
from asking_load import LARGE
from proxies import DEADLINE, DOCS, Fleet, Proxy, fill_in, free_port, make_certificate, running, wait_until
from tools import need

STUNNEL = (DOCS / "stunnel.conf").read_text()
CHUNK = 100
"""Lines that a client sends before it reads their answer."""
Starter = Callable[[Path], AbstractContextManager[tuple[int, Path]]]
"""Starts what terminates TLS, and yields its port and its certificate."""


class Client:
    """A client that trusts one certificate, and can go on reading after it has announced the end of its data."""

    def __init__(self, port: int, certificate: Path) -> None:
        context = ssl.create_default_context(cafile=str(certificate))
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._tls = context.wrap_bio(self._in, self._out, server_hostname="localhost")
        self._socket = socket.create_connection(("127.0.0.1", port), DEADLINE)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        try:
            self._do(self._tls.do_handshake)
        except BaseException:
            self._socket.close()
            raise

    def _do(self, step: Callable[[], object]) -> object:
        """One step of TLS, with the data that it needs to send and receive."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                self._send()
                if block := self._socket.recv(262_144):
                    self._in.write(block)
                else:
                    self._in.write_eof()
            finally:
                self._send()

    def _send(self) -> None:
        self._socket.sendall(self._out.read())

    def send(self, data: bytes) -> None:
        self._do(lambda: self._tls.write(data))

    def ask(self, text: str) -> str:
        """Send lines, and read as many."""
        data, answer = text.encode(), b""
        self.send(data)
        while answer.count(b"\n") < data.count(b"\n"):
            block = self._do(lambda: self._tls.read(262_144))
            assert isinstance(block, bytes)
            assert block, "the connection has ended"
            answer += block
        return answer.decode()

    def end(self) -> bytes:
        """Announce the end of our data (close_notify), and read to the end."""
        answer = b""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        try:
            while block := self._do(lambda: self._tls.read(262_144)):
                assert isinstance(block, bytes)
                answer += block
        except ssl.SSLZeroReturnError:
            pass
        return answer

    def close(self) -> None:
        self._socket.close()


@contextmanager
def haproxy(place: Path) -> Iterator[tuple[int, Path]]:
    """HAProxy before three daemons: its port for TLS, and its certificate."""
    need("haproxy", "openssl")
    with closing(Fleet(place)) as fleet:
        proxy = Proxy(place, fleet.tcp())
        with proxy.running():
            yield proxy.tls_port, proxy.certificate


@contextmanager
def stunnel(place: Path) -> Iterator[tuple[int, Path]]:
    """Stunnel before one daemon, likewise."""
    need("stunnel", "openssl")
    port, certificate, file = free_port(), make_certificate(place), place / "stunnel.conf"
    text = re.sub("^set.id = .*$", "", STUNNEL, flags=re.MULTILINE) if os.geteuid() != 0 else STUNNEL
    options = ["--socket-mode", "0666"]  # the host that runs the tests need not have the group
    with running(place, *options) as daemon, open(place / "stunnel.log", "wb") as log:
        places = {
            ":::9943": f"127.0.0.1:{port}",
            "/etc/stunnel/upper.pem": str(certificate),
            "/run/upperd/upperd.sock": str(daemon.path),
            **({"upperd": "stunnel4"} if os.geteuid() == 0 else {}),
        }
        file.write_text(fill_in(text, places))
        process = subprocess.Popen(["stunnel", str(file)], stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: _listens(process, port, place / "stunnel.log"), "stunnel listens")
            yield port, certificate
        finally:
            process.kill()
            process.wait()


def _listens(process: subprocess.Popen[bytes], port: int, log: Path) -> bool:
    assert process.poll() is None, log.read_text()
    with socket.socket() as probe:
        return probe.connect_ex(("127.0.0.1", port)) == 0


@pytest.mark.parametrize("proxy", [haproxy, stunnel])
def test_text_by_tls(place: Path, proxy: Starter) -> None:
    """A client that checks the certificate sends 1 MB in lines, and announces its end: all is answered."""
    lines = LARGE.splitlines(keepends=True)
    with proxy(place) as (port, certificate), closing(Client(port, certificate)) as client:
        for start in range(0, len(lines), CHUNK):
            text = "".join(lines[start : start + CHUNK])
            assert client.ask(text) == text.upper()
        client.send(b"and no newline")
        assert client.end() == b"AND NO NEWLINE"


@pytest.mark.parametrize("proxy", [haproxy, stunnel])
def test_no_text_without_tls(place: Path, proxy: Starter) -> None:
    """Unencrypted text to the TLS port reaches no daemon."""
    with proxy(place) as (port, _), socket.create_connection(("127.0.0.1", port), DEADLINE) as client:
        answer = b""
        with contextlib.suppress(OSError):  # it may end the connection at any moment
            client.sendall(b"in the clear\n" * 100)
            client.shutdown(socket.SHUT_WR)
            while block := client.recv(65536):
                answer += block
    assert b"IN THE CLEAR" not in answer
