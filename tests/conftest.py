"""Reports at the end of every test run why tests were skipped, with one line for each reason."""

from __future__ import annotations

import os
import re
import signal
from collections import Counter
from collections.abc import Generator

import pytest

CLOSED = re.compile("/proc/[0-9]+/(fd|environ|maps|smaps|cwd)")
"""Files of a daemon that only root may read (privacy.py)."""


def pytest_configure() -> None:
    """Let SIGINT interrupt the programs under test also where a shell starts the tests in the background."""
    if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:
        signal.signal(signal.SIGINT, signal.default_int_handler)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call(item: pytest.Item) -> Generator[None, object, object]:
    """Skip a test that fails because this user may not look into a daemon."""
    try:
        return (yield)
    except PermissionError as error:
        if os.geteuid() != 0 and CLOSED.match(str(error.filename)):
            pytest.skip("looking into a daemon, which is closed to its own user, takes root")
        raise


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    """Report how many tests were skipped for each reason, the most frequent reason first."""
    reasons = Counter(
        report.longrepr[2].removeprefix("Skipped: ")
        for report in terminalreporter.stats.get("skipped", [])
        if isinstance(report.longrepr, tuple)
    )
    if reasons:
        terminalreporter.section("skipped, and why", "-")
    for reason, count in reasons.most_common():
        terminalreporter.line(f"{count:5} {reason}")
