"""The settings of the lean parent, as words `name=value` on its command line.

The launcher (cli.py) writes them. The parent never imports options.py, which defines the options, because that would
make each fork cost more. So the form of a value shows its type: 'text', 64, 30.0, True, (0, 1000).
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
"""Options about the path that the daemon binds, and the settings of a socket unit that replace them."""


def about_path(said: Options) -> list[str]:
    """Those of OF_UNIT that were given, and that have no effect if the manager passes the socket."""
    chosen = {"socket": not said.default_socket}
    if not said.datagram:  # its path has the same permissions
        chosen |= {"socket_mode": said.socket_mode > 0, "socket_owner": said.socket_owner >= 0}
        chosen |= {"socket_group": said.socket_group >= 0}
    return [name for name, is_said in chosen.items() if is_said]


def no_effect(name: str, unit: str) -> str:
    """The warning about such an option, if the socket comes from `unit`."""
    return f"{name.replace('_', '-')} has no effect: the socket comes from {unit}; set {OF_UNIT[name]}= there"


class Settings(Options):
    """Every option, converted for the daemon (options.py), and what else the launcher tells the parent."""

    journal: bool = False
    """Whether standard error is the journal."""
    syslog: str = ""
    """The path of syslog's datagram socket, to log to instead of standard error; empty: none."""
    listeners: str = ""
    """Sockets passed by the manager: "3=name:4=name". A name has no ":" (systemd.socket(5), FileDescriptorName=)."""
    socket_unit: str = ""
    """In the parent: the name of the first socket that was passed; empty: none."""
    notify_socket: str = ""
    starter: int = 0
    """Like `ready_fd`, for the command `upperd --daemonize`, which also learns of a failure; 0: none."""
    watchdog_usec: int = 0
    warning: str = ""
    """A problem that the launcher found and could not log."""
    connection: int = -1
    """With --inetd: the descriptor of the one connection; -1: we are a daemon."""
    import_path: str = ""
    """The folders in which the launcher finds modules, to import the handler; empty: no handler is named."""
    subordinate_uids: tuple[int, ...] = ()
    """The ranges of subordinate uids and their owners, as subuids.read_ranges returns them."""
    library_path: str = ""
    """In the parent: the folders with our own modules, as lean.py receives them."""
    folder: str = ""
    """In the parent: its working folder at the start; empty: the folder is gone."""
    arguments: tuple[str, ...] = ()
    """The launcher's command line, for a reload."""

    def __init__(self, **values: object) -> None:
        self.__dict__.update(values)

    @property
    def fallback(self) -> str:
        """HOST:PORT to bind if the default path cannot be used; empty: fail then, as for a path that was named."""
        return FALLBACK_TCP if self.default_socket and not self.no_fallback else ""

    def passed(self) -> list[tuple[int, str]]:
        """(descriptor, name) of each socket passed by the manager."""
        pairs = (item.partition("=") for item in self.listeners.split(":") if item)
        return [(int(descriptor), name) for descriptor, _, name in pairs]

    def words(self) -> list[str]:
        """The settings as words for a command line, then `--` and the launcher's own command line."""
        words = [word(name, value) for name, value in vars(self).items() if name != "arguments"]
        return [*words, "--", *self.arguments]


def word(name: str, value: object) -> str:
    """The word for a value."""
    return f"{name}='{value}'" if isinstance(value, str) else f"{name}={value!r}"


def parse(words: list[str]) -> Settings:
    """Read the words of a command line. Raises ValueError for a word that the launcher never writes."""
    end = words.index("--") if "--" in words else len(words)
    values: dict[str, object] = {"arguments": tuple(words[end + 1 :])} if end < len(words) else {}
    for said in words[:end]:
        name, _, text = said.partition("=")
        try:
            values[name] = _value(text)
        except ValueError:
            raise ValueError(f"{said!r} is not a setting: run upperd, not this file") from None
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
