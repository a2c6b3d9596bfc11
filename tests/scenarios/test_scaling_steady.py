"""No oscillation: under steady Poisson load the budget scaler changes its direction once in five minutes at most.

The fluid model, for it is quick: each case is 20 minutes. Seeds are in the cases' names.
"""

from itertools import pairwise

import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.fluid import simulate_fluid
from plimsoll.sim.scenario import Scenario, Service, Traffic

SECONDS = 1200.0
CALM_S = 60.0  # the first seconds, in which the first replicas come


def steady(rate, seed, *, cold_s=8.0):
    profile = Profile(a_s=0.004, c_s=0.0015, spread=0.2, cold_s=cold_s)
    traffic = Traffic(Trace(rates=constant(rate, SECONDS)), seed)
    service = Service("one", traffic, profile, Bounds(1, 200, p99_s=0.1, timeout_s=0.2))
    return simulate_fluid(Scenario([service], seed=seed)).services[0]


def most_turns(acts):
    ways = [(act.at_s, act.after > act.before) for act in acts if act.at_s > CALM_S]
    turned = [at for (_, was), (at, now) in pairwise(ways) if was != now]
    return max((sum(first <= at < first + 300.0 for at in turned) for first in turned), default=0)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("rate", [3.0, 40.0, 400.0, 470.0, 545.0, 1000.0, 1085.0, 1640.0, 2500.0, 5300.0, 12_000.0])
def test_steady_load_is_left_alone(rate, seed):
    found = steady(rate, seed)
    assert most_turns(found.acts) <= 1, [f"{act.at_s:.0f} s: {act.reason}" for act in found.acts]
    assert sum(found.timeline.missed[60:]) <= 0.01 * found.offered


@pytest.mark.parametrize("cold_s", [0.5, 60.0])
@pytest.mark.parametrize("rate", [470.0, 2500.0])
def test_whatever_a_start_takes(rate, cold_s):
    found = steady(rate, 4, cold_s=cold_s)
    assert most_turns(found.acts) <= 1, [f"{act.at_s:.0f} s: {act.reason}" for act in found.acts]


def test_more_load_never_ends_with_fewer_replicas():
    found = [steady(rate, 5).timeline.wanted[-1] for rate in (10.0, 100.0, 400.0, 700.0, 1300.0, 2500.0, 5000.0)]
    assert found == sorted(found)
