"""Subordinate uids count as the user that owns them."""

from __future__ import annotations

import contextlib
from pathlib import Path

from running import COMMAND, running, wait_until
from users import ALICE, BOB, connect_as, needs_root

SUBORDINATE = """
import sys
sys.path[:0] = [{root!r}]
from upperd.service import subuids
subuids.PATH = subuids.read_ranges.__defaults__ = ({path!r},)
from upperd.service.cli import main
sys.exit(main())
"""


def test_subordinate_uids(folder: Path) -> None:
    """A uid of a range counts as its owner: for the rules, for the children of a user, and in the figures."""
    needs_root(folder)
    ranges = folder / "subuid"
    ranges.write_text(f"{ALICE}:700000:10\n{BOB}:800000:10\nroot:900000:10\n")
    program = SUBORDINATE.format(root=str(Path(__file__).parents[2]), path=str(ranges))
    words = ("--socket-mode", "0666", "--deny-user", str(BOB), "--max-children-per-user", "2", "--max-children", "6")
    command = [COMMAND[0], "-c", program, "--socket", str(folder / "upperd.sock"), "--no-fallback", *words]
    with running(folder, command=command) as daemon, contextlib.ExitStack() as until:
        clients = [until.enter_context(one) for uid in (700000, 700009, ALICE) for one in connect_as(daemon, uid)]
        for client in clients:
            client.sendall(b"a")
        served = [client.recv(1) for client in clients[:2]]
        wait_until(lambda: daemon.board.header["queued"] == 1, "the third one waits")
        assert (served, {child["peer_uid"] for child in daemon.board.children if not child["waiting"]}) == (
            [b"A", b"A"],
            {ALICE},
        )
        for uid, is_admitted in ((800000, False), (800009, False), (800010, True), (900000, True)):
            [client] = connect_as(daemon, uid)
            with client, contextlib.suppress(ConnectionError):
                client.sendall(b"a")
                assert (client.recv(1) == b"A") == is_admitted


def test_ranges_that_cannot_be_read(folder: Path) -> None:
    """If the file is unreadable, a start says so."""
    program = SUBORDINATE.format(root=str(Path(__file__).parents[2]), path=str(folder))
    command = [COMMAND[0], "-c", program, "--socket", str(folder / "upperd.sock"), "--no-fallback"]
    with running(folder, command=command) as daemon:
        assert f"{folder}: Is a directory: a user's subordinate uids count as users of their own" in daemon.log
