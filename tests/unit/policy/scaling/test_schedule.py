from datetime import UTC, datetime
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.scaling.world import seen

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.named import make

BERLIN = ZoneInfo("Europe/Berlin")
OFFICE = "schedule:0 8 * * 1-5=6;0 20 * * *=2;tz=Europe/Berlin"


def at(policy, text, zone=BERLIN):
    return policy.decide(seen(datetime.fromisoformat(text).replace(tzinfo=zone).timestamp())).replicas


def test_a_week_at_the_office():
    policy = make(OFFICE, Bounds(0, 10))
    assert at(policy, "2026-11-20T07:59:59") == 2  # Friday
    assert at(policy, "2026-11-20T08:00:00") == 6
    assert at(policy, "2026-11-20T19:59:59.9") == 6
    assert at(policy, "2026-11-20T20:00") == 2
    assert at(policy, "2026-11-21T12:00") == 2  # Saturday: no line of its own
    assert at(policy, "2026-11-23T08:00") == 6  # Monday
    assert at(policy, "2026-11-20T08:00") == 6  # a clock that jumps back


def test_says_since_when_and_why():
    decision = make(OFFICE, Bounds(0, 4)).decide(seen(datetime(2026, 11, 20, 9, tzinfo=BERLIN).timestamp()))
    assert decision.reason == "4: 6 since Fri 08:00 Europe/Berlin by 0 8 * * 1-5; bounds 0-4"
    assert decision.evidence["count"] == 6


@pytest.mark.parametrize(
    ("moment", "count"),
    [
        ("2026-03-29T01:59", 1),  # put forward from 2:00 to 3:00: 2:30 isn't, it comes at 3:00
        ("2026-03-29T03:00", 5),
        ("2026-10-25T02:29", 1),
        ("2026-10-25T02:30", 5),  # put back from 3:00 to 2:00: the first 2:30
    ],
)
def test_when_clocks_change(moment, count):
    assert at(make("schedule:30 2 * * *=5;0 12 * * *=1;tz=Europe/Berlin", Bounds(0, 10)), moment) == count


def test_of_two_at_the_same_moment_the_larger_counts():
    assert at(make("schedule:0 8 * * *=3;0 8 * * 5=7", Bounds(0, 10)), "2026-11-20T08:00", UTC) == 7


def test_a_clock_of_its_own_is_given_its_epoch():
    start = datetime(2026, 11, 20, 7, 59, 50, tzinfo=UTC).timestamp()
    policy = make("schedule:0 8 * * *=6;0 0 * * *=1", Bounds(0, 10), epoch_s=start)
    assert [policy.decide(seen(float(now))).replicas for now in (0, 9, 10, 11)] == [1, 1, 6, 6]


def test_looks_up_only_when_a_moment_has_come(monkeypatch):
    policy = make(OFFICE, Bounds(0, 10))
    looked = []
    inner = policy._look_up
    monkeypatch.setattr(policy, "_look_up", lambda now: (looked.append(now), inner(now)))
    begin = datetime(2026, 11, 20, 0, tzinfo=BERLIN).timestamp()
    for second in range(0, 86400, 60):
        policy.decide(seen(begin + second))
    assert len(looked) == 3  # the beginning, 8:00, 20:00


@given(st.floats(), st.booleans())
def test_never_raises_and_stays_within_bounds(now, metrics):
    decision = make(OFFICE, Bounds(3, 5)).decide(seen(now, metrics=metrics))
    assert 3 <= decision.replicas <= 5
