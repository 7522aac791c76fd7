"""What a process holds: its descriptors, sockets, and shared memory, by /proc (proc(5))."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

_LISTENING = "00010000"
"""__SO_ACCEPTCON among the flags of /proc/net/unix."""
_TCP_LISTEN = "0A"


class Mapping(NamedTuple):
    """A mapping in the memory of a process."""

    size: int
    permissions: str
    offset: int
    inode: int
    path: str


@contextlib.contextmanager
def _unless_it_ends(pid: int) -> Iterator[None]:
    """Allow a process to end while it is inspected.

    Without memory left it belongs to root in /proc, where an ordinary user may not look.
    """
    try:
        yield
    except (FileNotFoundError, ProcessLookupError):
        return
    except PermissionError:
        with contextlib.suppress(FileNotFoundError, ProcessLookupError):
            if Path(f"/proc/{pid}/statm").read_text().split()[0] != "0":
                raise


def descriptors(pid: int) -> dict[int, str]:
    """The target of each descriptor of a process, without those that it closes at this moment."""
    found = {}
    with _unless_it_ends(pid):
        for link in Path(f"/proc/{pid}/fd").iterdir():
            with contextlib.suppress(FileNotFoundError):
                found[int(link.name)] = os.readlink(link)
    return found


def own(pid: int) -> list[str]:
    """The targets of the descriptors that are no standard streams."""
    return [link for number, link in descriptors(pid).items() if number > 2]


def sockets(pid: int) -> set[str]:
    """The inodes of its sockets, as its descriptors name them."""
    return {link for link in own(pid) if link.startswith("socket:")}


def listeners() -> set[str]:
    """The inodes of all listening sockets of this host."""
    found = set()
    for line in Path("/proc/net/unix").read_text().splitlines()[1:]:
        words = line.split()
        if words[3:4] == [_LISTENING]:  # a name with a line break continues in a line of its own
            found.add(f"socket:[{words[6]}]")
    for table in ("tcp", "tcp6"):
        for line in Path(f"/proc/net/{table}").read_text().splitlines()[1:]:
            words = line.split()
            if words[3] == _TCP_LISTEN:
                found.add(f"socket:[{words[9]}]")
    return found


def mappings(pid: int) -> list[Mapping]:
    """The memory that it shares with others (mmap(2), MAP_SHARED)."""
    found = []
    with _unless_it_ends(pid):
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            area, permissions, offset, _, inode, *path = line.split(maxsplit=5)
            low, high = (int(end, 16) for end in area.split("-"))
            if permissions.endswith("s"):
                found.append(Mapping(high - low, permissions, int(offset, 16), int(inode), "".join(path)))
    return found


def excess(parent: int, children: Iterable[int]) -> list[str]:
    """What children hold and must not: empty, or a line for each.

    A child may hold its standard streams, its channel, and a connection, of which the parent has a copy.
    """
    parents, seen, rows = sockets(parent), dict[str, int](), dict[tuple[int, int], int]()
    listening, lines = listeners(), []
    for pid in children:
        held = own(pid)
        if not held:
            continue  # it has ended
        inodes = sockets(pid)
        lines += [f"{pid} holds {link}" for link in held if link not in inodes]
        lines += [f"{pid} holds the listener {link}" for link in inodes & listening]
        if len(inodes) > 2:
            lines.append(f"{pid} holds {len(inodes)} sockets")
        if len(inodes - parents) > 1 or len(held) > len(inodes):
            lines.append(f"{pid} holds {held}, and the parent knows of {inodes & parents}")
        lines += [f"{pid} and {seen[link]} hold {link}" for link in inodes if link in seen]
        seen.update(dict.fromkeys(inodes, pid))
        writable = [mapping for mapping in mappings(pid) if "w" in mapping.permissions]
        if [mapping.size for mapping in writable] != [4096]:
            lines.append(f"{pid} maps {writable}")
        pages = [(page.inode, page.offset) for page in writable]
        lines += [f"{pid} and {rows[page]} map one page" for page in pages if page in rows]
        rows.update(dict.fromkeys(pages, pid))
    return lines
