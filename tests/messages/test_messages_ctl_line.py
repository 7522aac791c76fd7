"""The messages of upperctl about its command line."""

from pathlib import Path

import pytest
from situations import Situation, check

TABLE = [
    Situation(
        "a misspelt command",
        "upperctl stat",
        64,
        "upperctl: no command 'stat'; is it 'stats'?",
    ),
    Situation(
        "a text in place of a command",
        "upperctl hello",
        64,
        "upperctl: no command 'hello'; to send text: upperctl send hello",
    ),
    Situation(
        "a command of systemctl",
        "upperctl stop",
        64,
        ("upperctl: no command 'stop', since upperctl is only the client: kill PID, which upperctl status shows"),
    ),
    Situation(
        "no command",
        "upperctl --socket s",
        64,
        "upperctl: give a command: send, status, stats, top, ping, version",
    ),
    Situation(
        "a misspelt option",
        "upperctl send --fle x",
        64,
        "upperctl: no option '--fle'; is it '--file'?",
    ),
    Situation(
        "a text that begins with a dash",
        "upperctl send --nope",
        64,
        "upperctl: no option '--nope'; text that begins with a dash goes after --: upperctl send -- -x",
    ),
    Situation(
        "an option of another command",
        "upperctl status --watch",
        64,
        "upperctl: --watch is no option of status: upperctl stats --watch",
    ),
    Situation(
        "an option of a command before it",
        "upperctl --once top",
        64,
        "upperctl: --once comes after the command: upperctl top --once",
    ),
    Situation(
        "a word after a command that takes none",
        "upperctl status now",
        64,
        "upperctl: status takes no arguments: leave out 'now'",
    ),
    Situation(
        "the value of an option is missing",
        "upperctl send --socket",
        64,
        "upperctl: --socket needs a value: PATH",
    ),
    Situation(
        "the value of an option is empty",
        "upperctl send --socket=",
        64,
        "upperctl: --socket is empty: leave it out to find the daemon",
    ),
    Situation(
        "the name of a file is empty",
        "upperctl send --file=",
        64,
        "upperctl: --file is empty: name a file",
    ),
    Situation(
        "a value for an option that takes none",
        "upperctl top --once=1",
        64,
        "upperctl: --once takes no value",
    ),
    Situation(
        "two addresses",
        "upperctl --socket s send --tcp h:1 x",
        64,
        "upperctl: give either --socket or --tcp, not both",
    ),
    Situation(
        "two forms",
        "upperctl stats --json --prometheus",
        64,
        "upperctl: give either --json or --prometheus, not both",
    ),
    Situation(
        "a name that no daemon can have",
        "upperctl -n ../x status",
        64,
        "upperctl: -n is '../x': it must be PROGRAM or PROGRAM@INSTANCE",
    ),
    Situation(
        "a number of seconds that is none",
        "upperctl ping -W 5s",
        64,
        ("upperctl: --timeout is '5s': it must be a number of seconds from 0.01 to 86400"),
    ),
    Situation(
        "a count that is none",
        "upperctl ping -c 0",
        64,
        "upperctl: -c is '0': it must be a whole number from 1 to 999999999",
    ),
    Situation(
        "a column that there is not",
        "upperctl top --sort x",
        64,
        (
            "upperctl: --sort is 'x': it must be one of pid, state, user, rate, cpu, mem, conns, msgs, in, "
            "out, peer, idle"
        ),
    ),
    Situation(
        "a file for figures that no format is for",
        "upperctl stats --output x",
        64,
        "upperctl: --output goes with --prometheus only; else redirect: upperctl stats > FILE",
    ),
]


@pytest.mark.parametrize("row", TABLE, ids=lambda row: row.situation)
def test_message(row: Situation, folder: Path) -> None:
    """A wrong command line of upperctl causes a message with the fault and the cure; status 64."""
    check(row, folder)
