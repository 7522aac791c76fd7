"""The messages of both programs in the source: every text of two words or more that is not something else.

They are not found by the functions that print them: a message is put together from parts, in variables, tables and
returned complaints. So any text that reads like prose counts as a part of a message, unless its place shows that it is
help, a docstring or a table's title.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

PACKAGE = Path(__file__).parents[2] / "upperd"
PROSE = re.compile(r"[A-Za-z]{2,},? [A-Za-z]{2,}")
NOT_MESSAGES = {
    "ctl/prometheus.py": "help texts of metrics; tests/unit/test_prometheus.py",
    "ctl/rows.py": "titles of columns; tests/unit/test_rows.py",
    "ctl/picture.py": "the picture of top; tests/unit/test_picture.py",
    "ctl/top.py": "its keys; tests/integration/test_ctl_top.py",
    "demo.py": "`make run`; tests/integration/test_demo.py",
    "service/titles.py": "titles of processes; tests/integration/test_titles.py",
}
"""Files whose texts are no messages, and what tests them instead."""
HELP = {
    "Option",
    "_fixed",
    "_reloadable",
    "_add_options",
    "make_parser",
    "help_text",
    "COMMANDS",
    "TEXT",
    "EXAMPLES",
    "purpose",
    "__doc__",
}
"""Calls, functions and names with texts of --help, which tests/unit tests."""
PATTERNS = {"match", "search", "compile", "namedtuple", "removeprefix", "partition", "split", "startswith"}
PATTERNS |= {"_UNITS", "_UNQUOTED"}
"""Calls, and tables, with texts for searching, not for printing."""
MISTAKES = {"AttributeError", "TypeError"}
"""Raised for a mistake in a program that imports upperd: Python's words, with a traceback."""


class Part(NamedTuple):
    """A text in the source, and its constant words."""

    place: str
    words: tuple[str, ...]


def parts() -> list[Part]:
    """All of the constant words."""
    found = []
    for path in sorted(PACKAGE.rglob("*.py")):
        name = path.relative_to(PACKAGE).as_posix()
        if name not in NOT_MESSAGES:
            tree = ast.parse(path.read_text())
            for node, words in _texts(tree):
                found.append(Part(f"{name}:{node.lineno}", words))
    return found


def _texts(node: ast.AST) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    """Each text that reads like prose, except those that are no messages."""
    if isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant):
        return  # a docstring
    if isinstance(node, ast.JoinedStr):
        words = tuple(str(part.value) for part in node.values if isinstance(part, ast.Constant))
        yield from _prose(node, words)
        for part in node.values:
            if isinstance(part, ast.FormattedValue):
                yield from _texts(part.value)
        return
    if isinstance(node, ast.Constant):
        if isinstance(node.value, str):
            yield from _prose(node, (node.value,))
        return
    for child in _children(node):
        yield from _texts(child)


def _children(node: ast.AST) -> Iterator[ast.AST]:
    name = ""
    if isinstance(node, ast.Call):
        name = _name(node.func)
    elif isinstance(node, ast.FunctionDef):
        name = node.name
    elif isinstance(node, ast.Assign):
        name = _name(node.targets[0])
    if name not in HELP | PATTERNS | MISTAKES:
        yield from (
            child
            for child in ast.iter_child_nodes(node)
            if not (isinstance(child, ast.keyword) and child.arg == "help")
        )


def _name(node: ast.AST) -> str:
    return node.attr if isinstance(node, ast.Attribute) else getattr(node, "id", "")


def _prose(node: ast.expr, words: tuple[str, ...]) -> Iterator[tuple[ast.expr, tuple[str, ...]]]:
    if any(PROSE.search(part) for part in words):
        yield node, tuple(part for part in words if re.search("[A-Za-z]{2}", part))


def words_of_test(name: str) -> str:
    """Every text in a test, `path::name`: in its body, its decorators, and the tables of its module that these name.

    Without its docstring, which only promises and tests nothing.
    """
    path, _, function = name.partition("::")
    module = ast.parse((PACKAGE.parent / path).read_text())
    [test] = [node for node in module.body if isinstance(node, ast.FunctionDef) and node.name == function]
    used = {node.id for node in ast.walk(test) if isinstance(node, ast.Name)}
    tables = [
        node
        for node in module.body
        if isinstance(node, (ast.Assign, ast.AnnAssign))
        and used & {x.id for x in ast.walk(node) if isinstance(x, ast.Name) and isinstance(x.ctx, ast.Store)}
    ]
    nodes = (*test.body[1:], *test.decorator_list, *tables) if ast.get_docstring(test) else (test, *tables)
    texts = [x.value for node in nodes for x in ast.walk(node) if isinstance(x, ast.Constant)]
    return "\n".join(text for text in texts if isinstance(text, str))
