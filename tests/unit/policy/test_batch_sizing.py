import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching.rate import ArrivalRate
from plimsoll.policy.batching.sizing import UNBOUNDED, keeping_up, knee, within

seconds = st.floats(1e-6, 1.0)


@given(seconds, seconds)
def test_the_knee_is_the_smallest_batch_whose_doubling_gains_less_than_5_percent(a, c):
    def gain(b):
        return ServiceTime(a, c).capacity(2 * b) / ServiceTime(a, c).capacity(b)

    b = knee(a, c)
    assert gain(b) < 1.05 + 1e-9
    assert b == 1 or gain(b - 1) >= 1.05 - 1e-9


def test_knee_at_the_ends():
    assert knee(0.004, 0.0015) == 26
    assert knee(0.0, 0.001) == 1  # batching gains nothing
    assert knee(0.001, 0.0) == UNBOUNDED
    assert knee(0.0, 0.0) == UNBOUNDED


@given(seconds, seconds, st.floats(0, 1e5))
def test_keeping_up_is_the_smallest_batch_with_the_capacity(a, c, rate):
    b = keeping_up(a, c, rate)
    if b < UNBOUNDED:
        assert ServiceTime(a, c).capacity(b) >= rate * (1 - 1e-6)
        assert b == 1 or ServiceTime(a, c).capacity(b - 1) < rate * (1 + 1e-6)
    else:
        assert rate * c >= 1 - 1e-6 or rate * a / (1 - rate * c) >= UNBOUNDED * (1 - 1e-6)


@given(seconds, seconds, st.floats(-1, 100))
def test_within_is_the_largest_that_fits(a, c, room):
    b = within(a, c, room)
    assert b >= 0
    assert b == 0 or a + c * b <= room + 1e-6
    assert a + c * (b + 1) > room - 1e-6


def test_within_at_the_ends():
    assert within(0.0, 0.0, 0.0) == UNBOUNDED
    assert within(0.004, 0.0, 0.005) == UNBOUNDED
    assert within(0.004, 0.001, float("inf")) == UNBOUNDED


def test_rate_timeline():
    rate = ArrivalRate()
    assert rate.update(10.0) == 0.0
    for hundredth in range(1, 101):  # 100/s, polled at each arrival
        rate.arrived += 1
        rate.update(10 + hundredth / 100)
    assert rate.per_s == pytest.approx(100, rel=0.02)
    rate.arrived += 1000
    assert rate.update(11.5) == pytest.approx(100 + 1900 * (1 - 2.718**-1), rel=0.02)
    rate.update(3.0)  # a clock that goes back
    rate.arrived += 10
    assert 0 < rate.update(3.1) < 3000
