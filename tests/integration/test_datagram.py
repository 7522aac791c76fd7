"""--datagram and --udp: one datagram in, one in upper case out."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest
from acting import USER, need_root, said, start_as, tell
from datagrams import ask, at, records, sender, serving
from running import COMMAND, DEADLINE, Daemon, free_port, run_to_end, running, wait_until
from tools import missing

SO_SNDBUFFORCE = 32
"""From asm-generic/socket.h; Python has no name for it."""
LONGEST = 212_960
"""Bytes that a Unix socket sends in one datagram by default: net.core.wmem_default, less 32."""


def _header(daemon: Daemon, name: str, count: int) -> None:
    wait_until(lambda: daemon.board.header[name] == count, f"{name} is {count}, not {daemon.board.header[name]}")


def test_one_in_one_out(folder: Path) -> None:
    """Each datagram has one answer, over Unix sockets and UDP alike, and counts as a connection.

    A datagram of an unknown user has a child of its own.
    """
    port = free_port()
    with serving(folder, "--udp", f"127.0.0.1:{port}") as daemon:
        for to in (at(folder), ("127.0.0.1", port)):
            with sender(to) as client:
                assert ask(client, "straße".encode()) == b"STRASSE"
                assert ask(client, b"") == b""
        assert daemon.board.listeners[1:] == [
            f"udp:127.0.0.1:{port} (bound)", f"unix-dgram:{at(folder)} (bound)",
        ]  # fmt: skip
        assert daemon.stop() == 0
        header = daemon.board.header
    assert (header["connections"], header["messages"], header["unanswered"]) == (4, 4, 0)
    assert (header["bytes_in"], header["bytes_out"]) == (14, 14)
    ended = records(daemon)
    assert sum(int(record["connections"]) for record in ended if record.get("peer_uid") == str(os.geteuid())) == 2
    assert [record["connections"] for record in ended if "peer_uid" not in record] == ["1", "1"]
    assert {record["outcome"] for record in ended} == {"done"}


def test_datagram_is_whole(folder: Path) -> None:
    """An incomplete character at the end of a datagram comes back unchanged, without waiting for more."""
    options = ("--connections-per-child", "10", "--spare-children", "1")
    with serving(folder, *options) as daemon, sender(at(folder)) as client:
        assert ask(client, b"a\xc3") == b"A\xc3"
        assert ask(client, b"\x9fb") == b"\x9fB"
        assert daemon.stop() == 0
        assert daemon.board.header["undecodable"] == 2


@pytest.mark.parametrize("kind", ["unix", "udp"])
def test_largest_answer_is_whole(folder: Path, kind: str) -> None:
    """A datagram of the largest possible size is answered in full."""
    port = free_port()
    to, size = (at(folder), LONGEST) if kind == "unix" else (("127.0.0.1", port), 65_507)
    with serving(folder, "--udp", f"127.0.0.1:{port}"), sender(to) as client:
        assert ask(client, b"abcdefg" * (size // 7) + b"h" * (size % 7)) == b"ABCDEFG" * (size // 7) + b"H" * (size % 7)


def test_answer_that_does_not_fit(folder: Path) -> None:
    """An answer too long for a datagram is neither sent nor cut, but counted with its reason."""
    port = free_port()
    with serving(folder, "--udp", f"127.0.0.1:{port}") as daemon, sender(("127.0.0.1", port)) as client:
        client.send("ΐ".encode() * 30_000)  # three times as long in upper case
        assert ask(client, b"after") == b"AFTER"
        _header(daemon, "unanswered", 1)
        assert daemon.stop() == 0
        assert daemon.board.header["unanswered_size"] == 1
    assert sorted(record["outcome"] for record in records(daemon)) == ["done", "unanswered"]
    assert [record["unanswered"] for record in records(daemon) if "unanswered" in record] == ["1"]


def test_datagram_that_is_too_long(folder: Path) -> None:
    """A datagram longer than the daemon reads at once is refused as a whole, and counted."""
    with serving(folder) as daemon, sender(at(folder)) as client:
        client.setsockopt(socket.SOL_SOCKET, SO_SNDBUFFORCE if os.geteuid() == 0 else socket.SO_SNDBUF, 2**20)
        try:
            client.send(b"x" * 262_145)
        except OSError:
            missing("to send so long a datagram takes root, or a larger net.core.wmem_max")
        assert ask(client, b"x" * 262_144) == b"X" * 262_144
        _header(daemon, "unanswered_size", 1)


def test_sender_without_an_address(folder: Path) -> None:
    """A sender without an address gets no answer, which is counted."""
    with serving(folder) as daemon, sender(at(folder), None) as client:
        client.send(b"nobody")
        _header(daemon, "unanswered", 1)


def test_sender_that_is_gone(folder: Path) -> None:
    """A sender that has closed its socket, or removed its path, causes no error in the child; it is counted."""
    with serving(folder) as daemon:
        with sender(at(folder), str(folder / "client")) as client:
            assert ask(client, b"x") == b"X"
            (folder / "client").unlink()
            client.send(b"removed")
            _header(daemon, "unanswered", 1)
        with sender(at(folder), str(folder / "gone")) as client:
            client.shutdown(socket.SHUT_RD)  # the result of a closed one
            client.send(b"gone")
            _header(daemon, "unanswered", 2)
        assert daemon.stop() == 0
        assert (daemon.board.header["crashed"], daemon.board.header["connections"]) == (0, 3)


def test_sender_that_does_not_read(folder: Path) -> None:
    """A sender that never reads delays neither child nor drain; others are answered, and lost answers are counted."""
    deaf = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    deaf.bind("")
    with deaf, serving(folder, "--connections-per-child", "1000") as daemon, sender(at(folder)) as client:
        for number in range(600):  # more than any queue (net.unix.max_dgram_qlen) keeps
            deaf.sendto(b"%d" % number, str(at(folder)))
        _header(daemon, "connections", 600)
        assert ask(client, b"others") == b"OTHERS"
        wait_until(lambda: daemon.board.busy == 0, "no child is held")
        assert daemon.board.header["unanswered_full"] == daemon.board.header["unanswered"] > 0
        assert daemon.stop() == 0


def test_answers_that_nobody_reads(folder: Path) -> None:
    """A connected sender that never reads can fill the buffer for answers: no child is held, and losses are counted."""
    with serving(folder) as daemon:
        with sender(at(folder)) as deaf:
            for _ in range(1000):
                deaf.send(b"x" * 200_000)
                if daemon.board.header["unanswered_full"]:
                    break
            wait_until(lambda: daemon.board.busy == 0, "no child is held")
        with sender(at(folder)) as client:
            assert ask(client, b"it is closed") == b"IT IS CLOSED"


@pytest.mark.parametrize("place", ["relative", "a link", "another's"])
def test_address_that_is_not_the_senders(folder: Path, place: str) -> None:
    """The daemon sends no answer to a relative path, or to a socket of another user."""
    (folder / "elsewhere").mkdir()
    with serving(folder, cwd=folder) as daemon, socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as victim:
        victim.bind(str(folder / "victim"))
        if place == "relative":
            _send_from_folder(folder, "victim")
        else:
            need_root()
            os.chmod(folder, 0o777)
            os.chmod(at(folder), 0o666)
            with start_as(USER, BOUND, str(at(folder)), str(folder / "mine")) as client:
                assert said(client) == "bound"
                (folder / "mine").unlink()
                (os.symlink if place == "a link" else os.link)(folder / "victim", folder / "mine")
                tell(client, "go")
            assert client.returncode == 0
        _header(daemon, "unanswered", 1)
        victim.setblocking(False)
        with pytest.raises(BlockingIOError):
            victim.recv(16)


def _send_from_folder(folder: Path, address: str) -> None:
    """Send from a socket with this address, which is relative to the socket's own folder."""
    here = os.getcwd()
    os.chdir(folder / "elsewhere")
    try:
        with sender(at(folder), address) as client:
            client.send(b"ready=1")
    finally:
        os.chdir(here)


BOUND = """
import socket, sys
client = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
client.bind(sys.argv[2])
print("bound", flush=True)
input()
client.sendto(b"ready=1", sys.argv[1])
"""
"""Sends from a path that may belong to something else by the time of the answer."""


def test_privileged_port_is_not_answered(folder: Path) -> None:
    """A datagram from a UDP port below 1024, which may be another server's, gets no answer."""
    if os.geteuid() != 0:
        pytest.skip("such a port takes root")
    port = free_port()
    echo = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    with running(folder, "--udp", f"127.0.0.1:{port}") as daemon, echo:
        for low in range(1023, 600, -1):
            try:
                echo.bind(("127.0.0.1", low))
                break
            except OSError:
                continue  # another program has it
        echo.sendto(b"for ever", ("127.0.0.1", port))
        _header(daemon, "unanswered", 1)


def test_without_a_stream(folder: Path) -> None:
    """--no-socket with --datagram serves datagrams only; the scoreboard lies beside that socket."""
    command = [*COMMAND, "--no-socket", "--datagram", str(at(folder))]
    with running(folder, command=command) as daemon, sender(at(folder)) as client:
        assert ask(client, b"x") == b"X"
        assert (folder / "datagram.scoreboard").exists()
        assert daemon.stop() == 0
        assert not at(folder).exists()


def test_path_is_taken(folder: Path) -> None:
    """A datagram path of a live daemon is an error; one that a dead daemon left behind is taken over."""
    with serving(folder) as daemon:
        options = ("--no-socket", "--datagram", str(at(folder)), "--scoreboard", str(folder / "other"))
        status, said = run_to_end(folder, *options)
        assert (status, f"already running (pid {daemon.pid}) on {at(folder)}" in said) == (75, True)
        daemon.kill()
    with serving(folder), sender(at(folder)) as client:
        assert ask(client, b"x") == b"X"


def test_path_of_another_program(folder: Path) -> None:
    """A path on which another program takes datagrams, or listens, is an error and stays unchanged."""
    for kind, status in ((socket.SOCK_DGRAM, 75), (socket.SOCK_STREAM, 73)):
        path = folder / kind.name
        with socket.socket(socket.AF_UNIX, kind) as other:
            other.bind(str(path))
            if kind == socket.SOCK_STREAM:
                other.listen()
            assert run_to_end(folder, "--no-socket", "--datagram", str(path))[0] == status
            assert path.is_socket()


def test_permissions_of_the_path(folder: Path) -> None:
    """The path has the mode of --socket-mode, by default 0660 less the umask."""
    with serving(folder, umask=0o027):
        assert at(folder).stat().st_mode & 0o777 == 0o640
    with serving(folder, "--socket-mode", "0606"):
        assert at(folder).stat().st_mode & 0o777 == 0o606


@pytest.mark.parametrize(
    ("options", "status", "reason"),
    [
        (["--udp", "nowhere"], 64, "udp is 'nowhere': it must be HOST:PORT"),
        (["--udp", "192.0.2.1:1"], 73, "--tcp-allow-remote"),
        (["--udp", "127.0.0.1:PORT"], 73, "choose another with --udp"),
        (["--datagram", "x" * 108], 73, "choose a shorter one with --datagram"),
        (["--datagram", "none/x"], 73, "make the folder none first"),
        (["--datagram", "file"], 73, "choose another path with --datagram"),
        (["--datagram", "s"], 64, "datagram and socket are the same file"),
    ],
)
def test_what_cannot_be_had(folder: Path, options: list[str], status: int, reason: str) -> None:
    """An address or a path that cannot be bound ends the start with the reason, its cure, and an exit status."""
    (folder / "file").touch()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as taken:
        taken.bind(("127.0.0.1", 0))
        options = [word.replace("PORT", str(taken.getsockname()[1])) for word in options]
        found = run_to_end(folder, "--socket", "s", *options)
    assert (found[0], reason in found[1]) == (status, True), found


def test_other_hosts_by_udp(folder: Path) -> None:
    """With --tcp-allow-remote --udp takes any address, with a warning; the answer comes from the address sent to."""
    port = free_port()
    options = ("--udp", f"0.0.0.0:{port}", "--tcp-allow-remote")
    with running(folder, *options) as daemon:
        assert "and its users are unknown; a datagram's sender can be forged" in daemon.log
        for address in ("127.0.0.1", "127.0.0.2"):
            with sender((address, port)) as client:
                assert ask(client, b"there") == b"THERE"


def test_answer_by_stock_programs(folder: Path) -> None:
    """An unconnected client gets its answer from the address that it sent to."""
    with serving(folder), socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as client:
        client.settimeout(DEADLINE)
        client.bind(str(folder / "client"))
        client.sendto(b"from", str(at(folder)))
        assert client.recvfrom(16) == (b"FROM", str(at(folder)))
