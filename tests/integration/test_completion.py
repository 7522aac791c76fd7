"""Completion in bash, zsh and fish offers what the program takes."""

from __future__ import annotations

import argparse
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from running import DEADLINE
from terminals import Terminal
from tools import missing

from upperd.ctl.parser import COMMANDS, make_parser

FOLDER = Path(__file__).parents[2] / "systemd/completion"
EVERYWHERE = {"-h", "--help", "--socket", "--tcp", "-n"}
RUN = """
source "$1"
shift
COMP_WORDS=("$@")
COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
_upperctl
printf '%s\\n' "${COMPREPLY[@]}"
"""


def _options(command: str) -> set[str]:
    """Every option that the program takes there."""
    return {option for action in _actions(command) for option in action.option_strings}


def _actions(command: str) -> list[argparse.Action]:
    parser, commands = make_parser()
    return (commands[command] if command else parser)._actions


def _sortable() -> set[str]:
    sort = next(action for action in _actions("top") if "--sort" in action.option_strings)
    return {str(word) for word in sort.choices or ()}


def _bash() -> str:
    found = shutil.which("bash")
    if found is None:
        missing("no bash: apt-get install bash")
    return found


def _complete(*words: str, folder: Path | None = None) -> set[str]:
    """What bash offers for the last of these words."""
    command = [_bash(), "--norc", "-c", RUN, "bash", str(FOLDER / "upperctl.bash"), *words]
    done = subprocess.run(command, capture_output=True, text=True, timeout=DEADLINE, cwd=folder)
    assert (done.returncode, done.stderr) == (0, "")
    return set(done.stdout.split("\n")) - {""}


def test_bash_offers_the_commands() -> None:
    """bash offers every command and the options that may precede it, and nothing else."""
    assert _complete("upperctl", "") == set(COMMANDS) | _options("")
    assert _complete("upperctl", "--socket", "stats", "") == set(COMMANDS) | _options("")
    assert _complete("upperctl", "--socket", "=", "stats", "st") == {"status", "stats"}


@pytest.mark.parametrize("command", COMMANDS)
def test_bash_offers_the_options(command: str) -> None:
    """bash offers a command's own options after it, and nothing else."""
    assert _complete("upperctl", command, "") == _options(command)
    assert _complete("upperctl", "--tcp", "h:1", command, "--so") == {
        word for word in _options(command) if word.startswith("--so")
    }


def test_bash_offers_values(folder: Path) -> None:
    """bash offers files where a file is expected, the sort fields, and nothing where a number is expected."""
    (folder / "a file").touch()
    (folder / "another").touch()
    for before in (["--socket"], ["send", "--file"], ["stats", "--output"], ["send", "--file", "="]):
        assert _complete("upperctl", *before, "a", folder=folder) == {"a file", "another"}
    assert _complete("upperctl", "send", "--file", "=", folder=folder) == {"a file", "another"}
    assert _complete("upperctl", "top", "--sort", "") == _sortable()
    assert _complete("upperctl", "ping", "-c", "") == set()


@pytest.fixture
def terminal() -> Iterator[Terminal]:
    made = Terminal()
    yield made
    made.close()


def test_bash_completes(terminal: Terminal, folder: Path) -> None:
    """In bash on a terminal, Tab completes a word."""
    environ = {"PS1": "ready> ", "HISTFILE": "", "HOME": str(folder), "INPUTRC": os.devnull}
    with terminal.program(_bash(), "--norc", "--noprofile", "-i", environ=environ):
        terminal.wait_for("ready> ")
        terminal.type(f"source {FOLDER}/upperctl.bash\n")
        terminal.wait_for("ready> ")
        terminal.type("upperctl ver\t")
        terminal.wait_for("upperctl version ")
        terminal.type("--he\t")
        terminal.wait_for("--help ")


def _zsh_options(text: str) -> set[str]:
    """The options in the specifications of _arguments (zshcompsys(1))."""
    grouped = {word for group in re.findall(r"\{(-[^}]*)\}'\[", text) for word in group.split(",")}
    return grouped | set(re.findall(r"""['")](--?[A-Za-z]+)(?:=-?)?\[""", text))


def test_zsh_offers_the_words() -> None:
    """zsh offers every command, with the options that the program takes."""
    text = (FOLDER / "_upperctl").read_text()
    assert text.startswith("#compdef upperctl\n")
    names, _, rest = text[text.index("commands=(") :].partition("_arguments -C")
    assert re.findall(r"'([a-z]+):", names) == list(COMMANDS)
    assert _zsh_options(text[text.index("common=(") : text.index("commands=(")]) == EVERYWHERE
    first, _, cases = rest.partition("case $words[1] in")
    assert _zsh_options(first) | EVERYWHERE == _options("")
    found = {name: _zsh_options(part) for name, part in re.findall(r"^        ([a-z]+)\)$(.*?);;", cases, re.M | re.S)}
    assert {name: found.get(name, set()) | EVERYWHERE for name in COMMANDS} == {
        name: _options(name) for name in COMMANDS
    }
    assert set(re.findall(r":field:\((.*)\)", text)[0].split()) == _sortable()


def _fish_options(lines: list[str]) -> set[str]:
    long = {f"--{word}" for line in lines for word in re.findall(r" -l ([a-z]+)", line)}
    return long | {f"-{letter}" for line in lines for letter in re.findall(r" -s ([A-Za-z])\b", line)}


def test_fish_offers_the_words() -> None:
    """fish offers every command, with the options that the program takes."""
    text = (FOLDER / "upperctl.fish").read_text().replace("\\\n", "")
    lines = [line for line in text.split("\n") if line.startswith("complete ")]
    assert re.findall(r"^set -l commands (.*)$", text, re.M)[0].split() == list(COMMANDS)
    before = [line for line in lines if "not __fish_seen_subcommand_from" in line]
    assert re.findall(r" -a ([a-z]+)", "\n".join(before)) == list(COMMANDS)
    always = _fish_options([line for line in lines if " -n " not in line])
    assert always == EVERYWHERE
    assert _fish_options(before) | always == _options("")
    for name in COMMANDS:
        own = [line for line in lines if f"-n '__fish_seen_subcommand_from {name}'" in line]
        assert _fish_options(own) | always == _options(name)
    assert set(re.findall(r"-l sort .*-a '(.*?)'", text)[0].split()) == _sortable()
