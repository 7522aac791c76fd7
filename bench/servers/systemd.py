"""systemd with Accept=yes: `systemd.py PATH PROGRAM ARGUMENT ...`, as root, until SIGTERM.

The host need not run systemd, and a systemd of the host is left alone: this boots a machine, as the tests under a real
systemd do, and a socket unit in it starts the program for each connection. PATH becomes a link to the machine's socket.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys
from pathlib import Path

TESTS = Path(__file__).parents[2] / "tests" / "systemd"
SOCKET = "/run/upperd-bench.sock"
UNITS = {
    "upperd-bench.socket": f"""[Socket]
ListenStream={SOCKET}
Accept=yes
Backlog=1000
MaxConnections=1100
TriggerLimitIntervalSec=0
""",
    "upperd-bench@.service": """[Unit]
CollectMode=inactive-or-failed
StartLimitIntervalSec=0
[Service]
ExecStart={command}
StandardInput=socket
StandardOutput=socket
StandardError=null
""",
}


def main(path: str, *command: str) -> None:
    """Boot the machine, start the socket unit, and wait for SIGTERM."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit())
    sys.path.insert(0, str(TESTS))
    booting = importlib.import_module("machine")
    with booting.booted("bench", Path("/"), []) as machine:
        folder = Path(machine.path("/run/systemd/system"))
        folder.mkdir(exist_ok=True)
        for name, text in UNITS.items():
            (folder / name).write_text(text.replace("{command}", " ".join(command)))
        machine.run("systemctl", "daemon-reload")
        machine.run("systemctl", "start", "upperd-bench.socket")
        os.symlink(machine.path(SOCKET), path)
        while True:
            signal.pause()


if __name__ == "__main__":
    main(*sys.argv[1:])
