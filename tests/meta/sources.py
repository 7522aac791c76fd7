"""What the tests of the manual read from the source."""

import os
import re
from pathlib import Path

ROOT = Path(__file__).parents[2]


def exit_statuses(*modules: str) -> set[int]:
    """Every EX_ constant, of os too, and `status` of an error class in the source of these modules."""
    found = set()
    for name in modules:
        source = (ROOT / f"upperd/{name}.py").read_text()
        found |= {int(number) for number in re.findall(r"^(?:EX_[A-Z]+|    status) = (\d+)", source, re.MULTILINE)}
        found |= {getattr(os, constant) for constant in re.findall(r"\bos\.(EX_[A-Z]+)", source)}
    return found
