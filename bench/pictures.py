"""Makes the pictures of the README, as SVG, of what really ran.

python bench/pictures.py top OUT.svg [--socket PATH] [--seconds N]
    upperctl top after N seconds with some busy clients; if no daemon runs at PATH, one is started.
python bench/pictures.py text OUT.svg --title 'systemctl status upperd' < TEXT
    the output of a command, with or without colours, such as `SYSTEMD_COLORS=1 systemctl status upperd`.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import re
import select
import socket
import subprocess
import sys
import time
from collections.abc import Iterator

from rich._export_format import CONSOLE_SVG_FORMAT
from rich.console import Console
from rich.terminal_theme import MONOKAI
from rich.text import Text

from upperd.ctl import view
from upperd.ctl.picture import picture
from upperd.ctl.rows import History, Order

COLUMNS, LINES = 80, 24
WIDTH = 12.2
"""The width of a character in rich's SVG: the font height, 20, times its aspect ratio, 0.61."""
CLIENTS = 9
LOOK = 0.25
"""Seconds between two looks. They must fill the graph within the default --seconds."""


def main() -> int:
    """Make one picture; return the exit status."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("kind", choices=["top", "text"])
    parser.add_argument("output")
    parser.add_argument("--socket", default="/run/upperd/upperd.sock")
    parser.add_argument("--seconds", type=float, default=12.0)
    parser.add_argument("--title", default="")
    arguments = parser.parse_args()
    if arguments.kind == "text":
        lines = Text.from_ansi(sys.stdin.read()).split()
        console = recorder(max(COLUMNS, *(len(line) for line in lines)), len(lines))
        console.print(*lines, sep="\n", soft_wrap=True)
        save(console, arguments.output, arguments.title)
        return 0
    with contextlib.ExitStack() as stack:
        if view.DaemonView(f"{os.path.dirname(arguments.socket)}/scoreboard").state != view.RUNNING:
            stack.enter_context(daemon(arguments.socket))
        for number in range(CLIENTS):
            stack.enter_context(client(arguments.socket, arguments.seconds, number))
        console = recorder(COLUMNS, LINES)
        console.print(*watch(arguments.socket, arguments.seconds, console))
    save(console, arguments.output, arguments.title or "upperctl top")
    return 0


def recorder(width: int, height: int) -> Console:
    """A console that records its output and shows nothing."""
    shown = open(os.devnull, "w")  # noqa: SIM115 (open as long as the console is)
    return Console(
        record=True, width=width, height=height, file=shown, force_terminal=True, color_system="truecolor",
        highlight=False, markup=False, emoji=False,
    )  # fmt: skip


def save(console: Console, path: str, title: str) -> None:
    """Write the recorded output as SVG, without web fonts: a README must not load anything."""
    form = re.sub(r"@font-face \{\{.*?\}\}\n", "", CONSOLE_SVG_FORMAT, flags=re.DOTALL)
    form = form.replace("Fira Code", "ui-monospace, Menlo, Consolas, 'DejaVu Sans Mono'")
    name = re.sub(r"\W+", "-", title) or "terminal"
    drawn = console.export_svg(title=title, code_format=form, theme=MONOKAI, unique_id=name)
    with open(path, "w", encoding="utf-8") as file:
        file.write(re.sub(r' x="([\d.]+)" (y="[\d.]+") textLength="([\d.]+)"([^>]*>)((?:&#160;)+)', _moved, drawn))


def _moved(found: re.Match[str]) -> str:
    """A text element without its leading spaces, moved right instead: some SVG renderers drop them."""
    x, y, length, rest, spaces = found.groups()
    width = WIDTH * spaces.count(";")
    return f' x="{float(x) + width:.1f}" {y} textLength="{float(length) - width:.1f}"{rest}'


@contextlib.contextmanager
def daemon(path: str) -> Iterator[None]:
    """Run a daemon of our own, ready at the start of the block, until the end of the block."""
    os.makedirs(os.path.dirname(path), exist_ok=True)
    command = [sys.executable, "-m", "upperd.service.cli", "--socket", path, "--no-fallback", "--socket-mode", "0666"]
    process = subprocess.Popen([*command, "--max-children", "64"], stderr=subprocess.DEVNULL)
    try:
        scoreboard = f"{os.path.dirname(path)}/scoreboard"
        for _ in range(200):
            found = view.DaemonView(scoreboard)
            if found.state == view.RUNNING and found.snapshot is not None and found.snapshot.spare:
                break
            select.select([], [], [], 0.05)
        yield
    finally:
        process.terminate()
        process.wait()


@contextlib.contextmanager
def client(path: str, seconds: float, number: int) -> Iterator[None]:
    """Run a client in its own process, and as root also as another user, until the end of the block."""
    pid = os.fork()
    if pid == 0:
        try:
            if os.geteuid() == 0:
                os.setuid([0, 1, 2, 13, 33, 65534][number % 6])
            talk(path, seconds + 5, random.Random(number))
        finally:
            os._exit(0)
    try:
        yield
    finally:
        os.kill(pid, 15)
        os.waitpid(pid, 0)


def talk(path: str, seconds: float, chance: random.Random) -> None:
    """Send random amounts of text on one connection, and open short connections beside it now and then."""
    with socket.socket(socket.AF_UNIX) as kept:
        kept.connect(path)
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            block = b"text " * chance.randrange(1, 6000)
            kept.sendall(block)
            rest = len(block)
            while rest:
                rest -= len(kept.recv(65536))
            for _ in range(chance.randrange(int(2 + 3 * abs((left * 0.7) % 4 - 2)))):
                with socket.socket(socket.AF_UNIX) as short:
                    short.connect(path)
                    short.sendall(b"hello\n")
                    short.recv(16)
            select.select([], [], [], chance.uniform(0.01, 0.1))


def watch(path: str, seconds: float, console: Console) -> Iterator[object]:
    """Collect the history for so many seconds, then yield the picture."""
    history, end = History(), time.monotonic() + seconds
    while True:
        found = view.find(path).load_usages()
        history.add(found, time.monotonic())
        if time.monotonic() > end:
            break
        select.select([], [], [], LOOK)
    yield picture(console.width, found, history, Order(), LINES)


if __name__ == "__main__":
    sys.exit(main())
