"""The options as the lean parent gets them: ready-made, checked, as words `name=value` on its command line.

They are defined in options.py, which is too heavy for a process that forks. The launcher (cli.py) writes the words, the
parent reads them, and a test holds both to the same names.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class Settings:
    """What the parent is to do. Empty text stands for "none"."""

    socket: str = ""
    """The path to bind."""
    default_socket: bool = False
    """Whether nobody named that path, so that its folder is ours to make."""
    no_socket: bool = False
    """Whether the path is not to be bound, only to say where the scoreboard lies."""
    tcp: str = ""
    """HOST:PORT to bind; empty: none."""
    tcp_allow_remote: bool = False
    """Whether that, and `udp`, may be an address that other hosts can reach."""
    udp: str = ""
    """HOST:PORT for datagrams to bind; empty: none."""
    datagram: str = ""
    """The path for datagrams to bind; empty: none."""
    fallback: str = ""
    """HOST:PORT to bind where the path cannot be had; empty: fail then."""
    scoreboard: str = ""
    """The file; empty: beside the first Unix socket."""
    pid_file: str = ""
    max_children: int = 0
    spare_children: int = 0
    connections_per_child: int = 0
    max_children_per_user: int = 0
    max_rate_per_user: float = 0.0
    """Connections a second; 0: no limit."""
    idle_timeout: float = 0.0
    max_lifetime: float = 0.0
    """Seconds; 0: no limit."""
    max_bytes: int = 0
    allow_user: str = ""
    allow_group: str = ""
    deny_user: str = ""
    """Lists of uids and gids: "0,1000"."""
    socket_mode: int = 0
    """Permissions of the path; 0: as the umask has it."""
    socket_owner: int = -1
    socket_group: int = -1
    """Whose the path is to be; -1: ours."""
    drain_timeout: float = 0.0
    """Seconds."""
    idle_exit: float = 0.0
    """Seconds without a connection after which to leave; 0: never."""
    store_listeners: bool = False
    """Whether the manager keeps the listeners that we bind."""
    log_level: str = "info"
    journal: bool = False
    """Whether standard error is the journal."""
    syslog: str = ""
    """The datagram socket of syslog, to log to in its stead; empty: none."""
    ready_fd: int = 0
    """The descriptor on which the supervisor waits for a newline; 0: none."""
    listeners: str = ""
    """Sockets passed by the manager: "3=name:4=name", names without ":" by their definition."""
    arguments: str = ""
    """The launcher's command line, for a reload."""
    titles: str = ""
    """The folder of the package setproctitle."""
    warning: str = ""
    """What the launcher found and could not log."""
    notify_socket: str = ""
    starter: bool = False
    """Whether that is the socket of who started us with --daemonize: it waits for READY=1, and is gone then."""
    watchdog_usec: int = 0

    def words(self) -> list[str]:
        """As words for a command line: only what is not the default."""
        said = {name: value for name, value in vars(self).items() if value != getattr(Settings, name)}
        return [f"{name}={int(value) if value is True else value}" for name, value in said.items()]

    def passed(self) -> list[tuple[int, str]]:
        """(descriptor, name) of each socket passed by the manager."""
        pairs = (item.partition("=") for item in self.listeners.split(":") if item)
        return [(int(descriptor), name) for descriptor, _, name in pairs]


def numbers(text: str) -> list[int]:
    """The numbers of a list."""
    return [int(word) for word in text.split(",") if word]


_CONVERT: dict[str, Callable[[str], object]] = {
    "str": str,
    "int": int,
    "float": float,
    "bool": lambda word: word == "1",
}


def parse(words: list[str]) -> Settings:
    """Read the words of a command line. Raises ValueError: the launcher never writes such a one."""
    settings = Settings()
    for word in words:
        name, equals, value = word.partition("=")
        kind = Settings.__annotations__.get(name)
        if not equals or kind is None:
            raise ValueError(f"{word!r} is not a setting: start upperd by its command, not this file")
        setattr(settings, name, _CONVERT[kind](value))
    return settings
