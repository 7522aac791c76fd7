"""Options without effect, or with a fatal one, in the unit that reads their file: check and reload name the cure."""

import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest
from running import COMMAND, DEADLINE, activated, running, wait_until

SHOW = """#!/bin/sh
case "$4$3" in upperd.service*|*upperd.service) ;; *) exit 1 ;; esac
echo "ExecStart={ path=/usr/bin/upperd ; argv[]=/usr/bin/upperd --config {config} ; }"
echo "RestrictAddressFamilies={families}"
echo "PrivateNetwork=yes"
echo "TriggeredBy=upperd-tcp.socket upperd.socket"
"""


def _check(folder: Path, text: str, families: str = "AF_UNIX", named: str = "") -> tuple[int, str]:
    """--check-config in a shell, on a machine whose unit reads the file, as systemctl shows it."""
    config = folder / "upperd.toml"
    config.write_text(text)
    tool = folder / "systemctl"
    tool.write_text(SHOW.replace("{config}", named or str(config)).replace("{families}", families))
    tool.chmod(0o755)
    environ = {**os.environ, "PATH": f"{folder}:{os.environ['PATH']}"}
    command = [*COMMAND, "--check-config", "--config", str(config)]
    done = subprocess.run(command, env=environ, capture_output=True, text=True, timeout=DEADLINE)
    return done.returncode, done.stderr


@pytest.mark.parametrize(
    ("line", "cure"),
    [
        ('socket = "/x"', "set ListenStream= there"),
        ('socket-mode = "0666"', "set SocketMode= there"),
        ("socket-group = 0", "set SocketGroup= there"),
    ],
)
def test_check_names_what_has_no_effect(folder: Path, line: str, cure: str) -> None:
    """The file is valid, and the check says which options do nothing in the unit, and where to set them."""
    status, said = _check(folder, line)
    what = f"{line.split()[0]} has no effect: the socket comes from upperd.socket; {cure}"
    assert (status, said) == (0, f"upperd: {folder}/upperd.toml: {what}\n")
    assert _check(folder, line, named="/another/file") == (0, "")


def test_check_refuses_what_the_unit_forbids(folder: Path) -> None:
    """TCP in the file, which the unit forbids, would end each start: status 78, and the socket unit to use."""
    status, said = _check(folder, 'tcp = "localhost:9999"')
    assert status == 78
    assert "tcp: the unit forbids it (RestrictAddressFamilies=): leave it out, and enable upperd-tcp.socket" in said
    status, said = _check(folder, 'udp = "localhost:9998"')
    assert status == 78
    assert "leave it out, and have a socket unit pass it (ListenDatagram=)" in said
    status, said = _check(folder, 'tcp = "localhost:9999"', families="AF_UNIX AF_INET")
    assert status == 0
    assert "tcp has no effect: no client reaches the network of upperd.service (PrivateNetwork=yes)" in said


def test_start_and_reload_say_it(folder: Path) -> None:
    """A daemon with a passed socket says at its start, and at a reload, which options do nothing, and the cure."""
    config = folder / "upperd.toml"
    config.write_text('socket-mode = "0666"\n')
    with socket.socket(socket.AF_UNIX) as passed:
        passed.bind(str(folder / "upperd.sock"))
        passed.listen()
        options = activated(folder, [passed], "--config", str(config), names="upperd.socket")
        with running(folder, **options) as daemon:
            cure = "socket-mode has no effect: the socket comes from upperd.socket; set SocketMode= there"
            assert f"starting: {cure}" in daemon.log
            config.write_text('socket-mode = "0600"\n')
            daemon.signal(signal.SIGHUP)
            wait_until(lambda: f"reload: {cure}" in daemon.log, "the reload says it")
            assert "needs a restart" not in daemon.log
