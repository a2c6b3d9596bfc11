"""What a request spends beside its batch: constant, as the network says, or as a profile measured it."""

from dataclasses import replace
from statistics import NormalDist

import numpy as np
import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile, read_profile
from plimsoll.insight.traffic import Trace
from plimsoll.insight.traffic.rates import constant
from plimsoll.sim.draws import beside
from plimsoll.sim.scenario import Scenario, Service, Traffic
from plimsoll.sim.world import simulate

Z90 = NormalDist().inv_cdf(0.9)
PROFILE = Profile(a_s=0.004, c_s=0.001, spread=0.0, overhead_s=0.002)


def seed_of(number):
    return np.random.Generator(np.random.PCG64(number))


def simulated(profile, rate=2.0, seconds=1000.0):
    traffic = Traffic(Trace(rates=constant(rate, seconds)))
    one = Service("one", traffic, profile, Bounds(1, 1, p99_s=0.1, timeout_s=0.2), policy="fixed:1")
    return simulate(Scenario([one])).services[0]


def test_constant_where_no_percentile_is_known():
    assert beside(PROFILE, 0.0002, seed_of(1))(5) == pytest.approx(0.0024)
    assert beside(replace(PROFILE, gateway_s=0.003), 0.0002, seed_of(1))(5) == pytest.approx(0.005)
    assert beside(replace(PROFILE, gateway_s=0.003, beside_p90_s=0.004), 0.0, seed_of(1))(5) == pytest.approx(0.005)


def test_drawn_through_the_median_and_the_90th_percentile():
    drawn = beside(replace(PROFILE, gateway_s=0.003, beside_p90_s=0.008), 0.0002, seed_of(7))(100_000)
    assert np.quantile(drawn, [0.5, 0.9]) == pytest.approx([0.005, 0.008], rel=0.02)


def test_beyond_it_drawn_through_the_99th():
    profile = replace(PROFILE, gateway_s=0.003, beside_p90_s=0.008, beside_p99_s=0.05)
    drawn = beside(profile, 0.0002, seed_of(7))(100_000)
    assert np.quantile(drawn, [0.5, 0.9, 0.99]) == pytest.approx([0.005, 0.008, 0.05], rel=0.05)


def test_an_idle_service_shows_it_whole():
    found = simulated(replace(PROFILE, gateway_s=0.003, beside_p90_s=0.02))
    assert found.p50_s == pytest.approx(0.010, rel=0.03)  # 5 ms its batch of one, 5 ms beside it
    alone = simulated(replace(PROFILE, gateway_s=0.003))
    assert alone.p95_s == pytest.approx(0.010, rel=0.03)
    assert found.p95_s > 1.5 * alone.p95_s


def test_what_is_drawn_makes_requests_late():
    found = simulated(replace(PROFILE, gateway_s=0.003, beside_p90_s=0.06), seconds=3000.0)
    share = found.late / found.offered
    beyond = np.log(0.095 / 0.005) / (np.log(0.06 / 0.005) / Z90)  # 95 ms are left to it: so many deviations
    assert share == pytest.approx(1 - NormalDist().cdf(beyond), rel=0.15)


def test_a_batch_after_a_rest_takes_longer():
    rested, plain = (simulated(replace(PROFILE, wake_s=wake_s)) for wake_s in (0.003, 0.0))
    assert rested.p50_s == pytest.approx(plain.p50_s + 0.003, rel=0.03)
    # Without a rest it makes no difference: at 95% of the capacity of single requests hardly a batch begins after one.
    one = replace(PROFILE, max_batch=1)
    busy, as_busy = (simulated(replace(one, wake_s=wake_s), rate=190.0, seconds=300.0) for wake_s in (0.003, 0.0))
    assert busy.p50_s < as_busy.p50_s + 0.003
    assert busy.offered - busy.refused == pytest.approx(as_busy.offered - as_busy.refused, rel=0.03)


def test_a_profile_keeps_it():
    profile = replace(PROFILE, gateway_s=0.003, beside_p90_s=0.02)
    assert read_profile(profile.to_json(), "p.json") == profile
