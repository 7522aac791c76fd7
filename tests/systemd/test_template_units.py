"""Several daemons on one host: instances of upperd@.service and upperd@.socket."""

from __future__ import annotations

import json
import os
import re
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from installed import CHECKOUT, DEADLINE, Upperd, read_to_end
from questions import asking, wait_for_progress
from releases import release_of

NAMES = ("a", "b", "c")
SOCKETS = [f"/run/upperd-{name}/upperd.sock" for name in NAMES]
ABSENT = "nobody"
"""An instance without a file of options."""
TEMPLATES = tuple(f"/usr/local/lib/systemd/system/upperd@.{kind}" for kind in ("socket", "service"))


class Instances:
    """Three daemons, `a`, `b` and `c`, each with a file of options."""

    def __init__(self, upperd: Upperd) -> None:
        self._upperd = upperd
        self.machine = upperd.machine
        for index, name in enumerate(NAMES):
            Path(self.machine.path(f"/etc/upperd/{name}.toml")).write_text(f"max-children = {10 + index}\n")

    def systemctl(self, *arguments: str) -> str:
        return self._upperd.systemctl(*arguments)

    def property(self, name: str, instance: str) -> str:
        return self.systemctl("show", "--property", name, "--value", f"upperd@{instance}.service")

    def ask_one(self, instance: str, text: str) -> str:
        """Connect, send, half-close, and read to the end."""
        with closing(socket.socket(socket.AF_UNIX)) as connection:
            connection.settimeout(DEADLINE)
            connection.connect(self.machine.path(f"/run/upperd-{instance}/upperd.sock"))
            connection.sendall(text.encode())
            connection.shutdown(socket.SHUT_WR)
            return read_to_end(connection)

    def stats(self, instance: str) -> dict[str, object]:
        done = self.machine.output("upperctl", "--socket", f"/run/upperd-{instance}/upperd.sock", "stats", "--json")
        return dict(json.loads(done))


@pytest.fixture
def instances(upperd: Upperd) -> Iterator[Instances]:
    """Three running instances."""
    instances = Instances(upperd)
    instances.systemctl("start", *(f"upperd@{name}" for name in NAMES))
    yield instances
    upperd.systemctl("stop", "upperd@*.socket", "upperd@*.service")
    print(upperd.machine.output("journalctl", "--unit=upperd@*", "--lines=50"))
    upperd.machine.run("systemctl", "reset-failed", "upperd@*", check=False)
    files = [f"/etc/upperd/{name}.toml" for name in NAMES]
    upperd.machine.run("rm", "-rf", *files, *(f"/run/upperd-{name}" for name in (*NAMES, ABSENT)))


def test_instances_are_apart(instances: Instances) -> None:
    """Each instance has its own process, socket, scoreboard and options, and the sandbox of upperd.service."""
    assert [instances.ask_one(name, f"straße {name}") for name in NAMES] == ["STRASSE A", "STRASSE B", "STRASSE C"]
    figures = {name: instances.stats(name) for name in NAMES}
    assert [figures[name]["max_children"] for name in NAMES] == [10, 11, 12]
    assert [figures[name]["connections"] for name in NAMES] == [1, 1, 1]
    mains = {instances.property("MainPID", name) for name in NAMES}
    assert len(mains) == 3
    assert "0" not in mains
    assert instances.machine.output("stat", "--format=%a %U:%G", "/run/upperd-a/upperd.sock") == "660 upperd:upperd"
    release = release_of(instances.machine)
    instances.machine.run("systemd-analyze", "security", f"--threshold={release.exposure}", "upperd@a.service")
    done = instances.machine.run("systemd-analyze", "verify", "--man=no", *TEMPLATES)
    assert [line.split(": ", 1)[1] for line in done.stderr.splitlines()] == list(release.ignored.values())


def test_one_restarts_while_the_others_serve(instances: Instances) -> None:
    """A restart of one instance, and a reload of another, lose no request to any; the third is not touched."""
    before = {name: instances.property("MainPID", name) for name in NAMES}
    with asking(instances.machine, SOCKETS) as clients:
        for _ in range(3):
            instances.systemctl("restart", "upperd@b")
            wait_for_progress(clients)
        instances.systemctl("reload", "upperd@c")
        wait_for_progress(clients)
    after = {name: instances.property("MainPID", name) for name in NAMES}
    assert [name for name in NAMES if after[name] != before[name]] == ["b"]


def test_without_its_socket_unit(instances: Instances) -> None:
    """An instance with a masked socket unit binds a path in its own folder, and clients find it by its name."""
    instances.systemctl("stop", "upperd@c.socket", "upperd@c.service")
    instances.systemctl("mask", "--runtime", "upperd@c.socket")
    instances.systemctl("start", "upperd@c")
    try:
        assert instances.machine.output("upperctl", "-n", "c", "send", "by itself") == "BY ITSELF"
    finally:
        instances.systemctl("unmask", "--runtime", "upperd@c.socket")


PAGE = CHECKOUT / "docs/handlers.md"
EXAMPLES = ("shout", "restarter", "lookup")
DATABASE = """
import sqlite3
with sqlite3.connect("/srv/lookup/words.db") as database:
    database.execute("CREATE TABLE words (word, meaning)")
    database.execute("INSERT INTO words VALUES ('upper', 'higher')")
"""


@pytest.fixture
def examples(upperd: Upperd) -> Iterator[Upperd]:
    """The examples of docs/handlers.md, installed as the page says, with the files that they work on."""
    machine = upperd.machine
    files = re.findall(r"^```(?:python|toml|ini)\n# (/\S+)\n(.*?)^```$", PAGE.read_text(), re.M | re.S)
    for path, text in files:
        machine.run("mkdir", "-p", os.path.dirname(path))
        Path(machine.path(path)).write_text(text)
    unit = "/run/systemd/system/example.service"
    Path(machine.path(unit)).write_text("[Service]\nExecStart=/bin/sleep infinity\n")
    machine.run("groupadd", "operators")
    machine.run("usermod", "--append", "--groups", "operators", "alice")
    machine.run("mkdir", "-p", "/srv/lookup")
    machine.run("python3", "-c", DATABASE)
    upperd.systemctl("daemon-reload")
    yield upperd
    print(machine.output("journalctl", "--unit=upperd@*", "--lines=60"))
    upperd.systemctl("stop", "upperd@*.socket", "upperd@*.service", "example.service")
    machine.run("rm", "-rf", unit, "/srv/lookup", *(path for path, _ in files))
    machine.run("groupdel", "operators")
    machine.run("systemctl", "reset-failed", "upperd@*", check=False)
    upperd.systemctl("daemon-reload")


def test_examples_of_the_page(examples: Upperd) -> None:
    """The examples of docs/handlers.md serve in the sandbox, each by its name, with their counters and labels."""
    machine = examples.machine
    examples.systemctl("start", *(f"upperd@{name}" for name in EXAMPLES))
    assert machine.output("upperctl", "-n", "shout", "send", "hello") == "HELLO!"
    assert machine.output("upperctl", "-n", "lookup", "send", "upper") == "higher"
    assert machine.output("upperctl", "-n", "lookup", "send", "lower") == "-"
    before = examples.systemctl("show", "--property=InvocationID", "example.service")
    refused = machine.run("upperctl", "-n", "restarter", "send", "restart", user="root")
    assert refused.stdout == "refused: you are not in the group operators\n"
    assert examples.systemctl("show", "--property=InvocationID", "example.service") == before
    done = machine.run("upperctl", "-n", "restarter", "send", "restart", user="alice")
    assert done.stdout == "restarted\n"
    assert examples.systemctl("show", "--property=InvocationID", "example.service") != before
    figures = {name: json.loads(machine.output("upperctl", "-n", name, "stats", "--json")) for name in EXAMPLES}
    assert [figures[name]["name"] for name in EXAMPLES] == [f"upperd@{name}" for name in EXAMPLES]
    assert (figures["shout"]["lines"], figures["lookup"]["queries"], figures["lookup"]["misses"]) == (1, 1, 1)
    assert (figures["restarter"]["restarts"], figures["restarter"]["refusals"]) == (1, 1)
    status = examples.systemctl("show", "--property=StatusText", "--value", "upperd@shout")
    assert status.startswith("upperd@shout: ")
    assert "lookup.sock" in machine.output("journalctl", "--output=cat", "UPPERD_NAME=upperd@lookup")


def test_instance_without_a_file(instances: Instances) -> None:
    """An instance without its file of options does not start, and its status names the file."""
    done = instances.machine.run("systemctl", "start", f"upperd@{ABSENT}", check=False)
    assert done.returncode != 0
    status = instances.property("StatusText", ABSENT)
    assert f"/etc/upperd/{ABSENT}.toml: No such file or directory" in status
