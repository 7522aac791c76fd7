"""The log: readable, with fields, and never in the way of the daemon."""

import os
import socket
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from upperd.service import log
from upperd.service.log import DEBUG, ERROR, INFO, WARNING, Log


class Stderr:
    """A pipe in place of standard error."""

    def __init__(self) -> None:
        self.reader, self.writer = os.pipe()
        os.set_blocking(self.reader, False)

    def log(self, level: str = "info") -> Log:
        """A log whose standard error is this pipe."""
        return _Piped(self, level)

    def read(self) -> str:
        """All that was written since the last call."""
        data = b""
        with suppress(BlockingIOError):
            while block := os.read(self.reader, 1 << 20):
                data += block
        return data.decode()

    def fill(self) -> None:
        """Fill the pipe."""
        os.set_blocking(self.writer, False)
        with suppress(BlockingIOError):
            while True:
                os.write(self.writer, b"x" * 4096)
        os.set_blocking(self.writer, True)


class _Piped(Log):
    """Puts the pipe in place of descriptor 2 only while it writes, since pytest uses that descriptor."""

    def __init__(self, pipe: Stderr, level: str = "info", *, journal: bool = False) -> None:
        super().__init__(level, journal=journal)
        self._pipe = pipe

    def write(self, level: int, event: str, text: str, **fields: object) -> None:
        saved = os.dup(2)
        try:
            if self._pipe.writer < 0:
                os.close(2)
            else:
                os.dup2(self._pipe.writer, 2)
            super().write(level, event, text, **fields)
        finally:
            os.dup2(saved, 2)
            os.close(saved)


@pytest.fixture
def stderr() -> Iterator[Stderr]:
    """Standard error, for the test to read."""
    found = Stderr()
    yield found
    for descriptor in (found.reader, found.writer):
        if descriptor >= 0:
            os.close(descriptor)


@pytest.fixture
def journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[socket.socket]:
    """The journal's socket."""
    path = str(tmp_path / "journal")
    monkeypatch.setattr(log, "JOURNAL_SOCKET", path)
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(path)
        receiver.setblocking(False)
        yield receiver


@pytest.fixture
def to_journal(stderr: Stderr) -> Iterator[Log]:
    """A log whose standard error is the journal."""
    found = _Piped(stderr, journal=True)
    yield found
    found.close(0)


@pytest.fixture
def no_journal(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Close and remove the journal's socket."""
    monkeypatch.setattr(log, "JOURNAL_SOCKET", str(tmp_path / "none"))


def lines(receiver: socket.socket) -> list[str]:
    """The lines of the next entry in the journal."""
    data = receiver.recv(65536)
    assert data.endswith(b"\n")
    return data.decode()[:-1].split("\n")


def test_line(stderr: Stderr) -> None:
    """An entry is a line: name and pid, event, sentence, and fields in their order."""
    stderr.log().write(INFO, "end", "child 7 served 1", peer_uid=1000, exit="SIGKILL")
    assert stderr.read() == f"upperd[{os.getpid()}] end: child 7 served 1 peer_uid=1000 exit=SIGKILL\n"


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("a\nb", "a\\nb"), ("\x1b[31m", "\\x1b[31m"), ("\r\t\0\x7f\x9b", "\\r\\t\\x00\\x7f\\x9b"),
        ("\u2028", "\\u2028"), ("\u202e", "\\u202e"), (os.fsdecode(b"\xff"), "\\udcff"),
        ("straße 東京 🎈", "straße 東京 🎈"),
    ],
    ids=ascii,
)
def test_control_characters(stderr: Stderr, text: str, shown: str) -> None:
    """Control characters, in the sentence or in a field, appear as escapes, and everything else unchanged."""
    stderr.log().write(INFO, "end", text, path=text)
    assert stderr.read() == f"upperd[{os.getpid()}] end: {shown} path={shown}\n"


def test_long_line(stderr: Stderr) -> None:
    """A line has at most 4001 bytes, which every pipe takes whole."""
    stderr.log().write(INFO, "end", "x" * 100_000)
    written = stderr.read()
    assert (len(written), written.count("\n"), written[-1]) == (4001, 1, "\n")


@pytest.mark.parametrize(("level", "written"), [("error", "E"), ("warning", "EW"), ("info", "EWI"), ("debug", "EWID")])
def test_level(stderr: Stderr, level: str, written: str) -> None:
    """Entries below the level are left out, and not counted as lost."""
    subject = stderr.log(level)
    for number, letter in ((ERROR, "E"), (WARNING, "W"), (INFO, "I"), (DEBUG, "D")):
        subject.write(number, "end", letter)
        assert subject.is_on(number) == (letter in written)
    assert [line[-1] for line in stderr.read().splitlines()] == list(written)
    assert subject.lost == 0


def test_full_pipe_never_blocks(stderr: Stderr) -> None:
    """If standard error is not read, entries are lost and counted, and the daemon goes on."""
    stderr.fill()
    subject = stderr.log()
    for _ in range(3):
        subject.write(ERROR, "end", "x")
    assert subject.lost == 3
    stderr.read()
    subject.write(ERROR, "end", "again")
    assert stderr.read().endswith("end: again\n")
    assert subject.lost == 3


def test_every_entry_is_there_or_counted(stderr: Stderr) -> None:
    """However many entries are never read, each is a whole line, or counted."""
    subject = stderr.log()
    for _ in range(1000):
        subject.write(INFO, "end", "x" * 300)
    found = stderr.read().splitlines()
    assert subject.lost > 0
    assert len(found) + subject.lost == 1000
    assert len(set(found)) == 1


def test_broken_pipe(stderr: Stderr) -> None:
    """If standard error has no reader any more, that is counted, not raised."""
    os.close(stderr.reader)
    stderr.reader = -1
    subject = stderr.log()
    subject.write(ERROR, "end", "x")
    assert subject.lost == 1


def test_closed_stderr(stderr: Stderr) -> None:
    """If standard error is closed, that is counted, not raised."""
    os.close(stderr.writer)
    stderr.writer = -1
    subject = stderr.log()
    subject.write(ERROR, "end", "x")
    assert subject.lost == 1


def test_blocking_mode_is_left_alone(stderr: Stderr) -> None:
    """Standard error is shared with other programs, and its flags stay unchanged."""
    stderr.log().write(INFO, "end", "x")
    assert os.get_blocking(stderr.writer)


def test_journal(stderr: Stderr, journal: socket.socket, to_journal: Log) -> None:
    """In the journal an entry has its sentence, level, event and fields by name; standard error gets nothing."""
    to_journal.write(WARNING, "end", "größer", peer_uid=1000)
    assert lines(journal) == [
        "MESSAGE=größer", "PRIORITY=4", "SYSLOG_IDENTIFIER=upperd", "UPPERD_EVENT=end", "UPPERD_NAME=upperd",
        "UPPERD_PEER_UID=1000",
    ]
    assert stderr.read() == ""


def test_journal_fields_cannot_be_forged(journal: socket.socket, to_journal: Log) -> None:
    """A line break in a text never begins another field."""
    to_journal.write(INFO, "end", "a\nPRIORITY=0", path="b\nMESSAGE=c")
    found = lines(journal)
    assert (found[0], found[-1], len(found)) == ("MESSAGE=a\\nPRIORITY=0", "UPPERD_PATH=b\\nMESSAGE=c", 6)


def test_full_journal(stderr: Stderr, journal: socket.socket, to_journal: Log) -> None:
    """An entry without room in the journal's socket goes to standard error with its level, and is not lost."""
    for number in range(1000):
        to_journal.write(INFO, "end", "x", number=number)
    overflow = stderr.read().splitlines()
    assert overflow
    assert overflow[-1] == "<6>end: x number=999"
    taken = 0
    with suppress(BlockingIOError):
        while lines(journal):
            taken += 1
    assert (taken + len(overflow), to_journal.lost) == (1000, 0)


def test_close_waits_for_the_journal(journal: socket.socket, stderr: Stderr) -> None:
    """A log is closed once the journal has taken the last entry, or when the time is over."""
    for is_read in (False, True):
        ending = _Piped(stderr, journal=True)
        ending.write(INFO, "end", "x" * 500)
        if is_read:
            lines(journal)
            lines(journal)
        assert ending.close(30 if is_read else 0) == is_read


def test_close_without_an_entry(journal: socket.socket, stderr: Stderr) -> None:
    """Closing does not wait if nothing was logged, or no journal listens."""
    assert _Piped(stderr, journal=True).close(0)
    journal.close()
    unheard = _Piped(stderr, journal=True)
    unheard.write(INFO, "end", "x" * 500)
    assert unheard.close(0)
    assert _Piped(stderr).close(0)


@pytest.mark.usefixtures("no_journal")
def test_no_journal(stderr: Stderr, to_journal: Log) -> None:
    """If the journal has gone entries are lines with their level."""
    to_journal.write(ERROR, "exiting", "why", pid=1)
    assert stderr.read() == "<3>exiting: why pid=1\n"


@pytest.mark.usefixtures("no_journal")
def test_full_everywhere(stderr: Stderr, to_journal: Log) -> None:
    """An entry that neither the journal nor standard error takes is counted once."""
    stderr.fill()
    to_journal.write(ERROR, "end", "x")
    assert to_journal.lost == 1


@pytest.fixture
def to_syslog(tmp_path: Path) -> Iterator[Log]:
    """A log to the syslog at `tmp_path`/log."""
    subject = Log(syslog=str(tmp_path / "log"))
    yield subject
    assert subject._syslog is not None
    subject._syslog.close()


def test_syslog(stderr: Stderr, tmp_path: Path, to_syslog: Log) -> None:
    """To syslog an entry is one datagram with facility daemon, level, name and pid; standard error gets nothing."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        to_syslog.write(ERROR, "end", "a\nb", peer_uid=1000)
        assert syslog.recv(4096).decode() == f"<27>upperd[{os.getpid()}]: end: a\\nb peer_uid=1000"
        to_syslog.write(INFO, "end", "x" * 10_000)
        assert len(syslog.recv(65536)) == 4000
    assert (stderr.read(), to_syslog.lost) == ("", 0)


def test_syslog_made_anew(tmp_path: Path, to_syslog: Log) -> None:
    """Entries while syslog is missing or full are counted; a new syslog gets the next entry."""
    to_syslog.write(INFO, "end", "lost")
    assert to_syslog.lost == 1
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as syslog:
        syslog.bind(str(tmp_path / "log"))
        for _ in range(3000):
            to_syslog.write(INFO, "end", "x")
        assert syslog.recv(4096).endswith(b"end: x")
    assert to_syslog.lost > 1
