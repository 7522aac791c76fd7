"""Datagrams of several users: the kernel names the sender of each, and no child serves two users."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from acting import OTHER, USER, need_root
from datagrams import answers, ask, at, records, sender, serving, start_sender
from running import COMMAND, run_to_end, running, wait_until

REUSED = ("--connections-per-child", "1000", "--socket-mode", "0666")


@pytest.fixture
def open_folder(folder: Path) -> Path:
    """A folder that every user may enter."""
    need_root()
    os.chmod(folder, 0o755)
    return folder


def test_users_take_turns(open_folder: Path) -> None:
    """With four users that take turns no child serves two of them, and each datagram is answered in full."""
    texts = {61001 + user: [f"user {user} {number}\xdf" * (1 + 1000 * (number % 2)) for number in range(10)]
             for user in range(4)}  # fmt: skip
    with serving(open_folder, *REUSED, "--spare-children", "2") as daemon:
        clients = {uid: start_sender(uid, at(open_folder), texts[uid]) for uid in texts}
        for uid, client in clients.items():
            assert answers(client) == [text.upper() for text in texts[uid]]
        assert daemon.stop() == 0
        header = daemon.board.header
    assert (header["connections"], header["unanswered"], header["crashed"]) == (40, 0, 0)
    users: dict[str, list[str]] = {}
    for record in records(daemon):
        if record["connections"] != "0":
            users.setdefault(record["peer_uid"], []).append(record["connections"])
    assert {uid: sum(map(int, counts)) for uid, counts in users.items()} == dict.fromkeys(map(str, texts), 10)


def test_child_is_the_senders(open_folder: Path) -> None:
    """The child that answers belongs to the sender's user, by uid, gid and pid, and waits for more from that user."""
    with serving(open_folder, *REUSED) as daemon:
        clients = {uid: start_sender(uid, at(open_folder), ["one", "two", "three"]) for uid in (USER, OTHER)}
        for client in clients.values():
            assert answers(client) == ["ONE", "TWO", "THREE"]
        wait_until(lambda: daemon.board.busy == 0, "all is answered")
        served = [child for child in daemon.board.children if child["connections"]]
        assert {child["peer_uid"]: (child["peer_gid"], child["peer_pid"]) for child in served} == {
            uid: (uid, client.pid) for uid, client in clients.items()
        }


def test_users_need_the_same_place(open_folder: Path) -> None:
    """If only one child may exist, the users get it in turn, each with a child of its own."""
    options = ("--no-socket", "--datagram", str(at(open_folder)), "--socket-mode", "0666", "--max-children", "1")
    with running(open_folder, command=[*COMMAND, *options]) as daemon:
        for turn in range(6):
            uid = (USER, OTHER)[turn % 2]
            assert answers(start_sender(uid, at(open_folder), ["text", "more"])) == ["TEXT", "MORE"]
        assert daemon.stop() == 0
    found = [(record["peer_uid"], record["connections"]) for record in records(daemon)]
    assert found == [(str(USER), "2"), (str(OTHER), "2")] * 3


def test_children_that_are_stopped(folder: Path) -> None:
    """The parent receives datagrams, so one for a stopped child is not lost: another child answers it, once."""
    with serving(folder, "--spare-children", "1") as daemon:
        for pid in daemon.children():
            os.kill(pid, signal.SIGSTOP)
        with sender(at(folder)) as client:
            for number in range(5):
                client.send(b"text %d" % number)
            assert {client.recv(16) for _ in range(5)} == {b"TEXT %d" % number for number in range(5)}
            wait_until(lambda: daemon.board.header["stopped"] >= 1, "the child that was stopped is killed")
            header = daemon.board.header
            assert [header[name] for name in ("connections", "lost")] == [5, 0]
            assert header["handed_again"] == header["stopped"]
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(16)


def test_largest_is_handed_over(open_folder: Path) -> None:
    """A datagram of the largest size reaches its user's child complete, and the answer reaches its sender's path."""
    with serving(open_folder, *REUSED, "--spare-children", "1", "--max-children", "3") as daemon:
        assert answers(start_sender(USER, at(open_folder), ["x"])) == ["X"]
        wait_until(lambda: daemon.board.busy == 0, "a child waits for more of that user")
        with sender(at(open_folder), str(open_folder / "mine")) as client:
            for _ in range(10):
                assert ask(client, b"y" * 200_000) == b"Y" * 200_000


def test_rules_go_by_the_sender(open_folder: Path) -> None:
    """Denied users get no answer, allowed ones do; group rules use the sender's group."""
    options = ("--deny-user", str(USER), "--allow-user", "0", "--allow-group", str(OTHER), "--socket-mode", "0666")
    with serving(open_folder, *options) as daemon:
        denied = start_sender(USER, at(open_folder), ["me"], 0.5)
        assert answers(start_sender(OTHER, at(open_folder), ["me"])) == ["ME"]
        assert answers(start_sender(OTHER + 1, at(open_folder), ["me"], 0.5)) == ["no answer"]
        assert answers(denied) == ["no answer"]
        with sender(at(open_folder)) as client:
            assert ask(client, b"root") == b"ROOT"
        assert daemon.board.header["refused_access"] == 2
        assert daemon.board.header["unanswered"] == 0


def test_rate_of_a_user(open_folder: Path) -> None:
    """A user that exceeds its rate of datagrams is refused for a while; other users are not."""
    with serving(open_folder, *REUSED, "--max-rate-per-user", "5") as daemon:
        many = start_sender(USER, at(open_folder), [str(number) for number in range(5000)], 0.05)
        wait_until(lambda: daemon.board.header["refused_rate"] > 0, "the sender is refused")
        assert answers(start_sender(OTHER, at(open_folder), ["other"])) == ["OTHER"]
        many.kill()
        many.communicate()


def test_abstract_socket(open_folder: Path) -> None:
    """--datagram @NAME serves root and the daemon's user, unless others are allowed by name; one daemon has it."""
    name = f"@upperd-datagram-{os.getpid()}"
    options = ("--no-socket", "--datagram", name, "--scoreboard", str(open_folder / "scoreboard"))
    with running(open_folder, command=[*COMMAND, *options]) as daemon:
        assert answers(start_sender(0, name, ["root"])) == ["ROOT"]
        assert answers(start_sender(USER, name, ["me"], 0.5)) == ["no answer"]
        wait_until(lambda: daemon.board.header["refused_access"] == 1, "it is counted")
        assert daemon.board.listeners == [f"unix-dgram:{name} (bound, for root alone)"]
        assert run_to_end(open_folder, "--no-socket", "--datagram", name)[0] == 75
    with running(open_folder, command=[*COMMAND, *options, "--allow-user", str(USER)]):
        assert answers(start_sender(USER, name, ["me"])) == ["ME"]
