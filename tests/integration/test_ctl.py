"""upperctl against a real daemon."""

import json
import os
import socket
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from running import Daemon

CTL = [sys.executable, "-m", "upperd.ctl.main"]


def ctl(*arguments: str, data: bytes | None = None, **more: object) -> tuple[int, str, str]:
    """Run upperctl; return its exit status, standard output and standard error."""
    done = subprocess.run([*CTL, *arguments], input=data, capture_output=True, timeout=60, **more)  # type: ignore[call-overload]
    return done.returncode, done.stdout.decode(), done.stderr.decode()


def test_send_words(daemon: Daemon) -> None:
    """send prints its words in upper case."""
    assert ctl("send", "--socket", str(daemon.path), "hello", "straße") == (0, "HELLO STRASSE\n", "")


def test_send_standard_input(daemon: Daemon) -> None:
    """send without words sends standard input, and adds no newline."""
    assert ctl("--socket", str(daemon.path), "send", data=b"a\nb") == (0, "A\nB", "")


def test_send_file_of_any_size(daemon: Daemon, folder: Path) -> None:
    """send --file streams a file larger than any buffer."""
    (folder / "text").write_bytes(b"some text\n" * 1_000_000)
    status, printed, _ = ctl("send", "--socket", str(daemon.path), "--file", str(folder / "text"))
    assert (status, printed) == (0, "SOME TEXT\n" * 1_000_000)


def test_send_to_nobody(folder: Path) -> None:
    """Without a daemon send names the path and the cure, and exits with 69."""
    status, _, said = ctl("send", "--socket", str(folder / "s"), "x")
    assert (status, f"no socket at {folder}/s" in said) == (69, True)


def test_stale_socket_is_explained(folder: Path) -> None:
    """upperctl tells a socket without a listener from a missing socket."""
    with socket.socket(socket.AF_UNIX) as left:
        left.bind(str(folder / "s"))
    status, _, said = ctl("send", "--socket", str(folder / "s"), "x")
    assert (status, "nothing listens" in said) == (69, True)


def test_permission_is_explained(daemon: Daemon, folder: Path) -> None:
    """A user who may not connect is told the file that denies it, its owner and its mode, with status 77."""
    if os.geteuid() != 0:
        pytest.skip("acting as another user takes root")
    os.chmod(folder, 0o755)
    modules = "os, grp, pwd, upperd.client.explaining, upperd.client.finding as finding"  # which that user cannot read
    drop = f"import {modules}; os.setgroups([]); os.setgid(61001); os.setuid(61001)"
    script = f"{drop}; finding.connect({str(daemon.path)!r})"
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert "permission denied" in done.stderr
    assert "root:root, mode 0" in done.stderr


def test_short_reply_is_an_error(folder: Path) -> None:
    """An answer that ends early is an error, status 76; unless upperd's own handler serves, nothing is sent again."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "s"))
        listener.listen()

        def cheat() -> None:
            with listener.accept()[0] as connection:
                connection.recv(100)
                connection.sendall(b"HALF")

        cheating = threading.Thread(target=cheat)
        cheating.start()
        status, printed, said = ctl("send", "--socket", str(folder / "s"), "half a line")
        cheating.join()
    assert (status, printed, "closed early" in said) == (76, "", True)


def test_status_of_a_daemon(daemon: Daemon) -> None:
    """status exits with 0 while the daemon runs, and with 3 after its end, when it still shows the last figures."""
    daemon.ask(b"x")
    status, shown, _ = ctl("status", "--socket", str(daemon.path))
    assert (status, f"running (pid {daemon.pid}), ready" in shown) == (0, True)
    daemon.stop()
    status, shown, _ = ctl("status", "--socket", str(daemon.path))
    assert (status, "not running" in shown, "1 connection," in shown) == (3, True, True)


def test_status_without_a_daemon(folder: Path) -> None:
    """status of a daemon that never ran exits with 3."""
    assert ctl("status", "--socket", str(folder / "upperd.sock"))[0] == 3


def test_stats_for_programs(daemon: Daemon) -> None:
    """stats --json has every child with its peer, and null for unknown values."""
    with daemon.held():
        status, printed, _ = ctl("stats", "--json", "--socket", str(daemon.path))
    data = json.loads(printed)
    peers = sorted(str(child["peer_uid"]) for child in data["children"] if child["waiting"])
    busy = [child for child in data["children"] if not child["waiting"]]
    assert (status, data["running"], data["pid"]) == (0, True, daemon.pid)
    assert set(peers) == {"None"}
    assert [child["peer_uid"] for child in busy] == [os.geteuid()]
    assert [(child["peer_pid"], child["bytes_in"]) for child in busy] == [(os.getpid(), 4)]


def test_stats_for_people(daemon: Daemon) -> None:
    """stats prints a row for each child and the totals."""
    _, printed, _ = ctl("stats", "--socket", str(daemon.path))
    assert printed.count("spare") == 8
    assert "total: 8 forked" in printed


@pytest.mark.parametrize("line", [["send", "--nope"], [], ["send", "--file", "x", "y"]])
def test_wrong_line(line: list[str]) -> None:
    """A wrong command line is answered with status 64."""
    assert ctl(*line)[0] == 64
