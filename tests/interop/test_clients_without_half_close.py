"""Clients that cannot half-close: they end with a newline and count newlines."""

from __future__ import annotations

from pathlib import Path

import pytest
from talking import LINE, MESSAGES, Service, Text, call, client, converse, expect, feeding
from tools import path_of

BASH = str(Path(__file__).parent / "programs" / "relay.bash")


def bash(mode: str, service: Service, lines: int = 0) -> list[str]:
    return [path_of("bash", "bash"), BASH, mode, str(service.port), str(lines)]


CURLS = {"tcp": "telnet://127.0.0.1:{port}", "unix": "--unix-socket {path} telnet://localhost"}


def curl(kind: str, service: Service) -> list[str]:
    """-N: print output as it arrives."""
    return [path_of("curl", "curl"), "-sSN", *CURLS[kind].format_map(service._asdict()).split(" ")]


def test_bash_one_call(service: Service) -> None:
    """A bash script gets all of its text back through /dev/tcp, by `cat` and `head -n`, when it counts newlines."""
    text = LINE * 1000
    assert call(bash("copy", service, 1000), text.encode()) == text.upper().encode()


def test_bash_conversation(service: Service) -> None:
    """A bash script has each line answered before it sends the next, with `printf`, `read` and nothing else."""
    with client(bash("talk", service)) as running:
        converse(running)
        running.end()


def test_bash_stream(service: Service, text: Text) -> None:
    """A bash script streams 100 MiB through /dev/tcp, moved by `cat` and `head -n`, and every byte is right."""
    with open(text.path, "rb") as file, client(bash("copy", service, text.lines), file) as running:
        expect(running, text)
        running.end()


def test_bash_alone_stream(service: Service) -> None:
    """Bash alone streams 256 KiB and no more, since its `read` asks the kernel for every single byte."""
    lines = (256 << 10) // len(LINE.encode()) + 1
    text = LINE * lines
    assert call(bash("read", service, lines), text.encode()) == text.upper().encode()


@pytest.mark.parametrize("kind", CURLS)
def test_curl_one_call(kind: str, service: Service) -> None:
    """curl sends its input and prints the whole answer, by `telnet://`, on TCP and with `--unix-socket`.

    At the end of its input it neither half-closes nor leaves, so its caller counts newlines, and ends it.
    """
    text = LINE * 100
    with client(curl(kind, service)) as running:
        running.send(text.encode())
        running.end_input()
        assert running.read_lines(100) == text.upper().encode()


@pytest.mark.parametrize("kind", CURLS)
def test_curl_conversation(kind: str, service: Service) -> None:
    """curl has each message answered before the next is sent.

    It looks for an answer for 0.1 s, and once for each piece of input. It prints an answer that is late, or comes
    in pieces, when there is more to send. So it gets an empty line for each second without an answer.
    """
    with client(curl(kind, service)) as running:
        for message in MESSAGES:
            running.send(message.encode())
            expected, answer = message.upper().encode(), b""
            while len(answer) < len(expected):
                if running.can_read(1):
                    block = running.read(len(expected) - len(answer))
                    assert block != b"", running.errors
                    answer += block
                else:
                    running.send(b"\n")
                    expected += b"\n"
                    assert len(expected) < 10000
            assert answer == expected


@pytest.mark.parametrize("kind", CURLS)
def test_curl_stream(kind: str, service: Service, text: Text) -> None:
    """curl streams 100 MiB from a pipe, and every byte is right, if the answer is not much longer than the text.

    If it is, curl waits for ever: it does not read while it waits to send. And a byte 0xFF, which is not UTF-8, is
    a command of TELNET to curl.
    """
    with client(curl(kind, service)) as running, feeding(running, text):
        expect(running, text)
