"""--allow-user, --allow-group, --deny-user: a client is admitted or refused before a byte is read."""

from __future__ import annotations

import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from running import DEADLINE, Daemon, read_to_end, run_to_end, running, wait_until
from users import ALICE, BOB, CAROL, connect_as, is_ended, is_served, needs_root, serves

STAFF, GUESTS = 62001, 62002
"""Two groups without an entry in group(5)."""


@pytest.fixture
def config(folder: Path) -> Path:
    needs_root(folder)
    path = folder / "upperd.toml"
    path.write_text("")
    return path


@pytest.fixture
def guarded(folder: Path, config: Path) -> Iterator[Callable[[str], Daemon]]:
    """Start a daemon with this text as its configuration file."""
    contexts = []

    def start(text: str) -> Daemon:
        config.write_text(text)
        context = running(folder, "--config", str(config), "--socket-mode", "0666")
        contexts.append(context)
        return context.__enter__()

    yield start
    for context in contexts:
        context.__exit__(None, None, None)


def _reload(daemon: Daemon, config: Path, text: str) -> None:
    config.write_text(text)
    daemon.signal(signal.SIGHUP)
    daemon.manager.wait_for("RELOADING=1")
    daemon.manager.wait_for("READY=1")


def test_everybody_may_come_by_default(guarded: Callable[[str], Daemon]) -> None:
    """Without rules, every user admitted by the socket's permissions is served."""
    daemon = guarded("")
    assert serves(daemon, ALICE)
    assert serves(daemon, 0)


def test_allowed_users(guarded: Callable[[str], Daemon]) -> None:
    """If some users are allowed, all others are refused, also root and the daemon's own user."""
    daemon = guarded(f'allow-user = [{ALICE}, "{BOB}"]')
    assert [serves(daemon, uid) for uid in (ALICE, BOB, CAROL, 0)] == [True, True, False, False]


def test_denied_users(guarded: Callable[[str], Daemon]) -> None:
    """If some users are denied, all others are served."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    assert [serves(daemon, uid) for uid in (ALICE, BOB, 0)] == [False, True, True]


def test_allowed_groups(guarded: Callable[[str], Daemon]) -> None:
    """A group admits users that have it as primary or supplementary group, and no others."""
    daemon = guarded(f"allow-group = [{STAFF}]")
    assert serves(daemon, ALICE, gid=STAFF)
    assert serves(daemon, ALICE, groups=[GUESTS, STAFF])
    assert not serves(daemon, ALICE, groups=[GUESTS])
    assert not serves(daemon, 0)


def test_member_of_many_groups(guarded: Callable[[str], Daemon]) -> None:
    """All groups of a user are checked, even a thousand."""
    daemon = guarded(f"allow-group = [{STAFF}]")
    many = [*range(70_000, 70_999)]
    assert serves(daemon, ALICE, groups=[*many, STAFF])
    assert not serves(daemon, ALICE, groups=many)


def test_order(guarded: Callable[[str], Daemon]) -> None:
    """A rule about a user has precedence over rules about its groups, and those over the default."""
    daemon = guarded(f"deny-user = [{ALICE}]\nallow-user = [{BOB}]\nallow-group = [{STAFF}]")
    assert not serves(daemon, ALICE, gid=STAFF)
    assert serves(daemon, BOB, gid=GUESTS)
    assert serves(daemon, CAROL, gid=STAFF)
    assert not serves(daemon, CAROL)


def test_refused_before_a_byte_is_read(guarded: Callable[[str], Daemon]) -> None:
    """A refused connection is closed without an answer, whatever was sent; it is counted, in total and by reason."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    for connection in connect_as(daemon, ALICE, count=7):
        with connection:
            assert not is_ended(connection)
    wait_until(lambda: daemon.board.header["refused_access"] == 7, "they are counted")
    header = daemon.board.header
    assert (header["refused"], header["connections"], header["bytes_in"], header["ended"]) == (7, 0, 0, 0)


def test_upperctl_says_so(guarded: Callable[[str], Daemon]) -> None:
    """A refused client is told of the refusal, the rule, and the cure, with the status of a refusal."""
    daemon = guarded("deny-user = [0]")
    command = [sys.executable, "-m", "upperd.ctl.main", "--socket", str(daemon.path), "send", "hello"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE)
    assert (done.returncode, done.stdout) == (77, "")
    assert "the rules of the daemon refuse uid 0: ask its administrator" in done.stderr


def test_refusals_are_logged(guarded: Callable[[str], Daemon]) -> None:
    """Refusals are logged with their number, their reason and the user; a flood of them takes few lines."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    for connection in connect_as(daemon, ALICE, count=60):
        connection.close()

    def logged() -> int:
        lines = [line for line in daemon.log.splitlines() if " deny: " in line]
        assert all(f"peer_uid={ALICE}" in line and "by the access rules" in line for line in lines)
        return sum(int(line.partition(" refused=")[2].split()[0]) for line in lines)

    wait_until(lambda: logged() == 60, "every refusal is in the log")
    assert daemon.log.count(" deny: ") <= 10
    wait_until(lambda: "60 refused" in daemon.manager.wait_for("STATUS="), "the status says so")


@pytest.mark.parametrize("by", ["reload", "end"])
def test_last_refusals_are_logged(guarded: Callable[[str], Daemon], config: Path, by: str) -> None:
    """A client refused just before the end, or before a reload that admits it, is in the log."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    assert not serves(daemon, ALICE)
    wait_until(lambda: "deny: refused 1 " in daemon.log, "it is logged; the next entry is a second away")
    assert not serves(daemon, ALICE)
    if by == "reload":
        _reload(daemon, config, "")
    else:
        daemon.stop()
    assert daemon.log.count("deny: refused 1 ") == 2


def test_refused_users_do_not_use_children_up(guarded: Callable[[str], Daemon]) -> None:
    """Refusing a client takes no fork: the same children serve the next client."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    forked = daemon.board.header["forked"]
    for connection in connect_as(daemon, ALICE, count=50):
        connection.close()
    wait_until(lambda: daemon.board.header["refused_access"] == 50, "they are counted")
    assert daemon.board.header["forked"] == forked
    assert serves(daemon, BOB)


def test_reload_changes_the_rules(guarded: Callable[[str], Daemon], config: Path) -> None:
    """After a reload the new rules hold for every new client."""
    daemon = guarded(f"deny-user = [{ALICE}]")
    assert [serves(daemon, uid) for uid in (ALICE, BOB)] == [False, True]
    _reload(daemon, config, f"deny-user = [{BOB}]")
    assert [serves(daemon, uid) for uid in (ALICE, BOB)] == [True, False]
    _reload(daemon, config, "")
    assert [serves(daemon, uid) for uid in (ALICE, BOB)] == [True, True]
    assert f"deny-user {ALICE} -> {BOB}" in daemon.log


def test_reload_ends_who_is_no_longer_allowed(guarded: Callable[[str], Daemon], config: Path) -> None:
    """A reload ends the connections of users no longer allowed, answers what they had sent, and ends no others."""
    daemon = guarded(f"allow-group = [{STAFF}, {GUESTS}]")
    held = {
        name: connect_as(daemon, uid, gid=uid, groups=groups)[0]
        for name, uid, groups in (("alice", ALICE, [STAFF]), ("bob", BOB, [GUESTS]), ("carol", CAROL, [GUESTS, STAFF]))
    }
    assert all(is_served(connection) for connection in held.values())
    _reload(daemon, config, f"allow-group = [{GUESTS}]")
    assert read_to_end(held["alice"]) == b""
    assert is_served(held["bob"])
    assert is_served(held["carol"])
    wait_until(lambda: daemon.board.header["ended_access"] == 1, "it is counted")
    wait_until(lambda: "outcome=denied" in daemon.log, "the record says why")
    _reload(daemon, config, f"allow-group = [{GUESTS}]\ndeny-user = [{CAROL}]")
    assert read_to_end(held["carol"]) == b""
    assert is_served(held["bob"])
    for connection in held.values():
        connection.close()


def test_unfinished_answer_of_one_who_is_no_longer_allowed(guarded: Callable[[str], Daemon], config: Path) -> None:
    """A user that is no longer allowed gets the answers to all that the daemon had received, before the end."""
    daemon = guarded("")
    [connection] = connect_as(daemon, ALICE)
    with connection:
        connection.setblocking(False)
        sent = 0
        while sent < 1 << 20:
            try:
                sent += connection.send(b"x" * 65536)
            except BlockingIOError:
                break
        _reload(daemon, config, f"deny-user = [{ALICE}]")
        connection.settimeout(DEADLINE)
        assert read_to_end(connection) == b"X" * sent


@pytest.mark.parametrize(
    ("option", "name", "says"),
    [
        ("--allow-user", "no-such-user", "allow-user: no user 'no-such-user' on this host"),
        ("--deny-user", "4294967295", "'4294967295' is not a user: the highest number is 4294967294"),
        ("--allow-group", "no-such-group", "allow-group: no group 'no-such-group' on this host"),
        ("--deny-user", "", "--deny-user is empty"),
        ("--socket-owner", "no-such-user", "socket-owner: no user 'no-such-user'"),
        ("--socket-mode", "0888", "socket-mode is '0888': it must be octal, such as 0660"),
        ("--socket-mode", "000", "socket-mode is '000'"),
    ],
)
def test_who_is_not_there(folder: Path, option: str, name: str, says: str) -> None:
    """An unknown name or number, or an invalid mode, is an error of the command line that names it."""
    status, said = run_to_end(folder, "--socket", str(folder / "s"), option, name)
    assert status == 64
    assert says in said


def test_contradiction(folder: Path) -> None:
    """A user that is both allowed and denied, under any name, is an error."""
    status, said = run_to_end(folder, "--socket", "s", "--allow-user", "root", "--deny-user", "0")
    assert status == 64
    assert "allow-user and deny-user both name user 0: choose one" in said
