"""Well-known programs that upper-case text, each run as its manual suggests, for comparison."""

from __future__ import annotations

FILTERS = {
    "perl": ("perl", ["perl", "-CSD", "-ne", "print uc"]),
    "gawk": ("gawk", ["gawk", "{ print toupper($0) }"]),
    "uconv": ("icu-devtools", ["uconv", "-f", "utf-8", "-t", "utf-8", "-x", "Any-Upper"]),
    "sed": ("sed", ["sed", r"s/.*/\U&/"]),
}
"""By name: the Debian package, and the command."""
ENVIRON = {"LC_ALL": "C.UTF-8"}
