"""Members of the ensemble, the burst detector and a track, one by one."""

import numpy as np
import pytest

from plimsoll.insight.forecast.burst import BurstDetector
from plimsoll.insight.forecast.levels import Levels, Season
from plimsoll.insight.forecast.track import QUANTILES, Track

DAY_S = 86_400.0


# --- levels -----------------------------------------------------------------------------------------------------------


def test_every_level_finds_a_constant_and_a_line():
    levels = Levels()
    for _ in range(600):
        levels.observe(500.0, 1.0)
    assert levels.ahead(60.0) == pytest.approx(500.0)
    for second in range(600):
        levels.observe(500.0 + 10 * second, 1.0)
    whole = levels.ahead(60.0)[1::2]  # those that believe the whole slope
    assert whole == pytest.approx(500 + 10 * 659, rel=0.02)
    half = levels.ahead(60.0)[::2]
    assert (half < whole).all()
    assert (half > 500 + 10 * 550).all()


def test_no_trend_takes_a_forecast_below_a_fifth_of_the_level():
    levels = Levels()
    for second in range(100):
        levels.observe(1000.0 - 9.9 * second, 1.0)
    assert (levels.ahead(600.0) > 0).all()


def test_looks_of_other_lengths_weigh_as_much_as_they_last():
    short, long = Levels(), Levels()
    for rate in (100.0, 900.0, 400.0):
        for _ in range(40):
            short.observe(rate, 0.5)
        for _ in range(20):
            long.observe(rate, 1.0)
    assert short.ahead(8.0)[-2:] == pytest.approx(long.ahead(8.0)[-2:], rel=0.05)


# --- season -----------------------------------------------------------------------------------------------------------


def passed(season, rate, seconds, *, start=0.0, step_s=30.0):
    for step in range(round(seconds / step_s)):
        at = start + step * step_s
        season.observe(rate(at), step_s, at)


def daily(second):
    return 1000 + 800 * np.sin(2 * np.pi * second / DAY_S)


def test_silent_for_the_first_day():
    season = Season(0.0)
    passed(season, daily, DAY_S / 2)
    assert season.ahead(600.0, 1000.0) is None


def test_the_level_changes_as_it_did_the_day_before():
    season = Season(0.0)
    passed(season, daily, 2 * DAY_S + 8 * 3600)
    at = 2 * DAY_S + 8 * 3600
    assert season.ahead(3600.0, daily(at)) == pytest.approx(daily(at + 3600), rel=0.03)
    assert season.ahead(3600.0, 2 * daily(at)) == pytest.approx(2 * daily(at + 3600), rel=0.03), "of today's level"


def test_weekends_differ():
    season = Season(0.0)

    def week(second):
        return 300.0 if second // DAY_S % 7 in (2, 3) else 1000.0  # 1970 began on a Thursday

    passed(season, week, 28 * DAY_S + 2 * DAY_S - 3600, step_s=60.0)
    assert season.ahead(7200.0, 1000.0) == pytest.approx(300.0, rel=0.35)


def test_the_offset_turns_a_clock_into_a_time_of_day():
    here, there = Season(0.0), Season(1.7e9)
    passed(here, daily, 2 * DAY_S)
    passed(there, daily, 2 * DAY_S)
    assert there.ahead(600.0, 1000.0) == pytest.approx(here.ahead(600.0, 1000.0), rel=0.02)


@pytest.mark.parametrize("now", [-1e-20, 86_399.999_999_999_99, -1e12, 1e15, 1e300])
def test_any_time_has_a_minute(now):
    season = Season(0.0)
    season.observe(5.0, 1.0, now)
    season.observe(5.0, 1.0, now)
    assert season.ahead(60.0, 5.0) is None


# --- bursts -----------------------------------------------------------------------------------------------------------


def bursts(rates):
    detector = BurstDetector()
    found = []
    for rate in rates:
        detector.observe(float(rate), 1.0)
        found.append(detector.ahead(8.0) > 0)
    return found


@pytest.mark.parametrize("rate", [5, 100, 5000])
def test_poisson_noise_is_no_burst(rate):
    noise = np.random.default_rng(rate).poisson(rate, 3600)
    assert sum(bursts(noise)) <= 6, "once in nine hours, and then for some seconds"


def test_a_burst_is_found_on_a_quiet_and_on_a_loud_day():
    for quiet in (100, 5000):
        rates = [*np.random.default_rng(1).poisson(quiet, 600), *([4 * quiet] * 20)]
        found = bursts(rates)
        assert any(found[600:605])
        assert not any(found[612:])


def test_where_bursts_are_usual_they_are_none():
    rates = [1000 if second % 20 < 4 else 100 for second in range(1200)]
    assert sum(bursts(rates)[900:]) == 0


def test_a_falling_rate_is_no_burst():
    assert not any(bursts([1000] * 60 + [100] * 60))


def test_what_a_burst_leads_to_is_bounded():
    detector = BurstDetector()
    for rate in [10.0] * 60 + [1e9] * 4:
        detector.observe(rate, 1.0)
    assert 0 < detector.ahead(1e6) < 1e12


# --- a track ----------------------------------------------------------------------------------------------------------


def test_who_was_right_is_believed():
    """Two members: one always 100 too low, one right but for noise. A third says nothing."""
    track, random = Track(5, 3), np.random.default_rng(1)
    for _ in range(600):
        rate = 1000 + random.normal(0, 30)
        track.observe(rate, np.array([1000 + random.normal(0, 300), 1000.0, np.nan]))
    assert set(track.chosen) == {1}
    assert track.values[QUANTILES.index(0.9)] == pytest.approx(1000 + 1.28 * 30, abs=15)
    assert track.values[QUANTILES.index(0.5)] == pytest.approx(1000, abs=10)


def test_a_bias_is_corrected():
    track = Track(3, 1)
    for _ in range(100):
        track.observe(1000.0, np.array([900.0]))
    assert track.values == pytest.approx([1000.0] * len(QUANTILES))


def test_whoever_falls_silent_is_left_at_once():
    track = Track(2, 2)
    for _ in range(100):
        track.observe(1000.0, np.array([700.0, 1000.0]))
    track.observe(1000.0, np.array([700.0, np.nan]))
    assert np.isfinite(track.values).all()
