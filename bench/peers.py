"""The servers that are compared: how each is started, and what it needs."""

from __future__ import annotations

import getpass
import importlib.util
import os
import shutil
import socket
import sys
import sysconfig
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from build import BUILT, HERE, replacing

MOST = 1100
"""The limit of concurrent connections for servers that need one set."""
SEARCH = os.pathsep.join((os.environ.get("PATH", os.defpath), "/usr/local/sbin", "/usr/sbin", "/sbin"))
"""Debian puts daemons into folders that are only in root's search path."""


@dataclass(frozen=True)
class Place:
    """Where a server must listen, and how it will be used."""

    folder: Path
    is_dialogue: bool
    """The client waits for each answer, so filters must not buffer their output (stdbuf(1))."""
    held: int
    """Connections that will be held open at the same time; 0: none beyond the server's defaults."""

    @property
    def path(self) -> str:
        return str(self.folder / "socket")

    @property
    def filter(self) -> list[str]:
        return [*(["stdbuf", "-o0"] if self.is_dialogue else []), "tr", "a-z", "A-Z"]

    @property
    def filter_path(self) -> str:
        return shutil.which(self.filter[0]) or self.filter[0]


@dataclass(frozen=True)
class Peer:
    """One server; `command` returns the command line, from the place and the address that clients connect to."""

    name: str
    command: Callable[[Place, str], list[str]]
    needs: str = ""
    """A program that must be installed."""
    module: str = ""
    """A Python module that must be installed."""
    package: str = ""
    is_tcp: bool = False
    needs_root: bool = False
    is_slow: bool = False
    """It takes seconds to start, so a smoke run omits it unless it is named."""
    most: int = 1000
    """Connections that it can hold open and still serve a few more."""
    is_notifying: bool = False
    """It notifies a service manager (sd_notify(3))."""

    @property
    def missing(self) -> str:
        """Why the server cannot be started; empty if it can."""
        if self.needs and shutil.which(self.needs, path=SEARCH) is None:
            return f"no {self.needs}: apt-get install {self.package}"
        if self.needs_root and os.geteuid() != 0:
            return "it takes root"
        if self.module and importlib.util.find_spec(self.module) is None:
            return f"no {self.module}: pip install {self.package}"
        return ""

    def address(self, place: Place) -> str:
        """The address that clients connect to: the path, or a free port."""
        if not self.is_tcp:
            return place.path
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            return str(probe.getsockname()[1])


LAUNCHER = """#!{python} -IS
import sys

sys.path[:0] = {path!r}
from {module} import main

sys.exit(main())
"""


def launcher(name: str, module: str) -> str:
    """A command of ours as `make install` writes it (systemd/install.sh), but running this checkout."""
    path = [str(HERE.parent), str(_installed())]
    text = LAUNCHER.format(python=os.path.realpath(sys.executable), path=path, module=module)
    # The name depends on the text, because another run may use another Python.
    program = BUILT / f"{name}-{zlib.crc32(text.encode()):08x}"
    if not program.exists():
        with replacing(program) as partial:
            partial.write_text(text)
            partial.chmod(0o755)
    return str(program)


def _installed() -> Path:
    """A folder that contains only the packages that the daemon depends on."""
    folder = BUILT / "packages"
    folder.mkdir(parents=True, exist_ok=True)
    if not (folder / "sdnotify").exists():
        with replacing(folder / "sdnotify") as partial:
            partial.symlink_to(Path(sysconfig.get_path("purelib")) / "sdnotify")
    return folder


MAX_CHILDREN = 64
"""The daemon's default."""
FIRST_UID, USERS = 60101, 200
"""A range of uids that no user of this machine has: the first, and their number."""


def limit_options(max_children: int) -> list[str]:
    """Options for every rule and limit: each is checked, none is reached. `--max-queue` is on by default."""
    uids = (os.geteuid(), *range(FIRST_UID, FIRST_UID + USERS))
    return [
        *(word for uid in uids for word in ("--allow-user", str(uid))),
        *("--max-children-per-user", str(max_children - 8), "--max-rate-per-user", "1000000"),
        *("--idle-timeout", "600", "--max-lifetime", "3600", "--max-bytes", str(1 << 50)),
    ]


def upperd(*options: str, limits: bool = True) -> Callable[[Place, str], list[str]]:
    """Our daemon with these options. `limits`: with every rule and limit in force, else only the defaults."""

    def command(place: Place, address: str) -> list[str]:
        # One user may have at most seven eighths of the children, and all held connections belong to one user.
        most = MAX_CHILDREN + place.held + place.held // 4
        fixed = ["--socket", address, "--socket-mode", "0666", "--no-fallback", "--max-children", str(most)]
        kept = limit_options(most) if limits else []
        return [launcher("upperd", "upperd.service.cli"), *fixed, *kept, *EXTRA, *options]

    return command


def upperd_default(place: Place, address: str) -> list[str]:
    """Our daemon with its defaults, on a socket that every user may connect to."""
    return [launcher("upperd", "upperd.service.cli"), "--socket", address, "--socket-mode", "0666", *EXTRA]


def upperd_datagrams(place: Place, address: str) -> list[str]:
    """Our daemon with its defaults, and a second socket for datagrams."""
    return [*upperd_default(place, address), "--datagram", datagram_path(address)]


def datagram_path(address: str) -> str:
    return f"{address}.datagram"


EXTRA: list[str] = []
"""Further options of upperd, from the command line of the benchmark."""


def mixin(*words: str) -> Callable[[Place, str], list[str]]:
    """The mixin as a library, from this checkout, run by the environment's Python as a user would."""
    script = str(HERE / "servers/mixin.py")
    return lambda place, address: ["env", f"PYTHONPATH={HERE.parent}", sys.executable, script, address, *words]


def python(script: str, *words: str) -> Callable[[Place, str], list[str]]:
    return lambda place, address: [sys.executable, str(HERE / "servers" / script), *words, address]


def compiled(name: str, *words: str) -> Callable[[Place, str], list[str]]:
    return lambda place, address: [str(BUILT / name), address, *words]


def socat(place: Place, address: str) -> list[str]:
    # -t: wait for the answer after the client's end of file.
    return ["socat", "-t", "10", f"UNIX-LISTEN:{address},fork,backlog=1000", f"EXEC:{' '.join(place.filter)}"]


def s6(place: Place, address: str) -> list[str]:
    most = str(MOST)
    return ["s6-ipcserver", "-q", "-b", "1000", "-c", most, "-C", most, "--", address, *place.filter]


def unixserver(place: Place, address: str) -> list[str]:
    return ["unixserver", "-q", "-b", "1000", "-c", str(MOST), "--", address, *place.filter]


def tcpserver(place: Place, address: str) -> list[str]:
    # No look-ups of host names, neither ours nor the client's.
    options = ["-q", "-H", "-R", "-l0", "-b", "1000", "-c", str(MOST)]
    return ["tcpserver", *options, "127.0.0.1", address, *place.filter]


XINETD = """service upper
{{
    type = UNLISTED
    socket_type = stream
    protocol = tcp
    bind = 127.0.0.1
    port = {address}
    wait = no
    user = {user}
    server = {program}
    server_args = {arguments}
    instances = UNLIMITED
    per_source = UNLIMITED
    cps = 1000000 1
    disable = no
}}
"""


def xinetd(place: Place, address: str) -> list[str]:
    file = place.folder / "xinetd.conf"
    arguments = " ".join(place.filter[1:])
    file.write_text(
        XINETD.format(address=address, user=getpass.getuser(), program=place.filter_path, arguments=arguments)
    )
    return ["xinetd", "-dontfork", "-f", str(file), "-pidfile", str(place.folder / "xinetd.pid")]


def inetd(place: Place, address: str) -> list[str]:
    file = place.folder / "inetd.conf"
    words = [address, "stream", "unix", "nowait", getpass.getuser(), place.filter_path, *place.filter]
    file.write_text(" ".join(words) + "\n")
    # -R 0: no limit on connections per second.
    return ["inetd", "-i", "-E", "-R", "0", "-q", "1000", str(file)]


def systemd(place: Place, address: str) -> list[str]:
    program = [sys.executable, str(HERE / "servers/systemd.py")]
    return [*program, address, place.filter_path, *place.filter[1:]]


PEERS = [
    Peer("upperd", upperd(), is_notifying=True),
    Peer("upperd-single", upperd("--connections-per-child", "1"), is_notifying=True),
    Peer("upperd-plain", upperd(limits=False), is_notifying=True),
    Peer("mixin", mixin(), most=50),  # max_children_per_user is 56
    Peer("mixin-single", mixin("1"), most=50),
    Peer("upperd-handler", upperd("--handler", f"{HERE}/servers/stream.py:Stream"), is_notifying=True),
    Peer("upperd-default", upperd_default, is_notifying=True),
    Peer("upperd-datagrams", upperd_datagrams, is_notifying=True),
    Peer("stream-fork", python("stream.py", "fork"), most=38),
    Peer("stream-thread", python("stream.py", "thread")),
    Peer("tutorial", python("tutorial.py", "fork"), most=38),  # max_children is 40
    Peer("threading", python("tutorial.py", "thread")),
    Peer("asyncio", python("loop.py", "asyncio", "streams")),
    Peer("uvloop", python("loop.py", "uvloop", "streams"), module="uvloop", package="uvloop"),
    Peer("uvloop-protocol", python("loop.py", "uvloop", "protocol"), module="uvloop", package="uvloop"),
    Peer("socat", socat, needs="socat", package="socat"),
    Peer("s6", s6, needs="s6-ipcserver", package="s6", most=980),
    Peer("unixserver", unixserver, needs="unixserver", package="ucspi-unix"),
    Peer("tcpserver", tcpserver, needs="tcpserver", package="ucspi-tcp", is_tcp=True),
    Peer("xinetd", xinetd, needs="xinetd", package="xinetd", is_tcp=True),
    Peer("openbsd-inetd", inetd, needs="inetd", package="openbsd-inetd"),
    Peer("systemd", systemd, needs="systemd-nspawn", package="systemd-container", needs_root=True, is_slow=True),
    Peer("c-fork", compiled("fork")),
    Peer("c-prefork", compiled("prefork", "8", "1000"), most=6),
    Peer("c-epoll", compiled("epoll")),
]
"""Our servers first, then other servers, then C programs as upper bounds."""
OURS = ("upperd", "upperctl", "mixin")
"""The prefixes of the names of our programs."""
