"""`systemctl reload`: new limits without a dropped connection, or a failure with its reason."""

from installed import DEADLINE, Upperd
from machine import wait_until
from questions import asking, wait_for_progress

RELOADS = 20


def is_settled(upperd: Upperd) -> bool:
    """Whether the unit is active, and not "reloading"."""
    return upperd.property("ActiveState") == "active" and upperd.property("SubState") == "running"


def test_new_limits_are_taken(upperd: Upperd) -> None:
    """A reload changes the limits of the running daemon, and a connection goes on through it."""
    upperd.systemctl("start", "upperd")
    pid = upperd.main_pid()
    with upperd.connect() as connection:
        connection.sendall(b"before\n")
        assert connection.recv(64) == b"BEFORE\n"
        upperd.configure("max-children = 32\n")
        upperd.systemctl("reload", "upperd")
        wait_until(lambda: upperd.stats()["max_children"] == 32, DEADLINE, "the limit is taken")
        connection.sendall(b"after\n")
        assert connection.recv(64) == b"AFTER\n"
    wait_until(lambda: is_settled(upperd), DEADLINE, "the reload is over")
    assert upperd.main_pid() == pid
    [record] = upperd.records("UPPERD_EVENT=reload")
    assert "max-children 64 -> 32" in record["MESSAGE"]


def test_bad_file_fails_visibly(upperd: Upperd) -> None:
    """With a bad file `systemctl reload` fails, status and journal have the reason, and the old settings stay."""
    upperd.systemctl("start", "upperd")
    upperd.configure("max-childre = 3\n")
    done = upperd.machine.run("systemctl", "reload", "upperd", check=False)

    assert done.returncode != 0
    assert "no option 'max-childre'; is it 'max-children'?" in upperd.systemctl("status", "--no-pager", "upperd")
    assert "no option 'max-childre'" in upperd.journal()
    wait_until(lambda: upperd.property("StatusText").startswith("reload failed: "), DEADLINE, "the status says so")
    assert "no option 'max-childre'" in upperd.property("StatusText")
    wait_until(lambda: is_settled(upperd), DEADLINE, "the unit runs on")
    assert upperd.stats()["max_children"] == 64
    assert upperd.ask("still here") == "STILL HERE"

    upperd.configure("max-children = 48\n")
    upperd.systemctl("reload", "upperd")
    wait_until(lambda: upperd.stats()["max_children"] == 48, DEADLINE, "the good file is taken")


def test_signal_alone_with_a_bad_file(upperd: Upperd) -> None:
    """After SIGHUP with a bad file, without the unit's check, the status line has the reason until a good reload."""
    upperd.systemctl("start", "upperd")
    upperd.configure("max-children = 0\n")
    upperd.systemctl("kill", "--kill-whom=main", "--signal=HUP", "upperd")

    wait_until(lambda: upperd.property("StatusText").startswith("reload failed: "), DEADLINE, "the status says so")
    assert "max-children is 0" in upperd.property("StatusText")
    assert is_settled(upperd)

    upperd.configure("")
    upperd.systemctl("reload", "upperd")
    wait_until(lambda: upperd.property("StatusText").startswith("0 busy"), DEADLINE, "it is forgotten")


def test_many_in_a_row_and_two_at_once(upperd: Upperd) -> None:
    """In twenty reloads in a row and two at once clients notice nothing, and the unit never stays in "reloading"."""
    upperd.systemctl("start", "upperd")
    pid = upperd.main_pid()
    with asking(upperd.machine) as clients:
        for number in range(RELOADS):
            upperd.configure(f"max-children = {40 + number}\n")
            upperd.systemctl("reload", "upperd")
        wait_for_progress(clients)
        upperd.configure("max-children = 20\n")
        both = [upperd.machine.start("systemctl", "reload", "upperd") for _ in range(2)]
        for reload in both:
            with reload:
                pass
        wait_for_progress(clients)
    wait_until(lambda: is_settled(upperd), DEADLINE, "the last one is over")
    wait_until(lambda: upperd.stats()["max_children"] == 20, DEADLINE, "the last file is taken")
    assert [reload.returncode for reload in both] == [0, 0]
    assert upperd.main_pid() == pid
