"""A hostile child under the shipped unit: its attempts fail, and succeed without the measure."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from attempts import (
    CHANNEL,
    DUMPABLE,
    FIND_SECRET,
    FLAGS,
    LISTENERS,
    LOOK_INTO,
    NONSENSE,
    PROCESS_VM_READV,
    RUN,
    of_a_dumpable,
)
from hostile_stage import Stage, bait, serving
from installed import DEADLINE, SOCKET, Upperd
from machine import wait_until

STATE = "/run/upperd/state"


@pytest.fixture
def stage(upperd: Upperd) -> Iterator[Stage]:
    """The service as it is shipped."""
    with serving(upperd) as stage:
        yield stage


# Another user's data


@pytest.mark.parametrize("whose", ["parent", "sibling"])
def test_memory_of_another_process(stage: Stage, whose: str) -> None:
    """The memory of the parent and of other children is unreadable, while that of a dumpable process is readable."""
    pid = stage.pids()[whose == "sibling"]
    for program in (
        *LOOK_INTO,
        f"{DUMPABLE}{PROCESS_VM_READV}answer = read_by_call(PID, id(0))",
        f"{DUMPABLE}import os; call('syscall', 438, os.pidfd_open(PID), 0, 0)",
        "open('/proc/PID/comm', 'w').write('x')",
    ):
        worked, found = stage.alice.tell(program.replace("PID", str(pid)))
        assert not worked, (program, found)
        assert any(word in str(found) for word in ("PermissionError", "FileNotFoundError")), found
    assert stage.alice.tell(FIND_SECRET) == (True, True)
    control = of_a_dumpable("open(f'/proc/{pid}/oom_score_adj', 'w').write('1000')")
    assert stage.alice.tell(control) == (True, None)
    assert stage.serves_bob()


def test_calls_into_another_process(upperd: Upperd) -> None:
    """Without the unit's filter a system call can read a dumpable process; with the filter not even that works."""
    program = of_a_dumpable("answer = read_by_call(pid, id(0))")
    with serving(upperd) as stage:
        worked, found = stage.alice.tell(program)
        assert (worked, "PermissionError" in str(found)) == (False, True)
    upperd.reset()
    with serving(upperd, without=("SystemCallFilter=", "SystemCallFilter=@system-service")) as stage:
        assert stage.alice.tell(program) == (True, 8)


def test_no_listener(stage: Stage) -> None:
    """A child has no descriptor from which it could accept another user's connection."""
    assert stage.alice.tell(LISTENERS) == (True, [])


TAKE = f"""
import os, socket
os.rename("{SOCKET}", "{SOCKET}.away")
socket.socket(socket.AF_UNIX).bind("{SOCKET}")
"""
OLD_FOLDER = (
    *("TemporaryFileSystem=", "BindPaths=", "BindReadOnlyPaths="),
    *("RuntimeDirectory=", "RuntimeDirectory=upperd", "NoExecPaths=", "ExecPaths="),
)


@pytest.mark.parametrize("measure", ["shipped", "seen", "none"])
def test_place_of_the_socket(upperd: Upperd, measure: str) -> None:
    """No other socket can take the place of the manager's, even if its folder is visible."""
    without = {"shipped": (), "seen": OLD_FOLDER[:3], "none": OLD_FOLDER}[measure]
    with serving(upperd, without=without) as stage:
        worked, found = stage.alice.tell(TAKE)
        assert worked == (measure == "none"), found
        upperd.systemctl("stop", "upperd", "upperd.socket")


# The world outside


@pytest.mark.parametrize("measure", ["shipped", "none"])
def test_no_program_can_be_started(upperd: Upperd, measure: str) -> None:
    """No program of the host runs, nor a copy of one, nor one in memory: only the interpreter does."""
    loose = ("NoExecPaths=", "ExecPaths=", "SystemCallFilter=", "SystemCallFilter=@system-service")
    with serving(upperd, without=loose if measure == "none" else ()) as stage:
        for program in (
            "run('/bin/sh', '-c', 'true')",
            "run('/usr/bin/id')",
            "run('/bin/systemctl', '--version')",
            "run(LOADER, '/usr/bin/id')",
            f"run_copy('{STATE}')",
            "run_copy('/tmp')",
            "run_copy('/dev/shm')",
            "run_in_memory()",
        ):
            worked, found = stage.alice.tell(RUN + program)
            # Without the measure the loader maps any file, but /dev/shm is still mounted noexec.
            assert worked == (measure == "none" and "shm" not in program), (program, found)
        assert stage.alice.tell(f"{RUN}answer = run(sys.executable, '-c', 'print(7)')") == (True, "7\n")


@pytest.mark.parametrize("measure", ["shipped", "none"])
def test_no_socket_of_others(upperd: Upperd, measure: str) -> None:
    """A child cannot find a socket in /run to which every user may connect, such as that of D-Bus."""
    without = OLD_FOLDER[:3] if measure == "none" else ()
    with bait(upperd.machine), serving(upperd, without=without) as stage:
        worked, found = stage.alice.tell("import socket; socket.socket(socket.AF_UNIX).connect('/run/bait.sock')")
        assert worked == (measure == "none"), found
        for path in ("/run/dbus/system_bus_socket", "/run/systemd/private"):
            if measure == "shipped":
                assert not stage.alice.tell(f"import os; os.stat('{path}')")[0]


def test_no_folder_of_others(stage: Stage) -> None:
    """What a child writes into world-writable folders is invisible to others."""
    machine = stage.upperd.machine
    for folder in ("/tmp", "/var/tmp", "/dev/shm", "/run/lock", "/dev/mqueue", "/run", "/run/upperd", "/run/user"):
        stage.alice.tell(f"open('{folder}/planted', 'w').write('x')")
        assert machine.run("test", "-e", f"{folder}/planted", check=False).returncode != 0, folder


# The parent


def test_what_parent_and_child_share(stage: Stage) -> None:
    """Whatever a child does to the flags of its descriptors and to its sockets, others are served."""
    assert stage.alice.tell(FLAGS) == (True, "done")
    assert stage.serves_bob()
    main = stage.upperd.main_pid()
    assert stage.alice.tell("answer = 1")[1] in (1, "closed")
    assert stage.serves_bob()
    assert stage.upperd.main_pid() == main


@pytest.mark.parametrize("word", [2**64 - 1, 2**63, 1])
def test_nonsense_in_its_row(upperd: Upperd, word: int) -> None:
    """Nonsense all over a child's row neither ends the daemon nor changes others' figures, with every limit set."""
    limits = "max-rate-per-user = 100\nidle-exit = 300\nidle-timeout = 60\nmax-lifetime = 60\nmax-bytes = 1000000\n"
    with serving(upperd, options=limits) as stage:
        main, sibling = stage.pids()
        assert stage.alice.tell(NONSENSE.replace("WORD", str(word))) == (True, "done")
        assert stage.serves_bob()
        stage.alice.close()
        upperd.systemctl("reload", "upperd")
        assert stage.serves_bob()
        [child] = [child for child in upperd.stats()["children"] if child["pid"] == sibling]
        assert child["peer_uid"] == int(upperd.machine.output("id", "-u", "bob"))
        assert int(upperd.main_pid()) == main


def test_words_without_end(stage: Stage) -> None:
    """A child that reports more than it was handed is ended, and others are served."""
    main, _ = stage.pids()
    stage.alice.tell(f"{CHANNEL}\nwhile True:\n    channel.send(b'x' * 1000)")
    assert stage.serves_bob()
    wait_until(lambda: stage.upperd.records("UPPERD_EVENT=end"), DEADLINE, "the record")
    assert "reported more connections" in stage.upperd.records("UPPERD_EVENT=end")[0]["MESSAGE"]
    assert int(stage.upperd.main_pid()) == main
