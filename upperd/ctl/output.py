"""Standard output, which may be full, slow, or gone."""

from __future__ import annotations

import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn


def show(text: str) -> None:
    """Print a text and a newline."""
    write_out(f"{text}\n".encode("utf-8", "replace"))


def write_out(block: bytes) -> None:
    """Write all of it, at once. Raises SystemExit(74), and says why; (141) where nobody reads any more."""
    rest = memoryview(block)
    while rest:
        try:
            rest = rest[os.write(1, rest) :]
        except BlockingIOError:
            _wait()
        except OSError as error:
            _fail(error)


def _wait() -> None:
    """Wait until standard output takes something: another program may have made it one that does not wait."""
    import select

    poll = select.poll()
    poll.register(1, select.POLLOUT)
    poll.poll()


def _fail(error: OSError) -> NoReturn:
    from upperd.ctl.exits import EX_IOERR, EX_NOREADER, fail

    if isinstance(error, BrokenPipeError):
        raise SystemExit(EX_NOREADER)
    raise SystemExit(fail(EX_IOERR, f"cannot write the answer: {error.strerror}"))
