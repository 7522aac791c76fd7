"""Advice fits the user's kind of installation."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from upperd.base import installation


def test_by_systemd_where_there_is_a_unit(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """If systemd has the unit, the advice is systemctl; if only pip installed upperd, it is the program."""
    monkeypatch.setattr(installation, "_UNITS", (str(tmp_path),))
    assert installation.command("start", "upperd --socket PATH") == "upperd --socket PATH"
    (tmp_path / "upperd.service").touch()
    assert installation.command("restart", "restart it") == "systemctl restart upperd"


@pytest.mark.parametrize(("base", "is_there"), [("/usr", True), ("/usr", False), ("", True)])
def test_manual(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, base: str, is_there: bool) -> None:
    """A manual page in an environment is named by its path, since man(1) does not look there."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path))
    monkeypatch.setattr(sys, "base_prefix", base or str(tmp_path))
    page = tmp_path / "share/man/man8/upperd.8"
    page.parent.mkdir(parents=True)
    if is_there:
        page.touch()
    assert installation.manual(8, "upperd") == (f"man {page}" if base and is_there else "man 8 upperd")
