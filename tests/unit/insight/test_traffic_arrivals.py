"""Arrivals have the rate, the burstiness and the seed that they were asked for."""

from itertools import islice, pairwise
from math import sqrt
from random import Random
from statistics import fmean, pstdev

import pytest

from plimsoll.insight.traffic import Arrivals, Gaps, Rates, Segment, constant, draw, parse_gaps, ramp, repeat


def drawn(rates, gaps=None, seed=1):
    return list(draw(rates, Random(seed), gaps))


def cv(times):
    gaps = [after - before for before, after in pairwise(times)]
    return pstdev(gaps) / fmean(gaps)


@pytest.mark.parametrize("gaps", [Gaps(0.0), Gaps(1.0), Gaps(0.5), Gaps(2.0)])
def test_the_rate_and_the_burstiness_are_as_asked(gaps):
    times = drawn(constant(200, 200), gaps)
    assert abs(len(times) - 40_000) <= 4 * max(gaps.cv, 0.01) * sqrt(40_000)
    assert cv(times) == pytest.approx(gaps.cv, rel=0.05, abs=1e-6)
    assert times == sorted(times)
    assert 0 <= times[0] <= times[-1] <= 200


def test_bursts_of_a_high_cv():
    assert cv(drawn(constant(1000, 200), Gaps(4.0))) == pytest.approx(4.0, rel=0.1)


def test_a_seed_repeats_a_run_and_another_does_not():
    assert drawn(constant(100, 5), seed=7) == drawn(constant(100, 5), seed=7)
    assert drawn(constant(100, 5), seed=7) != drawn(constant(100, 5), seed=8)


def test_a_ramp_has_at_each_moment_the_rate_it_should_have():
    rates = ramp(10, 2000, 60)
    times = drawn(rates, Gaps(0.0))
    assert len(times) == pytest.approx(60 * 1005, abs=1)
    for second in (1, 20, 40, 59):
        expected = Rates([Segment(0, second, 10, 10 + 1990 * second / 60)]).requests
        assert sum(time < second for time in times) == pytest.approx(expected, abs=1)
    assert rates.rate_at(30) == 1005


def test_a_falling_ramp_ends_at_zero_and_a_rising_one_may_start_there():
    assert len(drawn(ramp(100, 0, 10), Gaps(0.0))) == pytest.approx(500, abs=1)
    assert len(drawn(ramp(0, 100, 10), Gaps(0.0))) == pytest.approx(500, abs=1)


def test_evenly_spaced_arrivals_go_on_evenly_from_stretch_to_stretch():
    halves = Rates([Segment(0, 0.75, 2, 2), Segment(0.75, 10, 2, 2)])
    times = drawn(halves, Gaps(0.0))
    assert [after - before for before, after in pairwise(times)] == pytest.approx([0.5] * 19)


def test_nothing_comes_while_the_rate_is_zero_and_in_gaps():
    rates = Rates([Segment(0, 10, 50, 50), Segment(10, 20, 0, 0), Segment(30, 40, 50, 50)])
    times = drawn(rates)
    assert not [time for time in times if 10 < time < 30]
    assert len(times) == pytest.approx(1000, abs=4 * sqrt(1000))
    assert rates.rate_at(25) == rates.rate_at(15) == rates.rate_at(41) == rates.rate_at(-1) == 0


def test_a_stretchs_own_cv_holds_until_arrivals_are_chosen():
    rates = Rates([Segment(0, 100, 200, 200, cv=3.0)])
    assert cv(drawn(rates)) == pytest.approx(3.0, rel=0.15)
    assert cv(drawn(rates, Gaps(1.0))) == pytest.approx(1.0, rel=0.05)


def test_speedup_keeps_the_requests_and_scale_multiplies_them():
    rates = ramp(10, 30, 100)
    fast = rates.stretched(speedup=10)
    assert (fast.duration_s, fast.requests, fast.rate_at(5)) == (10, pytest.approx(2000), 200)
    assert rates.stretched(scale=0.5).requests == pytest.approx(1000)
    cut = rates.stretched(speedup=10, until_s=5)
    assert (cut.duration_s, cut.requests, cut.rate_at(5)) == (5, pytest.approx(750), 200)
    assert constant(5, 10).stretched(until_s=100).duration_s == 10


@pytest.mark.parametrize(
    "segment", [(0, 0, 1, 1), (1, 0, 1, 1), (0, 1, -1, 1), (0, float("inf"), 1, 1), (0, 1, float("nan"), 1)]
)
def test_no_stretch_of_nonsense(segment):
    with pytest.raises(ValueError, match=r"a stretch|no rate"):
        Segment(*segment)


def test_stretches_do_not_overlap():
    with pytest.raises(ValueError, match="overlap"):
        Rates([Segment(0, 10, 1, 1), Segment(9, 12, 1, 1)])


def test_recorded_arrivals_are_repeated_as_they_were():
    times = [0.0, 1.0, 1.0, 4.0]
    assert list(repeat(times, Random(1))) == times
    assert list(repeat(times, Random(1), speedup=10)) == [0.0, 0.1, 0.1, 0.4]
    assert list(repeat(times, Random(1), until_s=1.0)) == [0.0]


@pytest.mark.parametrize("scale", [0.25, 1.5, 3.0])
def test_recorded_arrivals_scale_in_order_and_in_place(scale):
    times = [float(i) for i in range(2000)]
    scaled = list(repeat(times, Random(3), scale=scale))
    assert scaled == sorted(scaled)
    assert len(scaled) == pytest.approx(2000 * scale, rel=0.1)
    assert sum(time < 500 for time in scaled) == pytest.approx(500 * scale, rel=0.2)


def test_a_schedule_gives_what_is_due_and_asks_for_no_more_than_a_chunk():
    seen = []

    def source():
        for i in range(100_000):
            seen.append(i)
            yield i * 0.001

    arrivals = Arrivals(source())
    assert arrivals.next == 0.0
    assert arrivals.take(-0.1, 10) == []
    assert arrivals.take(0.0021, 10) == [0.0, 0.001, 0.002]
    assert arrivals.take(0.1, 2) == [0.003, 0.004]
    assert len(seen) <= 128
    assert len(arrivals.take(1000, 10**6)) == 100_000 - 5
    assert arrivals.next is None
    assert arrivals.take(2000, 10) == []


def test_a_long_schedule_costs_no_memory_before_its_time():
    endless = draw(constant(1e6, 1e9), Random(1), Gaps(1.0))
    assert len(list(islice(endless, 1000))) == 1000


@pytest.mark.parametrize(("text", "cv"), [("poisson", 1.0), ("uniform", 0.0), ("gamma:4", 4.0), ("gamma:0.5", 0.5)])
def test_kinds_of_arrivals(text, cv):
    assert parse_gaps(text) == Gaps(cv)
    assert str(parse_gaps(text)) == text


@pytest.mark.parametrize(
    "text", ["", "gamma", "gamma:", "gamma:x", "gamma:0", "gamma:-1", "gamma:nan", "Poisson", "gamma:1e9"]
)
def test_other_kinds_of_arrivals_are_told(text):
    with pytest.raises(ValueError, match=r"gamma"):
        parse_gaps(text)
