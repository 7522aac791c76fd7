"""`upperctl status` is never wrong: whatever was removed, wherever the scoreboard lies, from wherever it is asked."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from acting import USER, ctl_as, need_root
from running import COMMAND, Daemon, run_to_end, running, wait_until
from test_ctl_waiting import stop_child
from tools import missing

CTL = [sys.executable, "-m", "upperd.ctl.main"]


def status(path: Path, *wrapper: str, **popen: Any) -> tuple[int, dict[str, Any]]:
    """The exit status, and the output of `upperctl status --json`."""
    done = subprocess.run([*wrapper, *CTL, "--socket", str(path), "status", "--json"], capture_output=True, **popen)
    return done.returncode, json.loads(done.stdout)


def test_link_to_the_socket(daemon: Daemon) -> None:
    """Through a link to the socket the answer is that of its target, while the daemon runs and after its end."""
    link = daemon.folder / "link"
    link.symlink_to(daemon.path)
    assert status(link)[1]["pid"] == daemon.pid
    daemon.stop()
    code, shown = status(link)
    assert (code, shown["state"], shown["version"] is None) == (3, "not running", False)


def test_scoreboard_elsewhere(folder: Path) -> None:
    """A daemon whose scoreboard lies elsewhere is running, even if another's last figures lie beside its socket."""
    with running(folder) as first:
        first.stop()
    with running(folder, "--scoreboard", str(folder / "other")) as daemon:
        code, shown = status(daemon.path)
        assert (code, shown["state"], shown["pid"], shown["connections"]) == (0, "running", daemon.pid, None)
        assert "an earlier daemon" in shown["problem"]
        daemon.kill()
        assert status(daemon.path)[0] == 3


def test_all_files_are_removed(daemon: Daemon) -> None:
    """A daemon whose socket, scoreboard and locks were removed, as at a logout, is reported as running, but lost."""
    for path in daemon.folder.glob("*upperd.sock*"):
        path.unlink()
    for path in daemon.folder.glob("scoreboard*"):
        path.unlink()
    code, shown = status(daemon.path)
    assert (code, shown["state"]) == (0, "running")
    assert f"{daemon.path} was removed, so no client finds it" in shown["trouble"]


def test_removed_path_is_bound_anew(daemon: Daemon) -> None:
    """status and a second start name a path that was removed; a reload binds it again, and it is served."""
    held = daemon.held()
    daemon.path.unlink()
    assert f"{daemon.path} was removed" in status(daemon.path)[1]["trouble"]
    code, said = run_to_end(daemon.folder, "--socket", str(daemon.path), "--no-fallback")
    assert (code, "the path was removed, and a reload binds it anew" in said) == (75, True)
    daemon.signal(signal.SIGHUP)
    wait_until(daemon.path.exists, "the path is back")
    wait_until(lambda: "was removed and is bound anew" in daemon.log, "the log says so")
    assert daemon.ask(b"x") == b"X"
    assert status(daemon.path)[1]["trouble"] == ""
    with held:
        held.sendall(b"still here")
        assert held.recv(64) == b"STILL HERE"
    assert daemon.stop() == 0
    assert not daemon.path.exists()


def test_drain(daemon: Daemon) -> None:
    """During a drain status and a second start agree: draining, and when to try again."""
    with daemon.held():
        stop_child(daemon)
        daemon.signal(signal.SIGTERM)
        wait_until(lambda: not daemon.path.exists(), "the drain has begun")
        code, shown = status(daemon.path)
        done = subprocess.run([*CTL, "--socket", str(daemon.path), "status"], capture_output=True, text=True)
        second, said = run_to_end(daemon.folder, "--socket", str(daemon.path), "--no-fallback")
        assert (code, shown["phase"], second) == (0, "draining", 75)
        assert 0 < shown["drain_seconds"] <= 30
        assert "draining, try again in " in done.stdout.split("\n")[0]
        assert "it is draining, try again in " in said


def test_scoreboard_of_another_daemon(folder: Path) -> None:
    """A path whose daemon does not run is never answered with the figures of another one."""
    (folder / "state").mkdir()
    own = folder / "state" / "upperd.sock"
    options = ("--socket", str(own), "--scoreboard", str(folder / "scoreboard"), "--no-fallback")
    with running(folder, command=[*COMMAND, *options]):
        code, shown = status(folder / "upperd.sock")
        assert (code, shown["state"], shown["pid"]) == (3, "not running", None)
        assert f"the scoreboard of another daemon, on {own}" in shown["problem"]


def test_asking_leaves_no_trace(daemon: Daemon) -> None:
    """However often status is called, it makes no connection to the daemon."""
    for _ in range(3):
        assert status(daemon.path)[0] == 0
    assert daemon.stop() == 0
    assert "served 0 connections" in daemon.log


def test_another_program(folder: Path) -> None:
    """If an unidentified program listens, the answer is "unknown", status 4, with that process named."""
    path = folder / "upperd.sock"
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen()
        assert status(path)[0] == 4
        shown = subprocess.run([*CTL, "--socket", str(path), "status"], capture_output=True, text=True).stdout
        assert f"process {os.getpid()} listens on {path}, and it may not be upperd" in shown


@pytest.mark.parametrize("namespace", [[], ["--pid", "--fork", "--mount-proc"], ["--time", "--boottime", "99999"]])
def test_member_of_the_group(folder: Path, namespace: list[str]) -> None:
    """A member of the daemon's group sees it running, also from another pid or time namespace; other users do not."""
    need_root()
    folder.chmod(0o755)
    outside = ["unshare", *namespace] if namespace else []
    if outside and subprocess.run([*outside, "true"], capture_output=True).returncode:
        missing("unshare(1) makes no such namespace here")

    def status_as(gid: int) -> tuple[int, str]:
        line = [*outside, *ctl_as(USER, gid)]
        done = subprocess.run([*line, "--socket", str(folder / "upperd.sock"), "status", "--json"], capture_output=True)
        return done.returncode, json.loads(done.stdout)["state"]

    with running(folder) as daemon:
        assert status_as(0) == (0, "running")
        assert status_as(USER) == (4, "unknown")
        daemon.kill()
    assert status_as(0) == (3, "not running")


def test_limit_is_trouble(folder: Path) -> None:
    """With every child busy status names that as the trouble, and how many connections wait."""
    with running(folder, "--max-children", "1", "--max-children-per-user", "0") as daemon, daemon.held():
        assert status(daemon.path)[1]["trouble"] == "every child is busy"
        with daemon.connect():
            wait_until(lambda: status(daemon.path)[1]["trouble"] == "every child is busy, 1 wait", "one waits")


def test_folder_is_kept_from_ageing(folder: Path) -> None:
    """systemd-tmpfiles leaves the daemon's folder in /tmp alone while it lives, and cleans it after its end."""
    if folder.parent != Path("/tmp"):
        pytest.skip("the folder does not lie in /tmp")
    config = folder.parent / f"{folder.name}.conf"
    above = folder / "above"
    own = above / "own"
    own.mkdir(parents=True)
    config.write_text(f"d {above} - - - 0\n")
    clean = ["systemd-tmpfiles", "--clean", str(config)]
    try:
        with running(folder, command=[*COMMAND, "--socket", str(own / "s"), "--no-fallback"]) as daemon:
            try:
                subprocess.run(clean, check=True)
            except FileNotFoundError:
                missing("no systemd-tmpfiles")
            assert {path.name for path in own.iterdir()} >= {"s", "s.lock", "s.scoreboard"}
            daemon.stop()
        wait_until(lambda: not subprocess.run(clean).returncode and not own.exists(), "what is left is cleaned up")
    finally:
        config.unlink()
