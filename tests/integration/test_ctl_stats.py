"""upperctl stats: for Prometheus, into a file, and repeatedly."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import stat
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from acting import USER, ctl_as, need_root
from prometheus_client.parser import text_string_to_metric_families
from running import Daemon, running, wait_until
from screens import CTL, terminal

from upperd.ctl.usage import Usage
from upperd.server import layout


def stats(path: Path, *options: str, **more: object) -> tuple[int, str, str]:
    """Run upperctl stats; return its exit status, standard output and standard error."""
    line = [*CTL, "stats", "--socket", str(path), *options]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60, **more)  # type: ignore[call-overload]
    return done.returncode, done.stdout, done.stderr


def samples(text: str) -> dict[str, float]:
    """By name, the samples whose only label is the daemon's name, as Prometheus's parser reads them."""
    families = text_string_to_metric_families(text)
    return {sample.name: sample.value for family in families for sample in family.samples if len(sample.labels) == 1}


def test_prometheus(daemon: Daemon) -> None:
    """Prometheus reads the figures of the scoreboard, and the memory of the processes."""
    for _ in range(7):
        daemon.ask(b"four\xff")
    wait_until(lambda: daemon.board.spare == 8 + 1, "all is at rest: a child waits for this user, eight for another")
    status, printed, said = stats(daemon.path, "--prometheus")
    assert (status, said) == (0, "")
    found = samples(printed)
    header = daemon.board.header
    expected = {
        "upperd_up": 1, "upperd_connections_total": 7, "upperd_received_bytes_total": 35, "upperd_max_children": 64,
        "upperd_children_forked_total": header["forked"],
        "upperd_start_time_seconds": header["started_unix_usec"] / 1e6,
    }  # fmt: skip
    assert {name: found[name] for name in expected} == expected
    assert 'upperd_children{name="upperd",state="spare"} 9\n' in printed
    assert 'upperd_handler_counter_total{name="upperd",counter="undecodable"} 7\n' in printed
    assert 'upperd_resident_memory_bytes{name="upperd",process="children"} ' in printed
    assert 'upperd_cpu_seconds_total{name="upperd",mode="user"} ' in printed


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_prometheus_of_a_stopped_daemon(daemon: Daemon, number: signal.Signals) -> None:
    """A daemon that was stopped or killed is no error: up is 0, children are 0, and the counters stay."""
    daemon.ask(b"x")
    daemon.signal(number)
    daemon.wait()
    status, printed, _ = stats(daemon.path, "--prometheus")
    assert (status, samples(printed)["upperd_up"], samples(printed)["upperd_connections_total"]) == (0, 0, 1)
    assert 'upperd_children{name="upperd",state="spare"} 0\n' in printed
    assert stats(daemon.path.parent / "other", "--prometheus")[1].endswith('\nupperd_up{name="upperd"} 0\n')


def test_prometheus_into_a_file(daemon: Daemon) -> None:
    """--output replaces a file, readable by all, in one step, and prints nothing."""
    path = daemon.folder / "upperd.prom"
    path.write_text("old")
    inode = path.stat().st_ino
    assert stats(daemon.path, "--prometheus", "--output", str(path), umask=0o077) == (0, "", "")
    assert samples(path.read_text())["upperd_up"] == 1
    assert (path.stat().st_ino != inode, stat.S_IMODE(path.stat().st_mode)) == (True, 0o644)
    assert [name for name in os.listdir(daemon.folder) if ".prom" in name] == ["upperd.prom"]


def test_a_file_that_cannot_be_written(daemon: Daemon) -> None:
    """If the file cannot be written, the cause and the cure are named, with status 73."""
    status, _, said = stats(daemon.path, "--prometheus", "--output", str(daemon.folder / "no" / "x.prom"))
    assert (status, "No such file or directory" in said, "mkdir -p" in said) == (73, True, True)
    assert stats(daemon.path, "--output", str(daemon.folder / "x"))[0] == 64


def test_json_is_stable(daemon: Daemon) -> None:
    """The JSON object has the names of the scoreboard's fields, those of the processes, and a few more."""
    with daemon.held():
        data = json.loads(stats(daemon.path, "--json")[1])
    more = {"version", "name", "handler", "running", "scoreboard", "now_usec"}
    more |= {"listeners", "counters", "busy", "spare", "children"}
    unused = {name for name in layout.ROW_FIELDS if name.startswith("counter_")}
    own = {name for name in Usage._fields if not name.startswith("reaped")}
    fields = {*layout.CHILD_FIELDS, "slot", "waiting", "undecodable", *own} - unused
    assert set(data) == {*layout.HEADER_FIELDS, *more, *Usage._fields, "undecodable"} - {"magic", *unused}
    assert data["counters"] == ["undecodable"]
    assert all(set(child) == fields for child in data["children"])
    assert data["rss_bytes"] > 1_000_000
    assert all(child["rss_bytes"] > 1_000_000 and child["user_usec"] >= 0 for child in data["children"])


def test_table_has_memory_and_time(daemon: Daemon) -> None:
    """The table has the memory and the processor time of each child, and no column with the same value in each row."""
    _, printed, _ = stats(daemon.path)
    lines = printed.split("\n")
    assert {"PSS" if os.geteuid() == 0 else "RSS", "CPU"} <= set(lines[0].split())
    assert "LISTENER" not in lines[0]
    assert [line for line in lines[1:9] if not re.search(r" \d+\.\d [kM]B  \d\.\d\ds ", line)] == []
    assert max(map(len, lines)) <= 80


@contextlib.contextmanager
def watching(path: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """`upperctl stats --watch` with its output into a pipe."""
    line = [*CTL, "stats", "--socket", str(path), "--watch", "0.1", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as process:
        try:
            yield process
        finally:
            process.kill()


def test_watch_in_a_pipe(daemon: Daemon) -> None:
    """Without a terminal each block is printed at once after the last, until Ctrl-C, which ends it quietly."""
    with watching(daemon.path) as process:
        assert process.stdout is not None
        assert process.stderr is not None
        heads = 0
        while heads < 3:
            line = process.stdout.readline()
            assert line.rstrip("\n").isprintable()
            heads += "PID " in line
        process.send_signal(signal.SIGINT)
        process.stdout.read()
        assert process.wait(60) in (130, -signal.SIGINT)
        assert process.stderr.read() == ""


def test_watch_for_programs(daemon: Daemon) -> None:
    """With --json every line is an object of its own."""
    with watching(daemon.path, "--json") as process:
        assert process.stdout is not None
        objects = [json.loads(process.stdout.readline()) for _ in range(3)]
    assert [one["pid"] for one in objects] == [daemon.pid] * 3
    assert objects[0]["now_usec"] < objects[1]["now_usec"] < objects[2]["now_usec"]


def test_watch_on_a_terminal(daemon: Daemon) -> None:
    """On a terminal the table is redrawn in place and fits a resized window; Ctrl-C ends it with 130."""
    with terminal("stats", "--socket", str(daemon.path), "--watch", "0.1") as watch:
        watch.wait_for("total:", "a second:")
        with daemon.held():
            screen = watch.wait_for(" busy ")
            assert "\n".join(screen).count("PID") == 1
        watch.set_size(40, 8)
        watch.wait_until(lambda screen: screen[0][2:3] == ":" and "... and" in "".join(screen), "drawn anew")
        watch.press("\x03")
        assert watch.wait() in (130, -signal.SIGINT)
        assert watch.is_as_before()
        assert [sequence for sequence in (b"\x1b[?25h", b"\x1b[?1049l") if sequence not in watch.raw] == []
        assert b"Traceback" not in watch.raw


def test_watch_follows_a_restart(folder: Path) -> None:
    """A daemon that stops while watched is shown as stopped, and its successor is found; at first one must run."""
    path = folder / "upperd.sock"
    assert stats(path, "--watch")[0] == 69
    with running(folder) as daemon, terminal("stats", "--socket", str(path), "--watch", "0.1") as watch:
        watch.wait_for("spare")
        daemon.stop()
        watch.wait_for("not running")
        with running(folder):
            watch.wait_until(lambda screen: "PID " in screen[1] and "spare" in screen[2], "the next one")


def test_watch_keeps_a_file_new(folder: Path) -> None:
    """With --output the file is replaced repeatedly, and tells when the daemon stops and starts."""
    path = folder / "x.prom"

    def is_up() -> float:
        return samples(path.read_text())["upperd_up"] if path.exists() else -1

    with watching(folder / "upperd.sock", "--prometheus", "--output", str(path)):
        wait_until(lambda: is_up() == 0, "nobody is there")
        with running(folder) as daemon:
            wait_until(lambda: is_up() == 1, "the daemon is there")
            daemon.stop()
        wait_until(lambda: is_up() == 0, "the daemon is gone")


def test_permission_for_prometheus(daemon: Daemon) -> None:
    """A user who may not read the scoreboard is told so, with status 77, and sees no false figure."""
    need_root()
    os.chmod(daemon.folder, 0o755)
    line = [*ctl_as(USER, USER), "stats", "--prometheus", "--socket", str(daemon.path)]
    done = subprocess.run(line, capture_output=True, text=True, timeout=60)
    assert (done.returncode, "permission denied" in done.stderr) == (77, True), done.stderr
    assert done.stdout.endswith('\nupperd_up{name="upperd"} NaN\n')


@pytest.mark.parametrize("options", [["--watch", "0"], ["--watch", "x"], ["--json", "--prometheus"]])
def test_wrong_line_of_stats(options: list[str]) -> None:
    """An invalid interval, or two formats at once, is answered with status 64."""
    assert stats(Path("/nonexistent"), *options)[0] == 64
