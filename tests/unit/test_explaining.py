"""An explanation of a refusal at a file names what admits this user, and not what was done already."""

from __future__ import annotations

import errno
import grp
import os
import pwd
from types import SimpleNamespace

import pytest

from upperd.client.explaining import explain


@pytest.mark.parametrize(
    ("members", "own", "cure"),
    [
        ([], [], "join the group (usermod -aG clients ann) and log in again"),
        (["ann"], [], "ann has joined that group since this login: log in again, or run 'newgrp clients'"),
        (["ann"], [4242], "ask owner, or run as that user"),
    ],
    ids=["no member", "not logged in again", "member"],
)
def test_cure_of_a_refusal(monkeypatch: pytest.MonkeyPatch, members: list[str], own: list[int], cure: str) -> None:
    """A non-member is told to join, a new member to log in again; a user that has both done is told neither."""
    status = SimpleNamespace(st_mode=0o140660, st_uid=4241, st_gid=4242)
    monkeypatch.setattr(os, "stat", lambda path: status)
    monkeypatch.setattr(os, "access", lambda path, mode: True)
    monkeypatch.setattr(os, "getgroups", lambda: own)
    monkeypatch.setattr(grp, "getgrgid", lambda gid: _Group(members))
    monkeypatch.setattr(pwd, "getpwuid", lambda uid: ["owner" if uid == 4241 else "ann"])
    monkeypatch.setattr(pwd, "getpwnam", lambda name: SimpleNamespace(pw_gid=1))
    error = explain("/run/s", PermissionError(errno.EACCES, "denied"), is_named=True)
    assert (error.status, str(error).endswith(cure)) == (77, True)


class _Group(tuple[str]):
    """As grp.struct_group: its name is the first."""

    gr_mem: list[str]

    def __new__(cls, members: list[str]) -> _Group:
        made = super().__new__(cls, ["clients"])
        made.gr_mem = members
        return made
