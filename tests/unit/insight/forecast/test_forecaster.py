"""Forecasts as timelines: what came, what is expected, and how sure."""

import gc
import tracemalloc
from itertools import pairwise
from math import inf, nan

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.insight.forecast import QUANTILES, Forecaster

DAY_S = 86_400.0


def fed(rate, seconds, *, forecast=None, seed=None, start=0.0, step_s=1.0, ahead_s=8.0):
    """`rate`: a number or a function of the seconds since `start`."""
    forecast = forecast or Forecaster()
    random = None if seed is None else np.random.default_rng(seed)
    for step in range(1, round(seconds / step_s) + 1):
        at = step * step_s
        mean = (rate(at) if callable(rate) else rate) * step_s
        count = round(mean) if random is None else int(random.poisson(mean))
        forecast.observe(start + at, count, step_s)
        forecast.rates(ahead_s)
    return forecast


def covered(rate, seconds, *, seed, ahead_s=8.0, after_s=600):
    """The share of seconds whose rate was at most what each quantile said `ahead_s` before; from `after_s` on."""
    forecast, random, said, hits = Forecaster(), np.random.default_rng(seed), {}, []
    for second in range(1, seconds + 1):
        count = int(random.poisson(rate(second) if callable(rate) else rate))
        if second in said and second > after_s:
            hits.append([count <= value for value in said[second]])
        forecast.observe(float(second), count, 1.0)
        said[second + round(ahead_s)] = forecast.rates(ahead_s)
    return dict(zip(QUANTILES, np.mean(hits, axis=0), strict=True))


def test_before_any_look_nothing_is_expected():
    assert Forecaster().rates(8.0) == [0.0] * len(QUANTILES)
    assert Forecaster().rate(8.0, 0.9) == 0.0
    assert Forecaster().burstiness() == 1.0
    assert Forecaster().level == 0.0


@pytest.mark.parametrize("rate", [0, 1, 300, 50_000])
def test_a_steady_rate_is_expected_to_go_on(rate):
    forecast = fed(rate, 900)
    assert forecast.rates(8.0) == pytest.approx([rate] * len(QUANTILES), rel=1e-6, abs=1e-6)
    assert forecast.level == rate


def test_after_one_look_there_is_a_margin():
    forecast = fed(100, 1)
    rates = forecast.rates(8.0)
    assert min(rates) >= 30
    assert 100 <= rates[-1] <= 200


@pytest.mark.parametrize("ahead_s", [2.0, 8.0, 60.0])
def test_a_ramp_is_carried_on(ahead_s):
    forecast = fed(lambda s: 10 * s, 300, ahead_s=ahead_s)
    assert forecast.rate(ahead_s, 0.9) == pytest.approx(10 * (300 + ahead_s), rel=0.05)
    falling = fed(lambda s: 6000 - 10 * s, 300, ahead_s=ahead_s)
    assert falling.rate(ahead_s, 0.5) == pytest.approx(6000 - 10 * (300 + ahead_s), rel=0.05)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [20, 2000])
def test_quantiles_hold_for_steady_poisson_arrivals(rate, seed):
    shares = covered(rate, 2400, seed=seed)
    for quantile in (0.5, 0.7, 0.8, 0.9, 0.95):
        assert shares[quantile] == pytest.approx(quantile, abs=0.1), f"seed {seed}: {shares}"
    assert shares[0.99] > 0.95, f"seed {seed}"


def test_quantiles_hold_on_a_tide():
    shares = covered(lambda s: 1000 + 600 * np.sin(s / 150), 3600, seed=4)
    assert shares[0.9] == pytest.approx(0.9, abs=0.1)
    assert shares[0.99] > 0.95


def test_margins_follow_how_wrong_one_was():
    calm = fed(1000, 900, seed=1).rate(8.0, 0.95)
    bursty = fed(lambda s: 1000 + 2000 * (s % 60 < 8), 900, seed=1).rate(8.0, 0.95)
    assert calm < 1150
    assert bursty > 1500


def test_further_ahead_is_less_sure():
    forecast = fed(lambda s: 1000 + 300 * np.sin(s / 20), 900, seed=1)
    near, far = Forecaster(), Forecaster()
    for one, ahead_s in ((near, 2.0), (far, 30.0)):
        fed(lambda s: 1000 + 300 * np.sin(s / 20), 900, seed=1, forecast=one, ahead_s=ahead_s)
    spread = [one.rate(ahead, 0.95) - one.rate(ahead, 0.5) for one, ahead in ((near, 2.0), (far, 30.0))]
    assert spread[0] < spread[1]
    assert forecast.rate(8.0, 0.5) < forecast.rate(8.0, 0.95)


# --- bursts, spikes, gaps ---------------------------------------------------------------------------------------------


def test_a_burst_is_noticed_within_seconds_and_over_when_it_is():
    forecast = fed(200, 600, seed=1)
    assert not forecast.bursting
    before = forecast.rate(8.0, 0.95)
    expected = [fed(1500, 1, forecast=forecast, start=600.0 + s).rate(8.0, 0.95) for s in range(4)]
    assert max(expected) > 1500 > 3 * before
    fed(1500, 60, forecast=forecast, start=604.0)
    assert not forecast.bursting, "a level that stays is no burst"
    assert 1400 < forecast.rate(8.0, 0.5) <= forecast.rate(8.0, 0.95) < 1900


@pytest.mark.parametrize("times", [10, 1e3, 1e6])
def test_a_spike_is_forgotten(times):
    forecast = fed(1000, 300)
    fed(1000 * times, 1, forecast=forecast, start=300.0)
    assert np.isfinite(forecast.rates(8.0)).all()
    fed(1000, 1800, forecast=forecast, start=301.0)
    assert forecast.rates(8.0) == pytest.approx([1000.0] * len(QUANTILES), rel=0.3)


def test_traffic_that_stops_is_expected_to_stay_away():
    forecast = fed(9000, 2)
    for second in range(60):
        fed(0, 1, forecast=forecast, start=2.0 + second)
        assert np.isfinite(forecast.rates(8.0)).all(), "those that say nothing yet are not believed"
    fed(0, 600, forecast=forecast, start=62.0)
    assert forecast.rate(8.0, 0.9) < 10


def test_a_long_gap_is_no_new_pace():
    forecast = fed(500, 300, seed=2)
    forecast.observe(4000.0, 500 * 3700, 3700.0)
    fed(500, 60, forecast=forecast, seed=3, start=4000.0)
    assert forecast.rate(8.0, 0.9) == pytest.approx(fed(500, 300, seed=2).rate(8.0, 0.9), rel=0.15)


@pytest.mark.parametrize("jump_s", [-1e6, -60.0, 1e6])
def test_a_clock_that_jumps_changes_nothing(jump_s):
    jumped, steady = fed(500, 300, seed=2), fed(500, 300, seed=2)
    fed(500, 60, forecast=jumped, seed=3, start=300.0 + jump_s)
    fed(500, 60, forecast=steady, seed=3, start=300.0)
    assert jumped.rates(8.0) == steady.rates(8.0)


@pytest.mark.parametrize(
    "look",
    [(nan, 5, 1.0), (inf, 5, 1.0), (1.0, 5, nan), (1.0, 5, 0.0), (1.0, 5, -1.0), (1.0, -5, 1.0), (1.0, 10**400, 1.0)],
)
def test_a_look_that_makes_no_sense_is_left_out(look):
    spoilt, sound = fed(500, 60, seed=2), fed(500, 60, seed=2)
    spoilt.observe(*look)
    assert spoilt.rates(8.0) == sound.rates(8.0)


@pytest.mark.parametrize("step_s", [0.25, 5.0, 15.0])
def test_any_pace_of_looks(step_s):
    forecast = fed(lambda s: 500 + s, 900, step_s=step_s, ahead_s=30.0)
    assert forecast.rate(30.0, 0.5) == pytest.approx(500 + 930, rel=0.1)


# --- what it is like --------------------------------------------------------------------------------------------------

odd = st.one_of(st.floats(), st.floats(0, 1e4), st.sampled_from([1e300, 5e-324, -1e-20, 86399.9999999999]))


@settings(max_examples=60)
@given(
    looks=st.lists(st.tuples(odd, st.one_of(st.integers(0, 10**6), st.integers()), odd), max_size=40),
    ahead_s=odd,
    quantile=st.floats(0, 1),
)
def test_never_an_exception_and_always_finite_and_rising(looks, ahead_s, quantile):
    forecast = Forecaster()
    for look in looks:
        forecast.observe(*look)
        rates = forecast.rates(ahead_s)
        assert len(rates) == len(QUANTILES)
        assert all(0.0 <= low <= high < inf for low, high in pairwise([0.0, *rates]))
        assert 0.0 <= forecast.rate(ahead_s, quantile) < inf
        assert forecast.burstiness() >= 0.0


def test_a_horizon_asked_for_late_knows_what_was_seen():
    early, late = fed(lambda s: 1000 + 5 * s, 600, ahead_s=20.0), Forecaster()
    for second in range(1, 601):
        late.observe(float(second), 1000 + 5 * second, 1.0)
    assert late.rates(20.0) == pytest.approx(early.rates(20.0), rel=0.02)


def test_the_same_looks_give_the_same_forecasts():
    assert fed(300, 400, seed=9).rates(8.0) == fed(300, 400, seed=9).rates(8.0)


def test_burstiness():
    assert fed(500, 300, seed=1).burstiness() == pytest.approx(1.0, abs=0.3)
    assert fed(lambda s: 200 if int(s) % 2 else 800, 300).burstiness() > 50
    assert fed(lambda s: 100 + 3 * s, 300).burstiness() < 0.5, "a ramp is no burst"
    assert fed(0, 300).burstiness() == 1.0


# --- the day's shape --------------------------------------------------------------------------------------------------


def test_the_tide_of_days_before_is_expected_today():
    """Half an hour ahead, four tides a day; looks of a minute. On the fourth day it is much less wrong than on the
    first, which only had levels and trends."""
    forecast, said, wrong = Forecaster(), {}, {0: [], 3: []}

    def tide(second):
        return 1000 + 800 * np.sin(2 * np.pi * second / (DAY_S / 4))

    for minute in range(1, 4 * 1440):
        if minute in said and minute // 1440 in wrong:
            wrong[minute // 1440].append(abs(said[minute] - tide(minute * 60.0)))
        forecast.observe(minute * 60.0, round(60 * tide(minute * 60.0)), 60.0)
        said[minute + 30] = forecast.rate(1800.0, 0.5)
    assert np.mean(wrong[3]) < 0.3 * np.mean(wrong[0])


# --- what is kept -----------------------------------------------------------------------------------------------------


def kept_bytes(work):
    tracemalloc.start()
    try:
        made = work()
        gc.collect()
        return tracemalloc.get_traced_memory()[0], made
    finally:
        tracemalloc.stop()


def test_a_service_takes_48_kb_at_most():
    fed(300, 20, seed=1)
    size, forecast = kept_bytes(lambda: fed(300, 1000, seed=1))
    assert forecast.level
    assert size < 48 * 1024


def test_one_that_nobody_asks_takes_next_to_nothing():
    fed(0, 20)
    size, forecast = kept_bytes(lambda: fed(0, 1000))
    assert forecast.level == 0
    assert size < 4 * 1024


def test_a_horizon_that_nobody_asks_for_any_more_is_forgotten():
    def lead_that_changes():
        forecast = fed(300, 900, seed=1, ahead_s=8.0)
        for ahead_s in (15.0, 30.0, 60.0):
            fed(300, 300, seed=1, forecast=forecast, start=forecast_at(ahead_s), ahead_s=ahead_s)
        return forecast

    def forecast_at(ahead_s):
        return {15.0: 900.0, 30.0: 1200.0, 60.0: 1500.0}[ahead_s]

    several, _ = kept_bytes(lead_that_changes)
    one, _ = kept_bytes(lambda: fed(300, 1800, seed=1, ahead_s=60.0))
    assert several < 1.1 * one


def test_looks_that_come_late_make_no_horizon_of_their_own():
    forecast = fed(300, 300, seed=1, ahead_s=2.0)
    track = forecast._track(2.0)
    for late_s in (3.0, 8.0, 5.0):
        fed(300, 1, seed=2, forecast=forecast, start=300.0 + late_s, step_s=1.0, ahead_s=1.0 + late_s)
    assert forecast._track(2.0) is track
    assert len(forecast._tracks) == 1
    fed(300, 60, seed=3, forecast=forecast, start=310.0, ahead_s=30.0)
    assert forecast._track(30.0).steps == 30, "one that is asked for again and again does"


def test_looks_that_come_late_or_early_have_one_horizon():
    forecast, random = Forecaster(), np.random.default_rng(1)
    tracks, now = set(), 0.0
    for _ in range(600):
        over_s = random.uniform(0.85, 1.15)
        now += over_s
        forecast.observe(now, round(300 * over_s), over_s)
        forecast.rates(1.25 + over_s)
        tracks.add(id(forecast._track(1.25 + over_s)))
    assert len(tracks) == 1
