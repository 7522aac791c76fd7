"""The process titles."""

from pathlib import Path

from running import Daemon, wait_until

from upperd.service import titles


def _title(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text().split("\0")[0]


def test_titles_say_what_is_done(daemon: Daemon) -> None:
    """ps(1) tells the parent, a spare child and a busy one apart, and shows the user that the busy one serves."""
    with daemon.held():
        assert _title(daemon.pid) == f"upperd: {titles.MAIN}"
        busy = next(child for child in daemon.board.children if not child["waiting"])
        assert _title(busy["pid"]) == f"upperd: serves uid {busy['peer_uid']}"
        spare = next(child for child in daemon.board.children if child["waiting"])
        wait_until(lambda: _title(spare["pid"]) == f"upperd: {titles.SPARE}", "the spare child has its title")


def test_name_of_the_main_process(daemon: Daemon) -> None:
    """The parent is found by the plain name."""
    assert Path(f"/proc/{daemon.pid}/comm").read_text() == "upperd\n"
