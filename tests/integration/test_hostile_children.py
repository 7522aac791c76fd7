"""A child that has turned hostile, without a sandbox: what it cannot reach, and what it cannot do to its parent."""

from __future__ import annotations

import contextlib
import errno
import json
import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from attempts import CHANNEL, DUMPABLE, FIND_SECRET, FLAGS, LISTENERS, LOOK_INTO, NONSENSE
from datagrams import ask, at, sender
from programs_of_others import PYTHON, for_everybody
from running import COMMAND, DEADLINE, Daemon, running, wait_until
from users import ALICE, BOB, connect_as, needs_root

DAEMON = 61009
"""The daemon's own uid."""
OBEY = Path(__file__).parents[1] / "hostile/obey.py"


@contextlib.contextmanager
def serving(folder: Path, *options: str) -> Iterator[Daemon]:
    """A daemon of a user of its own, with a handler that obeys; its folder is open to all."""
    needs_root(folder)
    (folder / "obey.py").write_text(OBEY.read_text())
    os.chown(folder, DAEMON, DAEMON)
    words = ("--handler", f"{folder}/obey.py:Hold", "--socket-mode", "0666", "--spare-children", "2", *options)
    program = [PYTHON, "-m", "upperd.service.cli", "--socket", str(folder / "upperd.sock"), "--no-fallback", *words]
    of_user = {"user": DAEMON, "group": DAEMON, "extra_groups": [], "cwd": "/"}
    with running(folder, command=program, environ=for_everybody(folder), **of_user) as daemon:
        yield daemon


def tell(connection: socket.socket, program: str) -> tuple[bool, object]:
    """Have the child of a connection run a program: whether it worked, and what it has found."""
    connection.sendall(json.dumps(program).encode() + b"\n")
    answer = b""
    while not answer.endswith(b"\n"):
        if not (block := connection.recv(65536)):
            return False, "closed"
        answer += block
    worked, found = json.loads(answer)
    return worked, found


@contextlib.contextmanager
def pair(daemon: Daemon) -> Iterator[tuple[socket.socket, socket.socket]]:
    """A connection of alice, who is hostile, and one of bob."""
    [alice], [bob] = connect_as(daemon, ALICE), connect_as(daemon, BOB)
    with alice, bob:
        yield alice, bob


def serves(daemon: Daemon, uid: int) -> bool:
    """Whether a new connection of this user is served."""
    [connection] = connect_as(daemon, uid)
    with connection:
        return tell(connection, "answer = 1") == (True, 1)


def test_memory(folder: Path) -> None:
    """A child is refused the memory of its parent and of another child, which it can read of one that lets it."""
    with serving(folder) as daemon, pair(daemon) as (alice, bob):
        _, sibling = tell(bob, "import os; answer = os.getpid()")
        for pid in (daemon.pid, sibling):
            for program in LOOK_INTO:
                worked, found = tell(alice, program.replace("PID", str(pid)))
                assert (worked, "PermissionError" in str(found)) == (False, True), (program, found)
        assert tell(alice, FIND_SECRET) == (True, True)
        assert tell(alice, LISTENERS) == (True, [])


def test_memory_after_a_reload(folder: Path) -> None:
    """The process that reads a file of options anew cannot be looked into either."""
    config = folder / "upperd.toml"
    needs_root(folder)
    fifo = folder / "fifo"
    os.mkfifo(fifo)
    config.symlink_to(folder / "first.toml")
    (folder / "first.toml").write_text("max-children = 9\n")
    with serving(folder, "--config", str(config)) as daemon, pair(daemon) as (alice, _):
        wait_until(lambda: _is_settled(daemon), "no child is about to be forked")
        config.unlink()
        config.symlink_to(fifo)
        daemon.signal(1)
        [pid] = wait_until(lambda: _strangers(daemon), "the check waits for the file")
        worked, found = tell(alice, f"open('/proc/{pid}/mem', 'r+b')")
        assert (worked, "PermissionError" in str(found)) == (False, True)
        fifo.write_text("max-children = 8\n")
        wait_until(lambda: daemon.board.header["max_children"] == 8, "the reload")


def test_flags_of_what_is_shared(folder: Path) -> None:
    """Whatever a child does to the flags and ends of what it has, others are served."""
    with serving(folder) as daemon, pair(daemon) as (alice, bob):
        assert tell(alice, FLAGS) == (True, "done")
        assert tell(bob, "answer = 1") == (True, 1)
        assert serves(daemon, BOB)


@pytest.mark.parametrize("word", [2**64 - 1, 2**63, 1])
def test_nonsense_in_its_row(folder: Path, word: int) -> None:
    """Odd numbers all over a row change nothing of what is done and said of others, with every limit set."""
    limits = ("--max-rate-per-user", "100", "--idle-timeout", "60", "--max-lifetime", "60", "--max-bytes", "1000000")
    with serving(folder, *limits) as daemon, pair(daemon) as (alice, bob):
        _, sibling = tell(bob, "import os; answer = os.getpid()")
        _, own = tell(alice, "import os; answer = os.getpid()")
        assert tell(alice, NONSENSE.replace("WORD", str(word))) == (True, "done")
        assert serves(daemon, BOB)
        daemon.signal(1)
        wait_until(lambda: "nothing has changed" in daemon.log, "the reload")
        seen = {child["pid"]: child["peer_uid"] for child in daemon.board.children}
        assert seen[sibling] == BOB
        assert seen.get(own, ALICE) == ALICE  # by its row it has not begun, so it is killed after a second
        alice.close()
        assert serves(daemon, BOB)
        assert daemon.stop() == 0


def test_words_without_end(folder: Path) -> None:
    """A child that tells its parent more than it was handed is ended, and others are served."""
    with serving(folder) as daemon, pair(daemon) as (alice, bob):
        with contextlib.suppress(ConnectionError):
            tell(alice, f"{CHANNEL}\nwhile True:\n    channel.send(b'x' * 1000)")
        wait_until(lambda: "it reported more connections than it was handed" in daemon.log, "the record")
        assert tell(bob, "answer = 1") == (True, 1)
        assert daemon.board.header["crashed"] == 1


def test_datagrams_of_others(folder: Path) -> None:
    """A child for datagrams has no socket that it could read them from."""
    words = ("--no-socket", "--datagram", str(at(folder)), "--scoreboard", str(folder / "scoreboard"))
    (folder / "obey.py").write_text(OBEY.read_text())
    command = [*COMMAND, *words, "--handler", f"{folder}/obey.py:Datagram"]
    with running(folder, command=command), sender(at(folder)) as client:
        found = json.loads(ask(client, b"import os; answer = [os.readlink(f'/proc/self/fd/{n}') for n in range(3, 200)"
                                       b" if os.path.exists(f'/proc/self/fd/{n}')]"))  # fmt: skip
        assert (found[0], len(found[1])) == (True, 1)  # its channel


def test_close_that_would_wait(folder: Path) -> None:
    """A child that has the kernel wait for its TCP client at the end holds up nobody."""
    program = """
import socket, struct
handler.request.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 60))
handler.request.setblocking(False)
try:
    while True:
        handler.request.send(bytes(65536))
except BlockingIOError:
    pass
handler.request.close()
"""
    with serving(folder, "--tcp", "127.0.0.1:0") as daemon:
        port = int(daemon.log.partition("tcp:127.0.0.1:")[2].split()[0])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(json.dumps(program).encode() + b"\n")
            wait_until(lambda: daemon.board.header["connections"] == 1 and not daemon.board.busy, "it has finished")
            for _ in range(3):
                assert serves(daemon, BOB)


def test_scoreboard_that_is_gone(folder: Path) -> None:
    """A reload that takes more children works where a child has removed the scoreboard."""
    config = folder / "upperd.toml"
    config.write_text("max-children = 9\n")
    with serving(folder, "--config", str(config)) as daemon, pair(daemon) as (alice, bob):
        assert tell(alice, f"import os; os.unlink('{folder}/scoreboard')") == (True, None)
        config.write_text("max-children = 12\n")
        daemon.signal(1)
        wait_until(lambda: "max-children 9 -> 12" in daemon.log, "the reload")
        assert tell(bob, "answer = 1") == (True, 1)
        assert serves(daemon, BOB)


def test_check_that_is_stopped(folder: Path) -> None:
    """A reload whose check a child has stopped fails in time, and the next one works."""
    config = folder / "upperd.toml"
    needs_root(folder)
    os.mkfifo(folder / "fifo")
    config.symlink_to(folder / "first.toml")
    (folder / "first.toml").write_text("max-children = 9\n")
    with serving(folder, "--config", str(config)) as daemon, pair(daemon) as (alice, _):
        wait_until(lambda: _is_settled(daemon), "no child is about to be forked")
        config.unlink()
        config.symlink_to(folder / "fifo")
        daemon.signal(1)
        [pid] = wait_until(lambda: _strangers(daemon), "the check waits for the file")
        assert tell(alice, f"import os; os.kill({pid}, 19)") == (True, None)
        wait_until(lambda: "the check was ended by signal 9" in daemon.log, "it is killed")
        config.unlink()
        config.write_text("max-children = 8\n")
        daemon.signal(1)
        wait_until(lambda: daemon.board.header["max_children"] == 8, "the next reload")


def test_child_that_is_traced(folder: Path) -> None:
    """A child that stops itself by ptrace is ended, and is no ended one before."""
    with serving(folder) as daemon, pair(daemon) as (alice, bob):
        assert tell(alice, f"{DUMPABLE}call('ptrace', 0, 0, 0, 0)\nos.kill(os.getpid(), 19)") == (False, "closed")
        wait_until(lambda: daemon.board.header["crashed"] == 1, "its end is counted")
        assert len(daemon.board.children) == len(daemon.children())
        assert tell(bob, "answer = 1") == (True, 1)


LIE = "row = handler.request._row.words\nrow[1] = row[4]\nanswer = 'lied'"
"""Says that the connection is finished, which goes on."""


def test_children_that_claim_to_have_finished(folder: Path) -> None:
    """A user whose children lie about having finished has no more of them than it may."""
    words = ("--connections-per-child", "1", "--max-children", "8", "--max-children-per-user", "4")
    with serving(folder, *words) as daemon, contextlib.ExitStack() as until:
        clients = [until.enter_context(one) for one in connect_as(daemon, ALICE, count=8)]
        for client in clients[:4]:
            assert tell(client, LIE) == (True, "lied")
        wait_until(lambda: daemon.board.header["queued"] == 4, "four wait")
        assert serves(daemon, BOB)
        assert sum(child["peer_uid"] == ALICE for child in daemon.board.children) == 4


def test_channel_that_is_closed(folder: Path) -> None:
    """A child that claims to have finished and takes nothing has no child of others wait for a pause."""
    program = f"{CHANNEL}\n{LIE}\nchannel.shutdown(2)"
    with serving(folder) as daemon, pair(daemon) as (alice, _):
        tell(alice, program)
        for _ in range(3):
            assert serves(daemon, ALICE)
            assert serves(daemon, BOB)
        assert "forking again" not in daemon.log


def test_descriptors_under_way(folder: Path) -> None:
    """A child that leaves as many descriptors under way as it may does not keep its parent from handing over."""
    program = """
import socket
kept = []
try:
    while True:
        kept.append(socket.socketpair(socket.AF_UNIX, socket.SOCK_DGRAM))
        for _ in range(5):
            socket.send_fds(kept[-1][0], [b"x"], [kept[-1][1].fileno()] * 200)
except OSError as error:
    answer = error.errno
"""
    with serving(folder) as daemon, pair(daemon) as (alice, _):
        worked, found = tell(alice, program)
        assert (worked, found in (errno.ETOOMANYREFS, errno.EMFILE)) == (True, True)
        assert serves(daemon, BOB)


def test_children_that_a_child_gives_us(folder: Path) -> None:
    """Processes that a child makes its parent's children (clone(2)) are reaped when they have ended."""
    program = f"{DUMPABLE}import platform\nnumber = {{'x86_64': 56}}.get(platform.machine(), 220)\n"
    program += "if call('syscall', number, 0x8000 | 17, 0, 0, 0, 0) == 0:\n os._exit(0)\n"
    with serving(folder) as daemon, pair(daemon) as (alice, _):
        tell(alice, program)
        wait_until(lambda: serves(daemon, BOB) and not _strangers(daemon), "it is reaped")
        assert "crashed" not in daemon.log


def _is_settled(daemon: Daemon) -> bool:
    """Whether two connections are served, the two spare children are there, and no other process."""
    rows = daemon.board.children
    return sorted(row["waiting"] for row in rows) == [0, 0, 1, 1] and not _strangers(daemon)


def _strangers(daemon: Daemon) -> set[int]:
    """The processes that are the daemon's children, and none of those that serve."""
    children = set(daemon.children())  # first: one that is forked meanwhile is on the board by then
    return children - {child["pid"] for child in daemon.board.children}


def test_core_dumps(folder: Path) -> None:
    """No core of a child is written: it may have its user's text in it."""
    with serving(folder) as daemon, pair(daemon) as (alice, _):
        assert tell(alice, f"{DUMPABLE}answer = call('prctl', 3, 0)") == (True, 0)
    assert subprocess.run([COMMAND[0], "-c", f"{DUMPABLE}assert call('prctl', 3, 0)"], timeout=DEADLINE).returncode == 0
