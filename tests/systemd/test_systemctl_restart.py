"""`systemctl restart` under clients."""

import hashlib
from pathlib import Path

import pytest
from installed import DEADLINE, SOCKET, Upperd
from machine import wait_until
from questions import asking, wait_for_progress
from upload import Upload

RESTARTS = 20


@pytest.mark.parametrize("kind", ["socket unit", "own socket"])
def test_clients_lose_nothing(upperd: Upperd, kind: str) -> None:
    """Eight clients that come and go while the service is restarted twenty times all get their answers.

    Without a socket unit, too: the listener is in the manager's store meanwhile.
    """
    if kind == "own socket":
        upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    with asking(upperd.machine, [upperd.socket]) as clients:
        for _ in range(RESTARTS):
            upperd.systemctl("restart", "upperd")
            wait_for_progress(clients)


def test_upload_under_way_is_finished(upperd: Upperd) -> None:
    """An upload of tens of megabytes during a restart is answered to its end."""
    upperd.systemctl("start", "upperd")
    old_main = upperd.main_pid()
    with upperd.connect() as connection:
        upload = Upload(connection)
        with upperd.machine.start("systemctl", "restart", "upperd") as restart:
            wait_until(
                lambda: upload.go_on() and upperd.property("SubState") == "stop-sigterm", DEADLINE, "the restart began"
            )
            answer = upload.finish()

    assert answer == Upload.TEXT.upper()
    assert restart.returncode == 0
    assert upperd.main_pid() not in ("0", old_main)


BYTES = 50_000_000
UPLOADS = {
    "nc": f"nc -N -U {SOCKET} </var/tmp/upload >/var/tmp/answer",
    "socat": f"socat -t 30 STDIO UNIX-CONNECT:{SOCKET} </var/tmp/upload >/var/tmp/answer",
}


@pytest.mark.parametrize("client", UPLOADS)
def test_upload_by_other_clients(upperd: Upperd, client: str) -> None:
    """50 MB sent by nc or socat across a restart arrive whole and come back whole."""
    line = b"The quick brown fox jumps over the lazy dog.\n"
    text = line * (BYTES // len(line))
    Path(upperd.machine.path("/var/tmp/upload")).write_bytes(text)
    answer = Path(upperd.machine.path("/var/tmp/answer"))
    answer.write_bytes(b"")
    upperd.systemctl("start", "upperd")
    with upperd.machine.start("sh", "-c", UPLOADS[client]) as upload:
        wait_until(lambda: answer.stat().st_size > 0, DEADLINE, "the answer begins to come")
        upperd.systemctl("restart", "upperd")
        upload.wait(DEADLINE)

    assert upload.returncode == 0
    assert hashlib.sha256(answer.read_bytes()).digest() == hashlib.sha256(text.upper()).digest()


LINES = 14
STREAM = f"for n in $(seq {LINES}); do echo line $n; sleep 1.5; done | upperctl send >/var/tmp/answer"
"""The pause between two lines is long enough for a drain to end the connection."""


@pytest.mark.parametrize("kind", ["socket unit", "own socket"])
def test_stream_goes_on(upperd: Upperd, kind: str) -> None:
    """A slow stream of lines to `upperctl send` survives three restarts: each line is answered once, in order."""
    if kind == "own socket":
        upperd.without_socket_unit()
    upperd.systemctl("start", "upperd")
    answer = Path(upperd.machine.path("/var/tmp/answer"))
    answer.write_bytes(b"")
    with upperd.machine.start("sh", "-c", STREAM) as stream:
        for _ in range(3):
            before = answer.read_bytes().count(b"\n")
            wait_until(lambda before=before: answer.read_bytes().count(b"\n") > before, DEADLINE, "it goes on")
            upperd.systemctl("restart", "upperd")
        stream.wait(DEADLINE)
    assert stream.returncode == 0
    assert answer.read_text() == "".join(f"LINE {number}\n" for number in range(1, LINES + 1))
