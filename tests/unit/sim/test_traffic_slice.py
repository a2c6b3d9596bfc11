"""Which part of a trace is meant, and what is said where it has none."""

from array import array
from datetime import UTC, datetime

import pytest

from plimsoll.core.errors import UserError
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.traffic_slice import parse_slice

DAY = 86_400.0
START = datetime(1998, 6, 22, 12, tzinfo=UTC).timestamp()
DATED = Trace(rates=constant(1.0, 3 * DAY), start=START)  # noon of the 22nd to noon of the 25th
PLAIN = Trace(rates=constant(1.0, 3 * DAY))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("1998-06-23", (0.5 * DAY, 1.5 * DAY)),
        ("1998-06-22", (0.0, 0.5 * DAY)),
        ("1998-06-25", (2.5 * DAY, 3 * DAY)),
        ("day:1", (0.0, DAY)),
        ("day:3", (2 * DAY, 3 * DAY)),
        ("2h/3h", (7200.0, 10_800.0)),
        ("1d/1d12h", (DAY, 1.5 * DAY)),
        ("0s/90m", (0.0, 5400.0)),
        ("1998-06-23T00:00/1998-06-23T06:00", (0.5 * DAY, 0.75 * DAY)),
        ("1998-06-23 00:00/06:30", (0.5 * DAY, 0.5 * DAY + 6.5 * 3600)),
        ("1998-06-23T22:00/02:00", (0.5 * DAY + 22 * 3600, 0.5 * DAY + 26 * 3600)),
        ("1998-06-23T06:00/3h", (0.75 * DAY, 0.75 * DAY + 10_800)),
        ("1998-06-23/1998-06-25", (0.5 * DAY, 2.5 * DAY)),
        ("1998-06-23T02:00+02:00/2h", (0.5 * DAY, 0.5 * DAY + 7200)),
        ("2d/9d", (2 * DAY, 3 * DAY)),
    ],
)
def test_slices(text, expected):
    assert parse_slice(text, DATED) == expected


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("yesterday", "--slice yesterday: write a date (2023-11-16), a day of the trace (day:3), or FROM/TO"),
        ("", "write a date"),
        ("day:0", "days are counted from 1"),
        ("day:two", "days are counted from 1"),
        ("day:4", "the trace has nothing there; it spans 1998-06-22 12:00 to 1998-06-25 12:00"),
        ("1998-06-26", "the trace has nothing there"),
        ("1997-06-26", "the trace has nothing there"),
        ("3h/2h", "ends before it starts"),
        ("2h/2h", "ends before it starts"),
        ("2h/", "write a date"),
        ("/2h", "write a date"),
        ("2h/soon", "'soon' is no time; write a date"),
    ],
)
def test_what_is_no_slice_is_told(text, told):
    with pytest.raises(UserError) as error:
        parse_slice(text, DATED)
    assert told in str(error.value)


def test_a_trace_without_dates():
    assert parse_slice("day:2", PLAIN) == (DAY, 2 * DAY)
    with pytest.raises(UserError, match=r"the trace tells no dates; write day:1, or 0s/36h"):
        parse_slice("1998-06-23", PLAIN)
    with pytest.raises(UserError, match="it spans 72h"):
        parse_slice("day:9", PLAIN)
    assert parse_slice("1s/2s", Trace(times=array("d", [0.0, 1.5]))) == (1.0, 1.5)
