"""The promises of what upperctl shows."""

from pathlib import Path

from upperd.ctl import view
from upperd.server.scoreboard import Scoreboard


def test_control_characters_are_escaped(tmp_path: Path) -> None:
    """What a scoreboard, or the name of its file, has of control characters is shown as escapes."""
    path = str(tmp_path / "a\x1b[2J")
    assert "no scoreboard at" in view.status_text(view.Sight(path))
    assert view.status_text(view.Sight(path)).replace("\n", "").isprintable()
    Scoreboard(path).describe("1\x9b", ["unix:/b\x1b]0;c\x07", "unix:/é\u202e"])
    screen = view.status_text(view.Sight(path)).split("\n")
    assert [line for line in screen if not line.isprintable()] == []
    assert screen[0].startswith("upperd 1\\x9b: not running")
    assert [line.split(None, 1)[1] for line in screen if "listening" in line] == [
        "unix:/b\\x1b]0;c\\x07", "unix:/é\\u202e",
    ]  # fmt: skip
