"""Repeated failures to start: ever slower, but never given up."""

from collections.abc import Callable
from pathlib import Path

import pytest

from upperd.service import retries
from upperd.service.notify import Notifier


class Waits:
    """A clock that only advances by waiting."""

    def __init__(self) -> None:
        self.now = 0.0
        self.at_each_look: list[Callable[[], object]] = []
        """The events during a wait, one after each look at the file."""

    def monotonic(self) -> float:
        return self.now

    def select(self, *arguments: object) -> None:
        self.now += float(str(arguments[3]))
        if self.at_each_look:
            self.at_each_look.pop(0)()


class Manager(Notifier):
    """A manager that accepts every message."""

    def __init__(self, address: str = "manager") -> None:
        super().__init__("")
        self._address = address
        self.sent: list[str] = []

    def send(self, *assignments: str, **_: object) -> bool:
        self.sent += assignments
        return True

    def flush(self, seconds: float) -> bool:
        return True


@pytest.fixture
def waits(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Waits:
    waits = Waits()
    monkeypatch.setenv("RUNTIME_DIRECTORY", str(tmp_path))
    monkeypatch.setattr(retries, "time", waits)
    monkeypatch.setattr(retries.select, "select", waits.select)
    monkeypatch.setattr(retries.signal, "signal", lambda *_: None)
    monkeypatch.setattr(retries.signal, "pthread_sigmask", lambda *_: None)
    return waits


def fail(
    waits: Waits, reason: str = "wrong", status: int = 78, manager: Manager | None = None, config: str = ""
) -> float:
    """A failed start; returns how long it waits before its end."""
    began = waits.now
    retries.slow_down(status, reason, manager or Manager(), config)
    return waits.now - began


def test_slower_and_slower(waits: Waits) -> None:
    """The first failure ends at once, so that an administrator sees it; each further one waits twice as long."""
    assert [fail(waits) for _ in range(9)] == [0, 2, 4, 8, 16, 32, 60, 60, 60]


def test_another_reason(waits: Waits) -> None:
    """Another reason is another failure: the count starts anew."""
    assert [fail(waits), fail(waits), fail(waits, "other"), fail(waits, "other")] == [0, 2, 0, 2]


def test_start_that_succeeds(waits: Waits, tmp_path: Path) -> None:
    """A start that succeeds ends the count, and leaves no file."""
    fail(waits)
    retries.forget()
    assert list(tmp_path.iterdir()) == []
    assert fail(waits) == 0
    retries.forget()
    retries.forget()


@pytest.mark.parametrize("status", [69, 71, 73, 75])
def test_what_may_mend_itself(waits: Waits, status: int) -> None:
    """A failure that may be over at the next start, such as a path that is taken, never waits."""
    assert [fail(waits, status=status) for _ in range(3)] == [0, 0, 0]


def test_without_a_manager(waits: Waits, monkeypatch: pytest.MonkeyPatch) -> None:
    """A start by hand never waits, nor does one without a folder for the count."""
    assert [fail(waits, manager=Manager("")) for _ in range(3)] == [0, 0, 0]
    monkeypatch.delenv("RUNTIME_DIRECTORY")
    assert [fail(waits) for _ in range(3)] == [0, 0, 0]


def test_manager_is_told(waits: Waits) -> None:
    """The manager is told the reason and the time of the next start, and gets a longer time-out."""
    manager = Manager()
    fail(waits)
    fail(waits, manager=manager, config="/etc/x.toml")
    said = "STATUS=wrong; the next start is in 2 s, or when /etc/x.toml is changed"
    assert manager.sent == ["EXTEND_TIMEOUT_USEC=32000000", said]


@pytest.mark.parametrize("change", ["written", "replaced", "removed"])
def test_file_is_changed(waits: Waits, tmp_path: Path, change: str) -> None:
    """A change of the configuration ends the wait."""
    config, other = tmp_path / "x.toml", tmp_path / "new"
    config.write_text("old")
    other.write_text("new")
    for _ in range(5):
        fail(waits)
    changes = {"written": lambda: config.write_text("longer"), "replaced": lambda: other.rename(config)}
    waits.at_each_look = [lambda: None, changes.get(change, config.unlink)]
    assert fail(waits, config=str(config)) == 2


def test_restart_while_it_waits(waits: Waits) -> None:
    """A restart ends the waiting process, and does not wait itself."""

    def end() -> None:
        raise SystemExit

    fail(waits)
    waits.at_each_look = [end]
    with pytest.raises(SystemExit):
        fail(waits)
    assert fail(waits) == 0


@pytest.mark.parametrize("content", ["", "many wrong", "-1 wrong", "² wrong", "\udcff", "3"])
def test_file_that_is_damaged(waits: Waits, tmp_path: Path, content: str) -> None:
    """An invalid count counts as none."""
    (tmp_path / "failed-starts").write_text(content, errors="surrogateescape")
    assert [fail(waits), fail(waits)] == [0, 2]


def test_huge_count(waits: Waits, tmp_path: Path) -> None:
    """However large the count is, the wait is one minute."""
    (tmp_path / "failed-starts").write_text(f"{10**9} wrong")
    assert fail(waits) == 60


def test_planted_link(waits: Waits, tmp_path: Path) -> None:
    """A link in place of the count is not followed, and causes no wait."""
    precious = tmp_path / "precious"
    precious.write_text("precious")
    (tmp_path / "failed-starts").symlink_to(precious)
    assert [fail(waits), fail(waits)] == [0, 0]
    assert precious.read_text() == "precious"
