"""`make install` on a machine with systemd, and into a staging folder."""

from pathlib import Path

from installed import Upperd

STAGE = "/var/tmp/stage"
STAGED = {
    "/etc/upperd/upperd.toml",
    "/usr/bin/upperctl",
    "/usr/bin/upperd",
    "/usr/lib/systemd/system/upperd.service",
    "/usr/lib/systemd/system/upperd-tcp.socket",
    "/usr/lib/systemd/system/upperd.socket",
    "/usr/lib/systemd/user/upperd.service",
    "/usr/lib/systemd/user/upperd.socket",
    "/usr/lib/sysusers.d/upperd.conf",
    "/usr/share/man/man1/upperctl.1",
    "/usr/share/man/man8/upperd.8",
}


def test_service_starts_right_after_installation(upperd: Upperd) -> None:
    """After `make install` nothing but `systemctl start upperd` is needed."""
    upperd.make("uninstall")
    upperd.make("install")
    upperd.systemctl("start", "upperd")

    assert upperd.ask("straße") == "STRASSE"


def test_second_installation_replaces_the_first(upperd: Upperd) -> None:
    """`make install` over a running installation leaves a service that works."""
    upperd.systemctl("start", "upperd")
    upperd.make("install")

    assert upperd.ask("old") == "OLD"

    upperd.systemctl("restart", "upperd")

    assert upperd.ask("new") == "NEW"


def test_staged_installation_does_not_know_its_stage(upperd: Upperd) -> None:
    """With DESTDIR the files are those that belong below PREFIX, and none of them names DESTDIR."""
    upperd.make("install", f"DESTDIR={STAGE}", "PREFIX=/usr")
    stage = Path(upperd.machine.path(STAGE))
    files = {f"/{path.relative_to(stage)}": path for path in stage.rglob("*") if path.is_file()}
    package = {name for name in files if name.startswith("/usr/lib/upperd/")}

    assert files.keys() - package == STAGED
    assert "/usr/lib/upperd/upperd/cli.py" in package
    assert [name for name, path in files.items() if STAGE.encode() in path.read_bytes()] == []
    assert "=/usr/bin/upperd" in files["/usr/lib/systemd/system/upperd.service"].read_text()


def test_package_is_compiled(upperd: Upperd) -> None:
    """The installed modules are byte-compiled, since the service could not write its cache."""
    package = Path(upperd.machine.path("/usr/local/lib/upperd/upperd"))
    sources = {path.stem for path in package.glob("*.py")}
    compiled = {path.name.partition(".")[0] for path in package.glob("__pycache__/*.pyc")}

    assert compiled == sources


def test_interpreter_in_a_home_folder_is_refused(upperd: Upperd) -> None:
    """An interpreter that ProtectHome= would hide from the service is refused, with the cure."""
    upperd.machine.run("cp", "--dereference", "/usr/bin/python3", "/root/python3")
    done = upperd.make("install", python="/root/python3", check=False)

    assert done.returncode != 0
    assert "make install PYTHON=/usr/bin/python3" in done.stderr
