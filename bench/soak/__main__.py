"""The order of events: start the clients, make trouble, end the clients, let the daemon settle, print the ledger."""

from __future__ import annotations

import argparse
import json
import os
import random
import shutil
import signal
import socket
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from soak import process
from soak.crowd import Process, roles
from soak.ledger import Ledger
from soak.service import Service, SoakError, wait_until
from soak.settings import Settings
from soak.trouble import Trouble
from upperd.server.snapshot import read

CALM = 0.25
"""The last part of the time, as a fraction. The parent is not disturbed in it, so that leaks show."""
SLACK_KIB = 1024
"""How much the parent's memory (PSS) may grow."""


class Figures:
    """Figures of an idle daemon: its descriptors, except one per child, and its memory in KiB (PSS)."""

    def __init__(self, pid: int) -> None:
        self.descriptors = process.descriptors(pid) - len(process.children(pid))
        self.memory = process.memory(pid)


class Soak:
    """One run of the soak test."""

    def __init__(self, folder: Path, options: argparse.Namespace) -> None:
        self._options = options
        self._control = os.pipe()
        self._service = Service(folder)
        self._clients: list[Process] = []
        self._path = str(self._service.path)
        self.problems: list[str] = []

    def run(self) -> bool:
        """Run the soak test and print the ledger; return whether everything adds up."""
        service, options = self._service, self._options
        service.write_settings(Settings())
        service.start()
        self._wait_for_rest()
        before = Figures(service.pid)
        self._hide(options.hide)
        began = time.monotonic()
        for role in roles():
            self._clients.append(Process(self._path, role, options.seed, self._control))
            service.clients.add(self._clients[-1].pid)
        chance = random.Random(f"{options.seed} trouble")
        trouble = Trouble(service, chance, may_kill=not options.no_kills)
        trouble.make(options.seconds, options.seconds * CALM)
        sights = self._end_clients()
        seconds = time.monotonic() - began
        self._settle(before)
        ledger = Ledger(sights, service.account, service.queued(), trouble.killed, os.geteuid() == 0, self.problems)
        print(ledger.text())
        rate = ledger.offered / seconds
        print(f"{seconds:.0f} s, {rate:.0f} connections a second; {service.account.daemons} daemons")
        print("trouble: " + ", ".join(f"{count} {name}" for name, count in sorted(trouble.counts.items())))
        print("outcomes in the log: " + json.dumps(dict(service.account.outcomes)))
        for problem in ledger.problems:
            print(f"UNACCOUNTED FOR: {problem}")
        return not ledger.problems

    def _hide(self, count: int) -> None:
        """Make `count` connections that the ledger does not know of; it must notice them."""
        for _ in range(count):
            with socket.socket(socket.AF_UNIX) as client:
                client.connect(self._path)
                client.shutdown(socket.SHUT_WR)
                client.recv(1)

    def _end_clients(self) -> dict[str, dict[str, Any]]:
        os.close(self._control[1])
        self._control = (self._control[0], -1)
        sights = {client.role.name: client.result() for client in self._clients}
        self._clients.clear()
        return sights

    def _settle(self, before: Figures) -> None:
        """Without clients, the daemon must return to its first state, and then end and leave no process."""
        service = self._service
        service.write_settings(Settings())
        service.signal(signal.SIGHUP)
        service.wait_for("READY=1")
        self._wait_for_rest()
        # The parent closes a finished connection when it next looks at its children.
        wait_until(lambda: Figures(service.pid).descriptors == before.descriptors)
        after = Figures(service.pid)
        print(
            f"parent: {before.memory} KiB at the beginning, {after.memory} at the end; "
            f"{before.descriptors} descriptors, {after.descriptors} at the end"
        )
        if after.descriptors != before.descriptors:
            self.problems.append("descriptors have leaked")
        if after.memory > before.memory + SLACK_KIB:
            self.problems.append("the parent has grown")
        service.signal(signal.SIGTERM)
        service.wait_for_end(30)
        if service.others():
            self.problems.append(f"processes are left: {service.others()}")

    def _wait_for_rest(self) -> None:
        """Wait until no child is busy or a zombie, and all spare ones are idle. Users may hold as many again."""
        service, wanted = self._service, Settings().spare_children

        def rests() -> bool:
            board = read(str(service.scoreboard))
            pids = process.children(service.pid)
            states = [process.state(pid) for pid in pids]
            return board.busy == 0 and wanted <= board.spare == len(pids) <= 2 * wanted and "Z" not in states

        if not wait_until(rests):
            board = read(str(service.scoreboard))
            self.problems.append(
                f"the daemon does not come to rest: {board.busy} busy, {board.spare} spare, "
                f"children {[(pid, process.state(pid)) for pid in process.children(service.pid)]}"
            )

    def close(self) -> None:
        """End all processes that are left."""
        if self._control[1] >= 0:
            os.close(self._control[1])
        for client in self._clients:
            os.kill(client.pid, signal.SIGKILL)
            os.waitpid(client.pid, 0)
        self._service.close()


def main() -> int:
    """Run a soak test; return the exit status: 0 if everything adds up."""
    parser = argparse.ArgumentParser(prog="soak", description="Mixed load and trouble; then a ledger.")
    parser.add_argument("--seconds", type=float, default=60, help="how long (default: 60)")
    parser.add_argument("--seed", default=str(time.time_ns() % 1_000_000), help="of every choice (default: any)")
    parser.add_argument("--no-kills", action="store_true", help="reloads and restarts alone: then all is exact")
    parser.add_argument("--hide", type=int, default=0, metavar="N", help="connections hidden from the ledger: it fails")
    options = parser.parse_args()
    if os.geteuid() != 0:
        sys.exit("soak: it looks into the daemon, which is closed to its own user, and acts as others: run it as root")
    print(f"soak of {options.seconds:g} s, seed {options.seed}", flush=True)
    process.adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit("terminated"))
    folder = Path(tempfile.mkdtemp(prefix="upperd-soak-"))
    folder.chmod(0o755)
    soak = Soak(folder, options)
    is_good = False
    try:
        is_good = soak.run()
    except SoakError as error:
        print(f"FAILED: {error}")
    finally:
        soak.close()
        if is_good:
            shutil.rmtree(folder)
        else:
            print(f"see {folder}")
    return int(not is_good)


if __name__ == "__main__":
    sys.exit(main())
