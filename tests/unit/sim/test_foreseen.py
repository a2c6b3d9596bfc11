"""What is known before anything is simulated: budgets that nothing keeps, and why."""

import numpy as np
import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import LogNormal, Profile
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.foreseen import Demand, foreseen, idle_latency_s, surge_share, surges
from plimsoll.sim.report import Goals, Money
from plimsoll.sim.scenario import Service, Traffic
from plimsoll.sim.when import Times

PROFILE = Profile(0.004, 0.0015, cold_s=8.0)
FREE = Money()


def service(*, least=1, most=20, profile=PROFILE, p99_s=0.1, start=1, zero_after_s=600.0):
    bounds = Bounds(least=least, most=most, p99_s=p99_s, zero_after_s=zero_after_s)
    return Service("mood", Traffic(Trace(rates=constant(1, 1))), profile, bounds, start_replicas=start)


def demand(counts, *, rate=500.0, lead_s=8.0, step_s=1.0):
    return Demand(np.asarray(counts, dtype=np.int64), step_s, rate, lead_s, Times(seconds=len(counts) * step_s))


def kinds(found):
    return [one.kind for one in found]


STEADY = [400] * 600


def test_a_load_that_fits_needs_no_words():
    assert foreseen(service(), Goals(p99_s=0.1), demand(STEADY), FREE) == []


@pytest.mark.parametrize(
    ("goals", "quantile", "takes_ms"),
    [
        (Goals(p99_s=0.005), "p99", 5.5 * (1 + 2.326 * 0.2) + 0.4),
        (Goals(p99_s=0.1, p95_s=0.006), "p95", 5.5 * (1 + 1.645 * 0.2) + 0.4),
        (Goals(p99_s=0.1, p50_s=0.004), "p50", 5.9),
    ],
)
def test_a_budget_below_an_idle_replicas_own_time_is_impossible_and_nothing_else_matters(goals, quantile, takes_ms):
    (only,) = foreseen(service(most=1, p99_s=goals.p99_s), goals, demand([9_000] * 60), FREE)
    assert only.kind == "impossible"
    assert only.evidence["quantile"] == quantile
    assert only.evidence["idle_ms"] == pytest.approx(takes_ms)
    assert "no number of replicas keeps it" in only.text


def test_a_lognormal_single_request_has_its_own_quantiles():
    profile = Profile(0.0, 0.154, lognormal=LogNormal(0.4225, 0.0793, 0.0686), max_batch=1)
    assert idle_latency_s(profile, 0.0, "p50") == pytest.approx(0.1479)
    assert idle_latency_s(profile, 0.0, "p99") == pytest.approx(0.0793 + 0.0686 * np.exp(0.4225 * 2.326))


def test_a_maximum_that_is_too_low_says_what_is_missed_when_and_what_would_do():
    counts = [400] * 500 + [2_000] * 100
    (only,) = foreseen(service(most=2), Goals(p99_s=0.1), demand(counts), FREE)
    assert only.kind == "short"
    # 2 answer 1,000/s: of 400,000 requests 100,000 are beyond them.
    assert only.evidence == {"max_replicas": 2, "lost_share": pytest.approx(0.25), "enough": 4}
    assert "maxReplicas 2 is too low" in only.text
    assert "25% of the requests" in only.text
    assert "2,000/s at 8m20s in" in only.text


def test_the_fewest_replicas_keep_what_is_allowed_and_one_less_does_not():
    load = demand([400] * 500 + [2_000] * 100)
    fewest = load.fewest(0.01)
    assert load.lost_share(fewest) <= 0.01 < load.lost_share(fewest - 1)
    assert demand([0, 0, 1]).fewest(0.01) == 1


def test_a_rise_within_a_cold_start_is_told_with_the_minimum_that_carries_it():
    counts = [100] * 300 + [3_000] * 8 + [100] * 300
    (only,) = surges(service(), demand(counts), Money("USD", 0.04))
    assert only.kind == "ramp"
    assert "from 100 to 3,000/s" in only.text
    assert only.evidence["standing"] == 6
    assert surge_share(demand(counts), 6)[0] <= 0.01 < surge_share(demand(counts), 5)[0]


def test_a_rise_slower_than_the_cold_start_can_be_followed():
    counts = np.linspace(100, 3_000, 900)
    share, _ = surge_share(demand(counts), 1)
    assert share < 0.01
    slow, _ = surge_share(demand(counts, lead_s=240.0), 1)
    assert slow < 0.03  # a line leads there, however long a node takes
    bent, _ = surge_share(demand(np.exp(np.linspace(4.6, 8, 900)), lead_s=240.0), 1)
    assert bent > 0.05  # a rise that steepens does not


def test_from_zero_each_wake_up_waits_for_a_start():
    counts = [0] * 10 + [5] * 20 + [0] * 700 + [5] * 20
    (only,) = foreseen(service(least=0, start=0), Goals(p99_s=0.1), demand(counts), FREE)
    assert only.kind == "zero"
    assert only.evidence == {"wakes": 2, "held": 80}
    assert "minReplicas 1 answers them in time" in only.text
    (lone,) = foreseen(service(least=0, start=0), Goals(p99_s=0.1), demand([0] * 20 + [1]), FREE)
    assert "wakes up once; 1 request waits (100% of all) for a start" in lone.text
    assert foreseen(service(least=0, start=0), Goals(p99_s=0.1), demand(counts, lead_s=0.05), FREE) == []


def test_a_cost_below_that_of_a_full_replica_is_impossible():
    goals = Goals(p99_s=0.1, cost_per_million=0.02)
    (only,) = foreseen(service(), goals, demand(STEADY), Money("USD", 0.04))
    assert only.kind == "impossible"
    # 0.04 an hour for 1.8 million requests
    assert only.evidence["per_million"] == pytest.approx(0.04 / 1.8)
    assert foreseen(service(), Goals(p99_s=0.1, cost_per_million=0.03), demand(STEADY), Money("USD", 0.04)) == []
    assert foreseen(service(), goals, demand(STEADY), FREE) == []  # nothing has a price


def test_bounds_that_leave_nothing_to_decide_are_told():
    assert kinds(foreseen(service(least=3, most=3), Goals(p99_s=0.1), demand(STEADY), FREE)) == ["alike"]


def test_without_a_latency_budget_nothing_is_late():
    assert foreseen(service(most=1, p99_s=None), Goals(), demand([9_000] * 60), FREE) == []


@pytest.mark.parametrize("counts", [[0], [0] * 60, [10**9] + [1] * 60])
def test_odd_traffic_is_no_trouble(counts):
    foreseen(service(least=0), Goals(p99_s=0.1), demand(counts), FREE)
