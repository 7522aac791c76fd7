"""Times as an operator writes them."""

import pytest

from upperd.base.times import seconds
from upperd.service.options import OPTIONS, OptionError, Options

TIMES = [option.name for option in OPTIONS if option.kind.metavar == "SECONDS"]


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("30", 30), ("5s", 5), ("5 s", 5), ("2min", 120), ("2m", 120), ("500ms", 0.5), ("1h 30min", 5400),
        ("1h30min", 5400), ("1.5h", 5400), ("1min 5", 65), ("3 days", 259_200), ("1w", 604_800), ("20us", 0.00002),
        ("20µs", 0.00002), ("0", 0),
    ],
)  # fmt: skip
def test_units(text: str, meaning: float) -> None:
    """Each unit of systemd.time(7) up to the week is accepted; without a unit a number is seconds."""
    assert seconds(text) == pytest.approx(meaning)


@pytest.mark.parametrize("text", ["", " ", "s", "5x", "5S", "-5s", "1 5s", "1.2.3s", ".", "s5", "5ss", "inf", "1e3s"])
def test_no_time(text: str) -> None:
    """Any other text is no time, and two adjacent numbers are not guessed at."""
    with pytest.raises(ValueError):  # noqa: PT011 (its text is shown nowhere)
        seconds(text)


@pytest.mark.parametrize("name", TIMES)
def test_every_option_of_seconds(name: str) -> None:
    """Every option of seconds accepts a unit, within its range."""
    assert len(TIMES) == 4
    assert getattr(Options(**{name: "1min 500ms"}), name) == 60.5
    for wrong in ("soon", "9999w", "-1s"):
        with pytest.raises(OptionError, match=f"is '{wrong}': it must be a time from 0 to .* seconds, such as"):
            Options(**{name: wrong})
