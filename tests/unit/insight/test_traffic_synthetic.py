"""Made-up traffic: its features are there, its mean is exact, and what is wrong with a text is told."""

from dataclasses import fields

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.insight.traffic import TraceError
from plimsoll.insight.traffic.synthetic import _KEYS, Synthetic, parse_synthetic, synthetic


def sampled(text, step_s=60.0):
    rates = parse_synthetic(text).rates
    return np.array([rates.rate_at(at) for at in np.arange(step_s / 2, rates.duration_s, step_s)])


def test_a_day_swings_and_has_its_mean():
    rates = sampled("synthetic:mean=200,swing=0.6")
    assert rates.mean() == pytest.approx(200, rel=1e-3)
    assert (rates.min(), rates.max()) == pytest.approx((80, 320), rel=0.01)
    assert rates.argmax() / 1440 == pytest.approx(0.6, abs=0.01)
    assert parse_synthetic("synthetic").rates.duration_s == 86_400


def test_the_trend_is_between_the_ends():
    rates = sampled("synthetic:mean=100,days=4,swing=0,trend=0.5")
    assert rates[-1] - rates[0] == pytest.approx(50, rel=0.01)
    assert rates.mean() == pytest.approx(100, rel=1e-3)


def test_bursts_and_flash_crowds_rise_above_the_rest():
    calm = sampled("synthetic:mean=100,swing=0", 10)
    bursts = sampled("synthetic:mean=100,swing=0,bursts=20,burst-size=3,burst-for=5m,seed=3", 10)
    flash = sampled("synthetic:mean=100,swing=0,flash=1,flash-size=10,flash-for=20m,seed=3", 10)
    assert calm.max() == pytest.approx(calm.min())
    quiet = np.median(bursts)
    assert bursts.max() > 2 * quiet
    share = (bursts > 1.01 * quiet).mean()
    assert 20 * 300 / 86_400 / 4 < share < 20 * 300 / 86_400 * 3
    peak = int(flash.argmax())
    assert flash[peak] == pytest.approx(10 * np.median(flash), rel=0.05)
    assert flash[peak - 14] < flash[peak] / 3, "up within two minutes"
    assert flash[peak + 30] > flash[peak] / 5, "and slowly down"
    assert flash.mean() == pytest.approx(100, rel=0.01)


def test_the_same_seed_gives_the_same_and_another_another():
    text = "synthetic:mean=50,days=0.1,bursts=40,noise=0.2,flash=1,seed="
    assert sampled(text + "7").tolist() == sampled(text + "7").tolist()
    assert sampled(text + "7").tolist() != sampled(text + "8").tolist()


def test_every_feature_has_a_key():
    assert {field for field, _ in _KEYS.values()} == {field.name for field in fields(Synthetic)}


def test_short_days_and_gaps_of_their_own():
    trace = parse_synthetic("synthetic: mean=20, day=10m, days=2, cv=3")
    assert trace.duration_s == 1200
    assert {segment.cv for segment in trace.rates.segments} == {3.0}
    assert trace.start is None


@settings(max_examples=50, deadline=None)
@given(
    st.floats(0.001, 10), st.floats(0, 1), st.floats(-2, 2), st.floats(0, 100), st.integers(0, 5), st.floats(0, 3),
    st.integers(0, 2**63 - 1),
)  # fmt: skip
def test_any_features_give_rates_of_that_mean(days, swing, trend, bursts, flash, noise, seed):
    spec = Synthetic(days=days, swing=swing, trend=trend, bursts=bursts, flash=flash, noise=noise, seed=seed)
    rates = synthetic(spec)
    assert rates.requests == pytest.approx(100 * spec.seconds, rel=1e-6)
    assert len(rates.segments) <= 20_000


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("synthetic:men=5", "unknown key 'men'; did you mean mean? There are mean, days"),
        ("synthetic:mean", "mean wants a value: mean=…"),
        ("synthetic:mean=lots", "mean=lots: is no number"),
        ("synthetic:mean=nan", "mean=nan: is no number"),
        ("synthetic:mean=0", "mean=0: expected 0.001 to 1e+09"),
        ("synthetic:swing=2", "swing=2: expected 0 to 1"),
        ("synthetic:mean=1,mean=2", "mean is said twice"),
        ("synthetic:flash=1.5", "flash=1.5: expected a whole number, 0 to 1000"),
        ("synthetic:day=5", "day=5: '5' is no duration"),
        ("synthetic:day=5ms", "day=5ms: expected a second or more"),
        ("synthetic:seed=-1", "seed=-1: expected a whole number"),
        ("made-up:mean=1", "begins with synthetic:"),
    ],
)
def test_what_is_wrong_is_told(text, told):
    with pytest.raises(TraceError) as error:
        parse_synthetic(text)
    assert told in str(error.value)
