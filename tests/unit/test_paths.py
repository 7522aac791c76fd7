"""The default paths: where the socket is by default, and which user may own its folder."""

import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from upperd.base import paths
from upperd.base.paths import FolderError

ME = os.geteuid()


@pytest.fixture(params=["/tmp", "/dev/shm"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """A folder in /tmp, and one elsewhere."""
    found = Path(tempfile.mkdtemp(prefix="upperd-test-", dir=request.param))
    yield found
    shutil.rmtree(found)


@pytest.mark.parametrize(
    ("environ", "uid", "expected"),
    [
        ({"RUNTIME_DIRECTORY": "/run/x"}, 0, "/run/x/upperd.sock"),
        ({"RUNTIME_DIRECTORY": "/run/x:/run/y", "XDG_RUNTIME_DIR": "/z"}, 5, "/run/x/upperd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/0"}, 0, "/run/upperd/upperd.sock"),
        ({"XDG_RUNTIME_DIR": "/run/user/5"}, 5, "/run/user/5/upperd/upperd.sock"),
        ({"XDG_RUNTIME_DIR": "relative"}, 5, "/tmp/upperd-5/upperd.sock"),
        ({"XDG_RUNTIME_DIR": "", "RUNTIME_DIRECTORY": ""}, 5, "/tmp/upperd-5/upperd.sock"),
        ({}, 5, "/tmp/upperd-5/upperd.sock"),
    ],
)
def test_daemon_socket(environ: dict[str, str], uid: int, expected: str) -> None:
    """The daemon's path is the manager's folder, else the system's for root, else the session's, else in /tmp."""
    assert paths.daemon_socket(environ, uid) == expected


@pytest.mark.parametrize("environ", [{}, {"XDG_RUNTIME_DIR": "/run/user/5"}])
@pytest.mark.parametrize("uid", [0, 5])
def test_client_looks_where_the_daemon_is(environ: dict[str, str], uid: int) -> None:
    """A client looks first where a daemon of its user would be, and last at the system's two, root's folder first."""
    looked_at = paths.client_sockets(environ, uid)
    assert looked_at[0] == paths.daemon_socket(environ, uid)
    assert looked_at[-2:] == [paths.SYSTEM_SOCKET, "/run/upperd/state/upperd.sock"]
    assert len(looked_at) == len(set(looked_at))


def test_client_ignores_the_managers_folder() -> None:
    """A client ignores the runtime folder of a service that it may be part of."""
    assert paths.client_sockets({"RUNTIME_DIRECTORY": "/run/web"}, 0) == [
        paths.SYSTEM_SOCKET, "/run/upperd/state/upperd.sock",
    ]  # fmt: skip


def test_scoreboard_and_lock() -> None:
    """The scoreboard and the locks lie beside the socket, and two daemons in one folder have two of each."""
    assert paths.scoreboard_of("/run/upperd/upperd.sock") == "/run/upperd/scoreboard"
    assert paths.scoreboard_of("/run/upperd/b.sock") == "/run/upperd/b.sock.scoreboard"
    assert paths.scoreboard_of("here.sock") == "here.sock.scoreboard"
    assert paths.lock_of("/x/y") == "/x/y.lock"


@pytest.mark.parametrize(
    ("runtime", "expected"),
    [
        ("", "/run/upperd/scoreboard"),
        ("/run/upperd", "/run/upperd/scoreboard"),
        ("/run/other/state", "/run/upperd/scoreboard"),
        ("/run/upperd/state", "/run/upperd/state/scoreboard"),
    ],
)
def test_scoreboard_of_a_daemon_with_a_folder_of_its_own(runtime: str, expected: str) -> None:
    """If the daemon's own folder is `state` below its socket's, the scoreboard lies there, else beside the socket."""
    assert paths.scoreboard_of("/run/upperd/upperd.sock", runtime) == expected
    assert paths.scoreboard_of("/run/upperd/b.sock", runtime) == expected.replace("scoreboard", "b.sock.scoreboard")


def test_scoreboard_is_found(tmp_path: Path) -> None:
    """A reader finds the scoreboard beside the socket or in the folder `state`; of two it takes the newer one."""
    state = tmp_path / "state"
    beside, within = tmp_path / "scoreboard", state / "scoreboard"
    state.mkdir()
    for made, expected in (({beside: 7}, beside), ({within: 7}, within), ({beside: 7, within: 8}, within)):
        for path, moment in made.items():
            path.touch()
            os.utime(path, (moment, moment))
        assert paths.find_scoreboard(str(tmp_path / "upperd.sock")) == str(expected)
        if len(made) == 1:
            expected.unlink()
    os.utime(beside, (9, 9))
    assert paths.find_scoreboard(str(tmp_path / "upperd.sock")) == str(beside)


def test_scoreboard_is_nowhere(tmp_path: Path) -> None:
    """A missing scoreboard is expected in the folder `state`, if that exists, otherwise beside the socket."""
    for name, board in (("upperd.sock", "scoreboard"), ("b.sock", "b.sock.scoreboard")):
        assert paths.find_scoreboard(str(tmp_path / name)) == str(tmp_path / board)
    (tmp_path / "state").mkdir()
    assert paths.find_scoreboard(str(tmp_path / "upperd.sock")) == str(tmp_path / "state" / "scoreboard")


def test_of_the_system() -> None:
    """A socket is the system's if it lies in its folder of /run, or in that folder's `state`, and only then."""
    ours = ["/run/upperd/upperd.sock", "/run/upperd/state/upperd.sock", "/run/upperd-a/state/upperd.sock"]
    others = ["/run/user/5/upperd/upperd.sock", "/run/upperd/x/upperd.sock", "/tmp/upperd-5/upperd.sock"]
    assert [path for path in ours + others if paths.is_of_system(path)] == ours
    assert [paths.name_of(path) for path in ours] == ["upperd", "upperd", "upperd@a"]


NAMES = st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=107)


@given(NAMES, NAMES)
@example("a/b", "a%-b")
@example("/" * 107, "..")
@example("a%%", "a%")
def test_files_of_an_abstract_name(one: str, other: str) -> None:
    """An abstract socket's files lie in the default folder, under a name that fits and that no other socket has."""
    found = [paths.scoreboard_of(paths.stand_in(f"@{name}", "/run/upperd/upperd.sock")) for name in (one, other)]
    assert (found[0] == found[1]) == (one == other)
    for name, path in zip((one, other), found, strict=True):
        assert os.path.dirname(os.path.normpath(path)) == "/run/upperd"
        assert len(os.path.basename(paths.lock_of(path))) <= 255 or len(name.encode()) > paths.MAX_PATH
        assert not set("\0\n") & set(path)


def test_abstract_names() -> None:
    """@NAME is an abstract socket of 1 to 107 bytes; anything else is a path, which stays unchanged."""
    assert [paths.is_abstract(name) for name in ("@x", "./@x", "/@x", "x@")] == [True, False, False, False]
    assert (paths.address_of("@a/b"), paths.address_of("./@x")) == ("\0a/b", "./@x")
    assert paths.stand_in("./@x", "/run/upperd/upperd.sock") == "./@x"
    complaints = [paths.complaint_about(f"@{name}") for name in ("", "é" * 54, "é" * 53, "x" * 107)]
    assert [bool(complaint) for complaint in complaints] == [True, True, False, False]


def test_folder_is_made(tmp_path: Path) -> None:
    """The folder of a default path is made for its user alone, whatever the umask is."""
    before = os.umask(0)
    try:
        paths.make_default_folder(str(tmp_path / "upperd" / "upperd.sock"), ME)
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "upperd").stat().st_mode) == 0o700


def test_folder_that_is_there(tmp_path: Path) -> None:
    """An existing folder that is ours and closed is used."""
    (tmp_path / "upperd").mkdir(0o700)
    paths.make_default_folder(str(tmp_path / "upperd" / "upperd.sock"), ME)


@pytest.mark.parametrize("mode", [0o702, 0o720, 0o777])
def test_open_folder_is_refused(folder: Path, mode: int) -> None:
    """A folder that others can write to is refused with its name and the cure."""
    (folder / "upperd").mkdir()
    (folder / "upperd").chmod(mode)
    with pytest.raises(FolderError, match=rf"upperd is not owned by uid {ME}, or is open to others.*--socket"):
        paths.make_default_folder(str(folder / "upperd" / "upperd.sock"), ME)


@pytest.mark.parametrize("mode", [0o701, 0o710, 0o755])
def test_folder_that_others_can_enter(folder: Path, mode: int) -> None:
    """In /tmp, where any user may have made it, a folder that others can enter is refused; elsewhere it is used."""
    (folder / "upperd").mkdir()
    (folder / "upperd").chmod(mode)
    path = str(folder / "upperd" / "upperd.sock")
    if path.startswith("/tmp/"):
        with pytest.raises(FolderError, match=f"uid {ME}, or is open to others"):
            paths.make_default_folder(path, ME)
    else:
        paths.make_default_folder(path, ME)


def test_folder_of_another_is_refused(tmp_path: Path) -> None:
    """A folder that another user has prepared is refused."""
    (tmp_path / "upperd").mkdir(0o700)
    with pytest.raises(FolderError, match="not owned by uid 4242, or is open to others"):
        paths.make_default_folder(str(tmp_path / "upperd" / "upperd.sock"), 4242)


def test_symlink_is_refused(tmp_path: Path) -> None:
    """A symbolic link in place of the folder is refused, even to a folder of our own."""
    (tmp_path / "true").mkdir(0o700)
    (tmp_path / "upperd").symlink_to(tmp_path / "true")
    with pytest.raises(FolderError):
        paths.make_default_folder(str(tmp_path / "upperd" / "upperd.sock"), ME)


def test_no_folder_for_the_folder(tmp_path: Path) -> None:
    """A folder is not made if its parent folder is missing, and that one is named."""
    with pytest.raises(FolderError, match="none does not exist; name another path with --socket"):
        paths.make_default_folder(str(tmp_path / "none" / "upperd" / "upperd.sock"), ME)


def test_own_folder(folder: Path) -> None:
    """Only its user may write to the folder; others may enter it, except in /tmp."""
    folder.chmod(0o755)
    assert paths.is_own_folder(str(folder), ME) == (folder.parent != Path("/tmp"))
    folder.chmod(0o775)
    assert not paths.is_own_folder(str(folder), ME)
    folder.chmod(0o700)
    assert paths.is_own_folder(str(folder), ME)
    assert not paths.is_own_folder(str(folder / "none"), ME)
    (folder / "file").touch(0o600)
    assert not paths.is_own_folder(str(folder / "file"), ME)
