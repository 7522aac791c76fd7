"""The manual's drop-in lines for a handler that needs more than the sandbox allows."""

from __future__ import annotations

import pytest
from attempts import RUN
from hostile_stage import bait, serving
from installed import CHECKOUT, Upperd

NETWORK = """
import socket
with socket.socket() as listener:
    listener.bind(("127.0.0.1", 0))
    listener.listen()
    socket.create_connection(listener.getsockname()).close()
"""
DROP_INS = {
    "PrivateNetwork=no , RestrictAddressFamilies=AF_INET AF_INET6 , IPAddressDeny=": NETWORK,
    "ProtectHome=read-only": "open('/home/upperd-bait').read()",
    "StateDirectory=upperd-NAME": "open('/var/lib/upperd-NAME/file', 'w').write('x')",
    "ReadWritePaths=PATH": "open('/srv/file', 'w').write('x')",
    "PrivateDevices=no , DeviceAllow=DEVICE": "import os; os.stat('/dev/console')",
    "ExecPaths=/usr/bin/PROGRAM": f"{RUN}run('/usr/bin/PROGRAM')",
    "BindReadOnlyPaths=/run/SOCKET": "import socket; socket.socket(socket.AF_UNIX).connect('/run/SOCKET')",
    "MemoryDenyWriteExecute=no": "import mmap; mmap.mmap(-1, 4096, prot=7)",
}
"""For each line of the manual a program that works only with it."""
WORDS = {"PATH": "/srv", "DEVICE": "/dev/console", "PROGRAM": "id", "SOCKET": "bait.sock", "NAME": "hostile"}


def _filled(text: str) -> str:
    for word, meaning in WORDS.items():
        text = text.replace(word, meaning)
    return text


@pytest.mark.parametrize("line", DROP_INS)
def test_drop_in_of_the_manual(upperd: Upperd, line: str) -> None:
    """Each drop-in line of the manual allows what it says, which is forbidden without it."""
    assert f".It Li {line}\n" in (CHECKOUT / "man/upperd.8").read_text()
    machine, program = upperd.machine, _filled(DROP_INS[line])
    machine.run("sh", "-c", "touch /home/upperd-bait; chmod 0777 /srv")
    with bait(machine):
        with serving(upperd) as stage:
            assert not stage.alice.tell(program)[0]
        upperd.reset()
        with serving(upperd, without=tuple(_filled(line).split(" , "))) as stage:
            assert stage.alice.tell(program)[0], stage.alice.tell(program)
    machine.run("rm", "-f", "/home/upperd-bait", "/srv/file")
