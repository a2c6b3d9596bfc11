"""Simulated seconds as the recording's own times."""

import pytest

from plimsoll.sim.when import Times

NOON = 899_208_000.0  # 1998-06-30 12:00 UTC


@pytest.mark.parametrize(
    ("times", "at_s", "expected"),
    [
        (Times(NOON, 1, 3600), 61, "12:01:01"),
        (Times(NOON, 12, 3600), 300, "13:00"),
        (Times(NOON, 24, 7200), 3600, "07-01 12:00"),
        (Times(None, 1, 60), 59, "59s in"),
        (Times(None, 1, 6000), 300, "5m in"),
        (Times(None, 12, 6000), 3600, "12h in"),
        (Times(None, 1, 60), 0, "0s in"),
    ],
)
def test_a_moment(times, at_s, expected):
    assert times.at(at_s) == expected


def test_a_stretch():
    assert Times(NOON, 24, 3600).between(0, 150) == "between 12:00 and 13:00"
    assert Times(None, 1, 9000).between(3600, 7200) == "from 1h to 2h in"
