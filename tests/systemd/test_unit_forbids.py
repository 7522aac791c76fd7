"""Every line of the unit's sandbox forbids something, as seen from inside.

The probes of probes.py run as root in three kinds of units: one without any sandbox, where they must succeed; one for
each line, with this line alone; and, as the service's user, the shipped service with another program in it.
"""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from installed import CHECKOUT, PYTHON, Upperd
from machine import Machine
from releases import release_of

FOLDER = "/usr/local/lib/upperd-probes"
UNITS = "/run/systemd/system"
BAIT = ("/home/upperd-probe", "/tmp/upperd-probe")
"""Files that all may read, in places that the service should not see."""


@dataclass(frozen=True)
class Case:
    """A line of the unit, a probe, and the expected results."""

    line: str
    probe: str
    refusals: str = ""
    """The results that count as a refusal: errors, signals or words; if empty, all but the one without the line."""
    granted: str = "done"
    """The result without the line; if empty, any."""
    together: tuple[str, ...] = ()
    """Other lines without which this one has no effect."""

    def refused(self, outcome: str, bare: str) -> bool:
        """Whether a result is a refusal, given the one without a sandbox."""
        return outcome in self.refusals.split() if self.refusals else outcome != bare


CASES = (
    Case("PrivateUsers=identity", "be_a_user_of_a_container", "EINVAL EPERM"),
    Case("CapabilityBoundingSet=", "change_root", "EPERM"),
    Case("NoNewPrivileges=yes", "become_root", "not-root EACCES", granted="root"),
    Case("UMask=0007", "create_for_all", "660", granted="644"),
    Case("ProtectSystem=strict", "write_below_usr", "EROFS"),
    Case("ProtectHome=yes", "look_into_home", "ENOENT EACCES"),
    Case("PrivateTmp=yes", "look_into_tmp", "ENOENT"),
    Case("PrivateMounts=yes", "see_mounts", granted=""),
    Case("PrivateDevices=yes", "use_a_device", "ENOENT"),
    Case("PrivateNetwork=yes", "see_network", granted=""),
    Case("RestrictAddressFamilies=AF_UNIX", "open_internet_socket", "EAFNOSUPPORT"),
    Case("IPAddressDeny=any", "send_by_ip", "EPERM EAFNOSUPPORT"),
    Case("PrivateIPC=yes", "see_ipc", granted=""),
    Case("ProtectProc=invisible", "see_a_process_of_root", "ENOENT"),
    Case("ProcSubset=pid", "read_system_statistics", "ENOENT"),
    Case("ProtectClock=yes", "read_clock_state", "EPERM"),
    Case("ProtectHostname=yes", "set_hostname", "EPERM"),
    Case("ProtectControlGroups=yes", "make_control_group", "EROFS"),
    Case("ProtectKernelLogs=yes", "see_kernel_log", "EACCES ENOENT"),
    Case("ProtectKernelModules=yes", "see_kernel_modules", "EACCES"),
    Case("ProtectKernelTunables=yes", "open_kernel_setting", "EROFS ENOENT"),
    Case("LockPersonality=yes", "change_personality", "EPERM"),
    Case("MemoryDenyWriteExecute=yes", "map_writable_code", "EPERM EACCES"),
    Case("RestrictNamespaces=yes", "make_namespace", "EPERM"),
    Case("RestrictRealtime=yes", "be_realtime", "EPERM"),
    Case("RestrictSUIDSGID=yes", "make_setuid_program", "EPERM"),
    Case("SystemCallArchitectures=native", "call_another_abi", "SIGSYS", granted="ENOSYS"),
    Case("SystemCallFilter=@system-service", "be_debugged", "SIGSYS EPERM"),
    Case("SystemCallFilter=~@privileged @resources @keyring @aio @memlock", "be_nice", "SIGSYS EPERM"),
    Case("SystemCallErrorNumber=EPERM", "be_nice", "EPERM", together=("SystemCallFilter=~@resources",)),
)
UNSEEN = {
    "AmbientCapabilities=": "the default; it stands there so that nobody has to know that",
    "KeyringMode=private": "the default of a system service; the filter refuses all calls to keyrings anyway",
    **dict.fromkeys(
        (
            "TemporaryFileSystem=/run:ro /dev/shm",
            "BindReadOnlyPaths=/run/systemd/notify -/run/systemd/journal",
            "BindPaths=/run/upperd/state",
            "NoExecPaths=/ /tmp /var/tmp /run/upperd/state",
            "ExecPaths=@EXECPATHS@",
            "SystemCallFilter=~@debug process_vm_readv process_vm_writev process_madvise kcmp memfd_create",
        ),
        "test_unit_hostile.py tries it from a child, with the line and without",
    ),
    "RemoveIPC=yes": "acts after the end of the service, and PrivateIPC= leaves it nothing",
}


@dataclass(frozen=True)
class Outcomes:
    """The results of the probes: by name without a sandbox and in the service, and by line."""

    bare: dict[str, str]
    service: dict[str, str]
    alone: dict[str, str]


def settings(name: str, probes: list[str]) -> list[str]:
    """The settings of a unit that runs probes and writes their results to a file."""
    return [
        "Type=oneshot",
        f"ExecStart={PYTHON} -IS {FOLDER}/probes.py {' '.join(probes)}",
        f"StandardOutput=truncate:{FOLDER}/{name}.json",
    ]


def prepare(machine: Machine) -> None:
    """Put the probes into the machine, and the files that they look for."""
    machine.run("mkdir", "-p", FOLDER, "/usr/lib/modules")
    machine.run("install", "-m", "4755", "/usr/bin/id", f"{FOLDER}/setuid-id")
    machine.run("touch", *BAIT)
    source = CHECKOUT / "tests/systemd/probes.py"
    Path(machine.path(f"{FOLDER}/probes.py")).write_text(source.read_text())


def run_units(machine: Machine, units: dict[str, list[str]]) -> None:
    """Run units with these settings to their ends."""
    for name, lines in units.items():
        path = Path(machine.path(f"{UNITS}/{name}.service"))
        path.write_text("\n".join(["[Service]", *lines, ""]))
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", *(f"{name}.service" for name in units))


def run_service(upperd: Upperd, probes: list[str]) -> None:
    """Run the probes in place of the daemon."""
    upperd.reset()
    upperd.change_service("ExecStart=", "WatchdogSec=0", *settings("service", probes))
    upperd.systemctl("start", "upperd")
    upperd.reset()


@pytest.fixture(scope="module")
def outcomes(machine: Machine, install: Callable[[], Upperd]) -> Iterator[Outcomes]:
    """The results of all probes in all units."""
    probes = sorted({case.probe for case in CASES})
    upperd = install()
    prepare(machine)
    run_service(upperd, probes)
    names = {case.line: f"upperd-probe-{number}" for number, case in enumerate(CASES)}
    units = {names[case.line]: [case.line, *case.together, *settings(names[case.line], [case.probe])] for case in CASES}
    run_units(machine, units | {"upperd-probe": settings("upperd-probe", probes)})

    def read(name: str) -> dict[str, str]:
        return dict(json.loads(Path(machine.path(f"{FOLDER}/{name}.json")).read_text()))

    alone = {case.line: read(names[case.line])[case.probe] for case in CASES}
    yield Outcomes(read("upperd-probe"), read("service"), alone)
    machine.run("rm", "-r", FOLDER, *BAIT, *(f"{UNITS}/{name}.service" for name in units))


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.line)
def test_line_forbids(case: Case, machine: Machine, outcomes: Outcomes) -> None:
    """What a line forbids works without a sandbox, and neither with this line alone nor in the service."""
    bare = outcomes.bare[case.probe]
    assert bare == (case.granted or bare)
    if case.line in release_of(machine).ignored:
        assert outcomes.alone[case.line] == bare
        return

    with_line = {"alone": outcomes.alone[case.line], "in the service": outcomes.service[case.probe]}
    assert {where: outcome for where, outcome in with_line.items() if not case.refused(outcome, bare)} == {}


def test_every_line_has_a_case() -> None:
    """A line of the sandbox has a case, or a reason why its effect cannot be seen from inside."""
    unit = (CHECKOUT / "systemd/upperd.service").read_text()
    sandbox = unit.partition("\n# --- Sandbox")[2].partition("\n[")[0]
    lines = [line for line in sandbox.splitlines()[1:] if line and not line.startswith("#")]

    assert sorted(lines) == sorted([*(case.line for case in CASES), *UNSEEN])
