"""Messages that another test produces, and those that no test can."""

from __future__ import annotations

PRODUCED_ELSEWHERE: dict[str, str] = {}
"""Words of a message: the test that has them."""

CANNOT_BE_PRODUCED: dict[str, str] = {}
"""Words of a message: why no test brings it about."""
