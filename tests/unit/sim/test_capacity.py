"""What one replica serves: the search, the formulas, and how far they are from what is simulated."""

from math import exp

import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import LogNormal, Profile
from plimsoll.insight.traffic import Trace
from plimsoll.sim import capacity
from plimsoll.sim.capacity import Curve, capacity_for, formula_rate, measured_rate, most_in_time
from plimsoll.sim.scenario import Service, Traffic

MODEL = Profile(a_s=0.004, c_s=0.0015, spread=0.2)


def service(profile=MODEL, p99_s=0.1, **more):
    return Service("one", Traffic(Trace()), profile, Bounds(1, 8, p99_s=p99_s), **more)


def test_the_rate_at_which_a_share_is_missed_is_found_on_few_loads():
    asked = []

    def missed(rate):
        asked.append(rate)
        return min(1.0, exp((rate - 500) / 20) / 100)

    for guess in (480, 100, 5000):
        asked.clear()
        curve = Curve(missed, guess)
        assert curve.rate(0.01) == pytest.approx(500, rel=0.002)
        assert len(asked) <= 14
        few = len(asked)
        assert curve.rate(0.01) == pytest.approx(500, rel=0.002)
        assert len(asked) == few, "what is known is not simulated again"
        assert curve.rate(0.001) < curve.rate(0.01) < curve.rate(0.1)


def test_a_curve_that_jumps_from_nothing():
    curve = Curve(lambda rate: 0.0 if rate < 300 else 0.5, 310)
    assert curve.rate(0.01) == pytest.approx(300, rel=0.021)
    assert curve.best() >= 0.5 * 300


def test_the_formula_bends_as_it_should():
    rates = [formula_rate(MODEL, p99) for p99 in (0.02, 0.05, 0.1, 0.3, 1.0)]
    assert rates == sorted(rates)
    assert rates[2] == pytest.approx(0.87 / 0.0015, rel=0.03), "known: about 580/s"
    assert rates[-1] < 1 / 0.0015
    assert formula_rate(MODEL, 0.1, late_share=0.001) < rates[2] < formula_rate(MODEL, 0.1, late_share=0.05)
    assert formula_rate(MODEL, 0.1, 8) < 8 / (0.004 + 8 * 0.0015)
    assert formula_rate(MODEL, None) == pytest.approx(640)
    assert formula_rate(MODEL, 0.1, one=True) < 1 / 0.0055
    slow = Profile(0, 0, lognormal=LogNormal(0.4225, 0.0793, 0.0686))
    assert 0.8 < formula_rate(slow, 0.72) * slow.lognormal.mean_s < 1
    assert 0 < formula_rate(MODEL, 0.001) < 20, "impossible, and never 0"


@pytest.mark.parametrize("more", [{}, {"max_batch_one": True}])
def test_measured_and_by_formula(monkeypatch, more):
    monkeypatch.setattr(capacity, "_REQUESTS", 15_000)
    one = service(**more)
    measured, formula = measured_rate(one), formula_rate(MODEL, 0.1, one=one.max_batch_one)
    print("seed 41", measured, formula)
    assert measured == pytest.approx(formula, rel=0.1)
    assert measured_rate(one, 0.001) < measured < most_in_time(one) * 1.03
    assert measured_rate(one, 0.5) == pytest.approx(2 * most_in_time(one))
    by_share = [capacity_for(one, share) for share in (0.001, 0.01, 0.2, 0.5, 1.0)]
    assert by_share[0] == measured_rate(one, 0.001)
    assert max(by_share) <= most_in_time(one) * 1.001, "never more than is in time"


def test_without_a_budget_nothing_is_late():
    with pytest.raises(ValueError, match="without a p99 budget"):
        measured_rate(service(p99_s=None))
