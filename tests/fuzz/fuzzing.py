"""Shared by the fuzz targets: instrumented imports, seeds in a temporary folder, and the fuzzer's run.

A target takes the flags of libFuzzer, such as -max_total_time=60. Failing inputs are left in a new folder below
$TMPDIR, which the target names, and never here.
"""

from __future__ import annotations

import sys
import tempfile
from collections.abc import Callable, Iterable
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

try:
    import atheris
except ImportError:
    sys.exit("atheris is not installed: `make fuzz` installs it, on x86-64 only")

SLOWEST = 10
"""Seconds: an input that takes longer is a failure, too."""


def instrumented() -> AbstractContextManager[Any]:
    """Instrument the modules imported within the block, so that the fuzzer sees their branches."""
    return atheris.instrument_imports(include=["upperd", "tomllib"], enable_loader_override=False)


def fuzz(check: Callable[[bytes], None], seeds: Iterable[bytes], words: Iterable[str], longest: int) -> None:
    """Call `check` with inputs of at most `longest` bytes, made from `seeds` and `words`.

    Never returns: the process ends with status 0 when the flag's time is over, with another if `check` raises.
    """
    folder = Path(tempfile.mkdtemp(prefix="upperd-fuzz-"))
    corpus = folder / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(seeds):
        (corpus / f"seed-{number}").write_bytes(seed)
    dictionary = folder / "words"
    dictionary.write_text("".join(f'"{_quoted(word.encode())}"\n' for word in words))
    flags = [f"-max_len={longest}", "-len_control=0", f"-timeout={SLOWEST}", f"-dict={dictionary}"]
    flags += [f"-artifact_prefix={folder}/", "-print_final_stats=1"]
    print(f"{Path(sys.argv[0]).stem}: {check.__doc__}\n{folder}", file=sys.stderr, flush=True)
    atheris.Setup([sys.argv[0], *flags, *sys.argv[1:], str(corpus)], check)
    atheris.Fuzz()


def _quoted(word: bytes) -> str:
    """An entry of a libFuzzer dictionary: every byte by its number."""
    return "".join(f"\\x{byte:02x}" for byte in word)
