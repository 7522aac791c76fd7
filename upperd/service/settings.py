"""What the lean parent is to do, as words `name=value` on its command line.

The launcher (cli.py) writes them. The parent never imports options.py, where the options are defined: each fork would
pay for that. So a word has its type with it: 'text', 64, 30.0, True, (0, 1000).
"""

from __future__ import annotations

from upperd.base.paths import FALLBACK_TCP

TYPE_CHECKING = False
if TYPE_CHECKING:
    from upperd.service.options import Options
else:
    Options = object


OF_UNIT = {
    "socket": "ListenStream", "socket_mode": "SocketMode", "socket_owner": "SocketUser", "socket_group": "SocketGroup",
}  # fmt: skip
"""Options that are about a path that the daemon binds; and what a socket unit has in their place."""


def about_path(said: Options) -> list[str]:
    """Those of them that have been said, and that mean nothing where the socket is passed."""
    chosen = {"socket": not said.default_socket}
    if not said.datagram:  # whose path has its permissions by them
        chosen |= {"socket_mode": said.socket_mode > 0, "socket_owner": said.socket_owner >= 0}
        chosen |= {"socket_group": said.socket_group >= 0}
    return [name for name, is_said in chosen.items() if is_said]


def no_effect(name: str, unit: str) -> str:
    """What to say of such an option where the socket is passed."""
    return f"{name.replace('_', '-')} has no effect: the socket comes from {unit}; set {OF_UNIT[name]}= there"


class Settings(Options):
    """Every option as the daemon goes by it (see options.py), and what the launcher has found besides."""

    journal: bool = False
    """Whether standard error is the journal."""
    syslog: str = ""
    """The datagram socket of syslog, to log to in its stead; empty: none."""
    listeners: str = ""
    """Sockets passed by the manager: "3=name:4=name", names without ":" by their definition."""
    socket_unit: str = ""
    """In the parent: the name of the first socket that was passed; empty: none."""
    notify_socket: str = ""
    starter: int = 0
    """A descriptor as ready_fd, of the command `upperd --daemonize`, which is told of a failure, too; 0: none."""
    watchdog_usec: int = 0
    warning: str = ""
    """What the launcher found and could not log."""
    connection: int = -1
    """With --inetd: the descriptor of the one connection; -1: we are a daemon."""
    import_path: str = ""
    """Where the launcher finds modules, for the handler's; empty: no handler is named."""
    subordinate_uids: tuple[int, ...] = ()
    """Whose they are, as subuids.py has them."""
    library_path: str = ""
    """In the parent: where it finds our own modules, as lean.py was given it."""
    folder: str = ""
    """In the parent: the working folder that it was started in; empty: it is gone."""
    arguments: tuple[str, ...] = ()
    """The launcher's command line, for a reload."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    @property
    def fallback(self) -> str:
        """HOST:PORT to bind where the default path cannot be used; empty: fail then, as for a path that was named."""
        return FALLBACK_TCP if self.default_socket and not self.no_fallback else ""

    def passed(self) -> list[tuple[int, str]]:
        """(descriptor, name) of each socket passed by the manager."""
        pairs = (item.partition("=") for item in self.listeners.split(":") if item)
        return [(int(descriptor), name) for descriptor, _, name in pairs]

    def words(self) -> list[str]:
        """As words for a command line; the launcher's own one follows after a word `--`."""
        words = [word(name, value) for name, value in vars(self).items() if name != "arguments"]
        return [*words, "--", *self.arguments]


def word(name: str, value: object) -> str:
    """The word for a value."""
    return f"{name}='{value}'" if isinstance(value, str) else f"{name}={value!r}"


def parse(words: list[str]) -> Settings:
    """Read the words of a command line. Raises ValueError: the launcher never writes such a one."""
    end = words.index("--") if "--" in words else len(words)
    values: dict[str, object] = {"arguments": tuple(words[end + 1 :])} if end < len(words) else {}
    for said in words[:end]:
        name, _, text = said.partition("=")
        try:
            values[name] = _value(text)
        except ValueError:
            raise ValueError(f"{said!r} is not a setting: start upperd by its command, not this file") from None
    return Settings(**values)


def _value(text: str) -> object:
    if text.startswith("'"):
        return text[1:-1]
    if text.startswith("("):
        return tuple(int(number) for number in text[1:-1].split(",") if number)
    if text in ("True", "False"):
        return text == "True"
    try:
        return int(text)
    except ValueError:
        return float(text)
