"""Candidates live through the past: who would have missed less for less is followed."""

import gc
import tracemalloc

import numpy as np
import pytest

from plimsoll.policy.scaling.budget import Tail
from plimsoll.policy.scaling.budget.backtest import PAST_QUANTILES, Backtest, _past_quantiles

TAIL = Tail(per_replica=100.0, wait_s=0.05, own_s=0.02)
QUANTILES = (0.5, 0.9, 0.99)


def made(lead_steps=5, price=20.0, more=(0.0,)):
    return Backtest(QUANTILES, more, lead_steps, price)


def of(backtest, quantile, keep_s=5.0):
    """The candidate that follows this quantile of the forecast, as far as it goes."""
    found = [
        index
        for index, one in enumerate(backtest.candidates)
        if (one.quantile, one.keep_s, one.more) == (quantile, keep_s, 0.0) and not getattr(one, "past", False)
    ]
    assert len(found) == 1
    return found[0]


def wants(backtest, rates):
    backtest.look(100.0, np.array(rates, dtype=float), TAIL)
    return [int(backtest.wants[of(backtest, quantile)]) for quantile in QUANTILES]


def test_each_wants_what_its_quantile_needs():
    assert wants(made(), [100, 250, 1000]) == [max(1, int(np.ceil(TAIL.needed(rate)))) for rate in (100, 250, 1000)]


def test_a_count_is_kept_for_as_long_as_the_candidate_says():
    backtest = made()
    wants(backtest, [1000, 1000, 1000])
    high = backtest.wants.copy()
    for second in range(1, 40):
        wants(backtest, [100, 100, 100])
        for keep_s in (5.0, 15.0, 30.0):
            index = of(backtest, 0.5, keep_s)
            assert (backtest.wants[index] == high[index]) == (second <= keep_s), (second, keep_s)


def test_who_misses_a_burst_pays_for_it():
    """Each half minute a burst comes that only the highest quantile foresaw."""

    def followed(price):
        backtest = made(price=price)
        for second in range(1800):
            backtest.look(1000.0 if second % 30 < 3 else 100.0, np.array([100.0, 100.0, 1000.0]), TAIL)
        best = backtest.best(TAIL)
        return float(backtest.wants[best]), backtest.missed_share(best)

    cheap, dear = followed(0.1), followed(1000.0)
    assert cheap[0] < dear[0]
    assert cheap[1] > 0.2
    assert dear[1] < 0.01


def test_of_the_same_misses_the_cheaper_is_followed():
    backtest = made()
    for _ in range(1800):
        backtest.look(100.0, np.array([100.0, 300.0, 1000.0]), TAIL)
    assert backtest.wants[backtest.best(TAIL)] == np.ceil(TAIL.needed(100.0))
    assert backtest.missed_share(backtest.best(TAIL)) < 0.01


def test_what_is_wanted_helps_a_lead_later():
    """Traffic rises at once: whoever foresaw it misses nothing, whoever saw it come five looks' worth."""
    quick, slow = made(lead_steps=5), made(lead_steps=5)
    for second in range(60):
        rate = 100.0 if second < 30 else 1000.0
        ahead = 100.0 if second < 24 else 1000.0
        quick.look(rate, np.full(3, ahead), TAIL)
        slow.look(rate, np.full(3, rate), TAIL)
    at = of(quick, 0.99)
    assert quick.missed_share(at) < slow.missed_share(at)
    assert slow.missed_share(at) > 0.05


@pytest.mark.parametrize("rate", [0.0, 1e-9, 1e12])
def test_any_rate(rate):
    backtest = made()
    for _ in range(100):
        backtest.look(rate, np.full(3, rate), TAIL)
    best = backtest.best(TAIL)
    assert 0 <= best < len(backtest.candidates)
    assert 0.0 <= backtest.missed_share(best) <= 1.0
    assert str(backtest.candidates[best])


@pytest.mark.parametrize(("busy", "most_kb"), [(False, 6), (True, 14)])
def test_what_it_takes(busy, most_kb):
    def lived():
        backtest = made(lead_steps=16, more=(0.0, 0.1))
        for second in range(400):
            backtest.look(100.0 + second % 7 if busy else 0.0, np.full(3, 200.0 if busy else 0.0), TAIL)
        return backtest

    lived()
    tracemalloc.start()
    try:
        backtest = lived()
        gc.collect()
        assert tracemalloc.get_traced_memory()[0] < most_kb * 1024
        assert backtest.wants.any()
    finally:
        tracemalloc.stop()


@pytest.mark.parametrize("count", [1, 2, 3, 7, 300, 3600])
def test_quantiles_of_the_past_are_what_quantiles_are(count):
    rates = np.random.default_rng(count).lognormal(5.0, 1.0, count).astype(np.float32)
    assert _past_quantiles(rates) == pytest.approx(np.quantile(rates.astype(np.float64), PAST_QUANTILES))
