"""HAProxy before three daemons, by the configuration in docs/."""

from __future__ import annotations

import os
import re
import socket
import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from running import DEADLINE, Daemon, activated, free_port, read_to_end, running, wait_until

DOCS = Path(__file__).parents[2] / "docs"
CONFIGURATION = (DOCS / "haproxy.cfg").read_text()
NAMES = ("a", "b", "c")
"""The names of the servers in the configuration."""
BACKEND = "upperd"


def block(language: str, part: str) -> str:
    """The code block in scaling.md that contains `part`."""
    text = (DOCS / "scaling.md").read_text()
    [found] = [code for code in re.findall(rf"```{language}\n(.*?)```", text, re.DOTALL) if part in code]
    return str(found)


def fill_in(text: str, places: dict[str, str]) -> str:
    """A configuration in docs/ with each of these places, which must occur once as a word, replaced."""
    pattern = rf"(?<= )({'|'.join(map(re.escape, places))})(?= |$)"
    found = re.findall(pattern, text, flags=re.MULTILINE)
    assert sorted(found) == sorted(places)
    return re.sub(pattern, lambda place: places[place[1]], text, flags=re.MULTILINE)


class Fleet:
    """Three daemons, each with a folder, a path and a TCP port of its own.

    `from_unit`: the port is held all the time, as by a socket unit, and passed to each daemon.
    """

    def __init__(self, folder: Path, *options: str, from_unit: bool = False) -> None:
        self._folder = folder
        self._options = options
        self._stacks: dict[str, ExitStack] = {}
        self._units: dict[str, socket.socket] = {}
        self.ports = {name: free_port() for name in NAMES}
        self.daemons: dict[str, Daemon] = {}
        for name, port in self.ports.items() if from_unit else ():
            self._units[name] = unit = socket.create_server(("127.0.0.1", port), backlog=socket.SOMAXCONN)
            unit.setblocking(True)
        for name in NAMES:
            (folder / name).mkdir()
            self.start(name)

    def start(self, name: str) -> None:
        """Start a daemon; return when it is ready."""
        folder = self._folder / name
        options: list[str] = [*self._options]
        arguments: dict[str, Any] = {}
        if name in self._units:
            options += ["--scoreboard", str(folder / "scoreboard")]
            arguments = activated(folder, [self._units[name]], *options)
            options = []
        else:
            options += ["--tcp", f"127.0.0.1:{self.ports[name]}"]
        stack = self._stacks[name] = ExitStack()
        self.daemons[name] = stack.enter_context(running(folder, *options, **arguments))

    def stop(self, name: str) -> None:
        """Send SIGTERM; return when the daemon has ended with status 0."""
        assert self.daemons[name].stop() == 0
        self._stacks.pop(name).close()

    def kill(self, name: str) -> None:
        """Send SIGKILL."""
        self.daemons[name].kill()
        self._stacks.pop(name).close()

    def tcp(self) -> dict[str, str]:
        """The address at which HAProxy finds each daemon."""
        return {name: f"127.0.0.1:{port}" for name, port in self.ports.items()}

    def paths(self) -> dict[str, str]:
        """The path of each daemon."""
        return {name: str(self.daemons[name].path) for name in NAMES}

    def close(self) -> None:
        for stack in self._stacks.values():
            stack.close()
        for unit in self._units.values():
            unit.close()


class Proxy:
    """A HAProxy, and its admin socket."""

    def __init__(
        self,
        folder: Path,
        servers: dict[str, str],
        *,
        paths: dict[str, str] | None = None,
        more: dict[str, str] | None = None,
    ) -> None:
        """Write its configuration. `servers`: the daemons' TCP addresses by their names.

        `paths`: the daemons' paths, to use instead; `more`: lines to add to a section, by its first line.
        """
        self.admin = folder / "admin.sock"
        self._log = folder / "haproxy.log"
        self.file = folder / "haproxy.cfg"
        self.port, self.tls_port = free_port(), free_port()
        self.certificate = make_certificate(folder)
        places = {
            ":9998": f"127.0.0.1:{self.port}",
            ":9943": f"127.0.0.1:{self.tls_port}",
            "/run/haproxy/admin.sock": str(self.admin),
            "/etc/haproxy/upper.pem": str(self.certificate),
        }
        text = CONFIGURATION
        if paths is None:
            places |= {f"127.0.0.1:{10001 + NAMES.index(name)}": address for name, address in servers.items()}
        else:
            places |= {f"unix@/run/upperd-{name}/upperd.sock": f"unix@{path}" for name, path in paths.items()}
            text = re.sub("^    server a .*", lambda _: block("haproxy", "unix@"), text, flags=re.M | re.S)
        for section, lines in (more or {}).items():
            assert text.count(f"{section}\n") == 1
            text = text.replace(f"{section}\n", f"{section}\n{lines}")
        text = fill_in(text, places)
        if os.geteuid() != 0:
            text = re.sub("^ +(user|group) haproxy$", "", text, flags=re.MULTILINE)
        self.file.write_text(text)

    @contextmanager
    def running(self) -> Iterator[None]:
        """Run HAProxy; enter the block when its health checks find all servers up."""
        command = ["haproxy", "-db", "-f", str(self.file)]
        with open(self._log, "wb") as log:
            process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            wait_until(lambda: self._is_there(process), "HAProxy runs")
            for name in NAMES:
                self.wait_for(name, "UP")
            yield
        finally:
            process.kill()
            process.wait()
            print(self._log.read_text())  # pytest shows it if the test failed

    def _is_there(self, process: subprocess.Popen[bytes]) -> bool:
        assert process.poll() is None, self._log.read_text()
        try:
            return bool(self.command("show info"))
        except (FileNotFoundError, ConnectionRefusedError):  # the socket is not bound, or does not listen yet
            return False

    def command(self, words: str) -> str:
        """Send a command to the admin socket (HAProxy's management guide, 9.3); return its answer."""
        with socket.socket(socket.AF_UNIX) as admin:
            admin.settimeout(DEADLINE)
            admin.connect(str(self.admin))
            admin.sendall(f"{words}\n".encode())
            return read_to_end(admin).decode()

    def set_state(self, name: str, state: str) -> None:
        """Set a server's state: `drain` (no new connections) or `ready`."""
        assert self.command(f"set server {BACKEND}/{name} state {state}").strip() == ""

    def waiting(self) -> int:
        """Connections that wait until a server has room."""
        return int(self.figures("BACKEND")["qcur"])

    def figures(self, name: str) -> dict[str, str]:
        """The figures of `show stat` about a server, or the BACKEND (management guide, 9.1)."""
        head, *rows = self.command("show stat").strip().splitlines()
        keys = head.removeprefix("# ").split(",")
        table = [dict(zip(keys, row.split(","), strict=True)) for row in rows]
        return next(row for row in table if (row["pxname"], row["svname"]) == (BACKEND, name))

    def total(self, figure: str) -> int:
        """The sum of one figure of all servers."""
        return sum(int(self.figures(name)[figure]) for name in NAMES)

    def wait_for(self, name: str, status: str) -> None:
        """Wait until the health checks report a server as UP or DOWN."""
        wait_until(lambda: self.figures(name)["status"] == status, f"server {name} is {status}")

    def wait_until_used(self, name: str, sessions: int) -> None:
        """Wait until this many sessions have a connection to the server."""
        wait_until(lambda: self.figures(name)["scur"] == str(sessions), f"server {name} has {sessions} sessions")


def make_certificate(folder: Path) -> Path:
    """A self-signed certificate for localhost, with its key."""
    request = "req -x509 -nodes -days 2 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -subj /CN=localhost"
    key, certificate, both = folder / "key.pem", folder / "certificate.pem", folder / "upper.pem"
    files = ["-addext", "subjectAltName=DNS:localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(["openssl", *request.split(), *files], check=True, capture_output=True)
    both.write_bytes(certificate.read_bytes() + key.read_bytes())
    both.chmod(0o600)
    return both
