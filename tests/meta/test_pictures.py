"""The programs that draw the pictures of the README."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[2]


def test_a_picture_of_a_text(tmp_path: Path) -> None:
    """A coloured text becomes an SVG with its words and colours in their places, which loads nothing from elsewhere."""
    command = [sys.executable, str(ROOT / "bench/pictures.py"), "text", str(tmp_path / "x.svg"), "--title", "two words"]
    done = subprocess.run(command, input="\x1b[1;32mgreen\x1b[0m\n   indented\n", text=True, capture_output=True)
    assert (done.returncode, done.stderr) == (0, "")
    drawn = (tmp_path / "x.svg").read_text()
    expected = ("two&#160;words", ">green<", 'x="36.6" y="44.4"', ">indented<")
    assert [word for word in expected if word not in drawn] == []
    assert "url(http" not in drawn
    assert "@font-face" not in drawn


def test_the_picture_of_the_flow_is_the_programs(tmp_path: Path) -> None:
    """The picture of the README is the output of its program."""
    drawn = tmp_path / "flow.svg"
    subprocess.run([sys.executable, str(ROOT / "bench/flow.py"), str(drawn)], check=True)
    assert drawn.read_text() == (ROOT / "bench/pictures/flow.svg").read_text()
