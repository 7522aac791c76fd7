"""`make install` on a machine with systemd, and into a staging folder."""

from pathlib import Path

from installed import CONFIG, Upperd
from questions import asking, wait_for_progress

from upperd import __version__
from upperd.demo import NEXT

STAGE = "/var/tmp/stage"
STAGED = {
    "/etc/upperd/upperd.toml",
    "/usr/bin/upperctl",
    "/usr/bin/upperd",
    "/usr/lib/systemd/system/upperd.service",
    "/usr/lib/systemd/system/upperd-tcp.socket",
    "/usr/lib/systemd/system/upperd.socket",
    "/usr/lib/systemd/system/upperd@.service",
    "/usr/lib/systemd/system/upperd@.socket",
    "/usr/lib/systemd/user/upperd.service",
    "/usr/lib/systemd/user/upperd.socket",
    "/usr/lib/sysusers.d/upperd.conf",
    "/usr/share/bash-completion/completions/upperctl",
    "/usr/share/fish/vendor_completions.d/upperctl.fish",
    "/usr/share/man/man1/upperctl.1",
    "/usr/share/man/man5/upperd.toml.5",
    "/usr/share/man/man7/upperd.7",
    "/usr/share/man/man8/upperd.8",
    "/usr/share/zsh/site-functions/_upperctl",
}


def test_service_starts_right_after_installation(upperd: Upperd) -> None:
    """After `make install` nothing but `systemctl start upperd` is needed."""
    upperd.make("uninstall")
    upperd.make("install")
    upperd.systemctl("start", "upperd")

    assert upperd.ask("straße") == "STRASSE"


def test_what_the_demonstration_names_next(upperd: Upperd) -> None:
    """The last line of `make run` prints an answer, typed by a user with sudo(8) who is in no group yet."""
    upperd.make("uninstall")
    first, *others = NEXT.split(" && ")
    assert first == "sudo make install"
    upperd.make("install")
    for command in others:
        user = None if command.startswith("sudo ") else "carol"
        printed = upperd.machine.run(*command.removeprefix("sudo ").split(), user=user).stdout
    assert printed == "HELLO\n"


def test_second_installation_replaces_the_first(upperd: Upperd) -> None:
    """`make install` over a running installation leaves a service that works."""
    upperd.systemctl("start", "upperd")
    upperd.make("install")

    assert upperd.ask("old") == "OLD"

    upperd.systemctl("restart", "upperd")

    assert upperd.ask("new") == "NEW"


def test_upgrade_with_clients_connected(upperd: Upperd) -> None:
    """`make install` over an older version, and the restart into the new one, lose no client."""
    version = Path(upperd.machine.path("/usr/local/lib/upperd/upperd/__init__.py"))
    # With another length: if it was compiled in the same second, Python compares only the size of the source.
    version.write_text(version.read_text().replace(f'"{__version__}"', '"0.0.1.old"'))
    upperd.systemctl("start", "upperd")
    assert "upperd 0.0.1.old: running" in upperd.machine.output("upperctl", "status")
    with upperd.connect() as connection, asking(upperd.machine) as clients:
        connection.sendall(b"before\n")
        assert connection.recv(64) == b"BEFORE\n"
        upperd.make("install")
        wait_for_progress(clients)
        connection.sendall(b"after\n")
        assert connection.recv(64) == b"AFTER\n"
        upperd.systemctl("restart", "upperd")
        wait_for_progress(clients)
    assert f"upperd {__version__}: running" in upperd.machine.output("upperctl", "status")


def test_folder_of_an_earlier_version(upperd: Upperd) -> None:
    """`make install` gives root the socket's folder, which an earlier version had given the daemon's user."""
    upperd.machine.run("install", "-d", "-o", "upperd", "-g", "upperd", "/run/upperd")
    upperd.make("install")
    assert upperd.machine.output("stat", "--format=%U:%G", "/run/upperd") == "root:root"


def test_changed_configuration_stays(upperd: Upperd) -> None:
    """The operator's file survives another installation, and `make uninstall`, which says so."""
    upperd.configure("max-children = 7\n")
    upperd.make("install")
    done = upperd.make("uninstall")
    assert f"{CONFIG} was changed and is kept" in done.stderr
    upperd.make("install")
    upperd.systemctl("start", "upperd")

    assert upperd.stats()["max_children"] == 7


def test_staged_installation_does_not_know_its_stage(upperd: Upperd) -> None:
    """With DESTDIR the files are those that belong below PREFIX, and none of them contains DESTDIR."""
    upperd.make("install", f"DESTDIR={STAGE}", "PREFIX=/usr")
    stage = Path(upperd.machine.path(STAGE))
    files = {f"/{path.relative_to(stage)}": path for path in stage.rglob("*") if path.is_file()}
    package = {name for name in files if name.startswith("/usr/lib/upperd/")}

    assert files.keys() - package == STAGED
    assert "/usr/lib/upperd/upperd/service/cli.py" in package
    assert [name for name, path in files.items() if STAGE.encode() in path.read_bytes()] == []
    for name in ("upperd.service", "upperd@.service"):
        assert "=/usr/bin/upperd" in files[f"/usr/lib/systemd/system/{name}"].read_text()


def test_package_is_compiled(upperd: Upperd) -> None:
    """The installed modules are byte-compiled, since the service could not write its cache."""
    package = Path(upperd.machine.path("/usr/local/lib/upperd/upperd"))
    sources = {(path.parent, path.stem) for path in package.rglob("*.py")}
    compiled = {(path.parents[1], path.name.partition(".")[0]) for path in package.rglob("*.pyc")}

    assert compiled == sources


def test_interpreter_in_a_home_folder_is_refused(upperd: Upperd) -> None:
    """An interpreter that ProtectHome= would hide from the service is refused, with the cure."""
    upperd.machine.run("cp", "--dereference", "/usr/bin/python3", "/root/python3")
    done = upperd.make("install", python="/root/python3", check=False)

    assert done.returncode != 0
    assert "make install PYTHON=/usr/bin/python3" in done.stderr
