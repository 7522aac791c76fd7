"""The daemon's files: a removed one is made again, or reported."""

from types import SimpleNamespace
from typing import Any

from upperd.service.upkeep import Upkeep


def _fails() -> None:
    raise OSError(17, "File exists")


def test_what_cannot_be_mended_is_said_once() -> None:
    """A lost socket or scoreboard, and a file that cannot be made again, cause a warning each, with the cure."""
    said: list[str] = []
    lost = SimpleNamespace(path="/x/s", activated=True, is_lost=True)
    kept = SimpleNamespace(path="/x/t", activated=True, is_lost=False, keep_lock=_fails)
    parent: Any = SimpleNamespace(
        loop=SimpleNamespace(now=0.0, timers=[]), board=SimpleNamespace(path="/x/b", is_lost=True)
    )
    opening: Any = SimpleNamespace(opened=[lost, kept])
    log: Any = SimpleNamespace(write=lambda level, event, text: said.append(text))
    pid_file: Any = SimpleNamespace(keep=lambda: None)
    upkeep = Upkeep(parent, opening, [], log, pid_file)
    for _ in range(2):
        upkeep.look()
    assert said == [
        "/x/s was removed: no client finds it; a reload binds it anew",
        "cannot restore a file that was removed: File exists",
        "/x/b was removed: there are no statistics until a restart",
    ]
