"""Subordinate uids: the owner of any uid is known from a file, whatever the file contains."""

from __future__ import annotations

import pwd
from collections.abc import Callable
from contextlib import AbstractContextManager
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from upperd.service import subuids
from upperd.service.subuids import Owners, read_ranges

NAMED = next(entry for entry in pwd.getpwall() if entry.pw_uid != 0)
"""Some user of this host other than root."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """The path of the file."""
    return tmp_path / "subuid"


@pytest.mark.parametrize(
    ("text", "found"),
    [
        pytest.param("", (), id="empty"),
        pytest.param("1001:100000:65536\n", (100000, 65536, 1001), id="numeric owner"),
        pytest.param(f"{NAMED.pw_name}:100000:9\n", (100000, 9, NAMED.pw_uid), id="named owner"),
        pytest.param("1001:100000:9", (100000, 9, 1001), id="no last newline"),
        pytest.param(
            "1001:100000:9\n1002:200000:8\n1001:300000:7\n",
            (100000, 9, 1001, 200000, 8, 1002, 300000, 7, 1001),
            id="several owners, several ranges",
        ),
        pytest.param("root:100000:9\n0:200000:9\n1001:300000:1\n", (300000, 1, 1001), id="ranges of root"),
        pytest.param("1001:0:9\n", (), id="a range from root on"),
        pytest.param("no-such-user:100000:9\n1001:5:5\n", (5, 5, 1001), id="unknown owner"),
    ],
)
def test_ranges(path: Path, text: str, found: tuple[int, ...]) -> None:
    """Each range of a user is read, in the order of the file; those of root and of unknown owners are left out."""
    path.write_text(text)
    assert read_ranges(str(path)) == (found, "")


@pytest.mark.parametrize(
    "line",
    [
        *("", ":", "::", ":1:1", "1001", "1001:", "1001:5", "1001::5", "1001:5:", "1001:5:0", "1001:-5:5", "1001:5:-5"),
        *("1001:x:5", "1001:5:x", "1001:0x5:5", "1001:5.0:5", "# 1001:5:5", "\xff\xfe:5:5", "²:5:5", "1001:²:5"),
    ],
)
def test_broken_lines(path: Path, line: str) -> None:
    """A broken line is left out, and the others still count."""
    path.write_bytes(b"1001:7:7\n" + line.encode("latin-1") + b"\n1002:70:7\n")
    assert read_ranges(str(path)) == ((7, 7, 1001, 70, 7, 1002), "")


def test_no_file(path: Path) -> None:
    """Without the file there are no ranges, and no error."""
    assert read_ranges(str(path)) == ((), "")


def test_unreadable_file(path: Path, not_as_root: Callable[[], AbstractContextManager[None]]) -> None:
    """An unreadable file, or a folder in its place, is named, with the reason and the consequence."""
    consequence = "a user's subordinate uids count as users of their own"
    path.touch(0o600)
    path.chmod(0)
    with not_as_root():
        found, problem = read_ranges(str(path))
    assert (found, problem.endswith(consequence), str(path) in problem) == ((), True, True)
    path.unlink()
    path.mkdir()
    assert read_ranges(str(path)) == ((), f"{path}: Is a directory: {consequence}")


def test_more_ranges_than_are_handed_over(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Of too many ranges the first ones count, and a warning says that others are ignored."""
    monkeypatch.setattr(subuids, "MOST_RANGES", 2)
    path.write_text("".join(f"1001:{first}:1\n" for first in (5, 6)))
    assert read_ranges(str(path)) == ((5, 1, 1001, 6, 1, 1001), "")
    path.write_text("".join(f"1001:{first}:1\n" for first in (5, 6, 7)))
    found, problem = read_ranges(str(path))
    assert (found, problem) == ((5, 1, 1001, 6, 1, 1001), f"{path} has more than 2 ranges, ignoring the others")


def test_the_bounds_of_ranges() -> None:
    """A range holds its first uid and as many as its count; any uid outside of the ranges is its own."""
    owners = Owners((300, 10, 1002, 100, 10, 1001, 110, 1, 1003))
    expected = {0: 0, 99: 99, 100: 1001, 109: 1001, 110: 1003, 111: 111, 299: 299, 300: 1002, 309: 1002, 310: 310}
    assert {uid: owners.of(uid) for uid in expected} == expected
    assert owners.of(2**64 - 1) == 2**64 - 1  # not known


def test_without_ranges() -> None:
    """Without ranges every uid is its own."""
    assert [Owners().of(uid) for uid in (0, 1, 100000, 2**64 - 1)] == [0, 1, 100000, 2**64 - 1]


@given(
    st.lists(st.tuples(st.integers(1, 60), st.integers(1, 20), st.integers(1001, 1005)), max_size=4), st.integers(0, 99)
)
def test_whoever_is_found_has_it(ranges: list[tuple[int, int, int]], uid: int) -> None:
    """Whatever the ranges, also unordered and overlapping, a uid's owner has a range with it, or is the uid itself."""
    owner = Owners([number for one in ranges for number in one]).of(uid)
    owners = {owner for first, count, owner in ranges if first <= uid < first + count}
    assert owner in owners or owner == uid
