"""What the user allows: fewest and most, a budget that can't be kept, to zero and back, costs, kinds, slow starts."""

from dataclasses import replace

import pytest
from tests.unit.policy.scaling.budget.test_timelines import fewest
from tests.unit.policy.scaling.budget.timeline import MODEL, ONE, Timeline, bounds

from plimsoll.core.scaling import LeadTime, ReplicaKind
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.scaling.budget.scaler import useful_after_s


def settled(limits, rate=2500, **more):
    world = Timeline(limits, start=max(limits.least, 1), **more)
    world.run(300, rate)
    return world


# --- fewest and most --------------------------------------------------------------------------------------------------


def test_most_lower_than_needed_says_what_is_missed():
    world = settled(bounds(1, 3), 4000)
    assert world.wanted == 3
    needed, share = world.decision.reason.split("; ")[-1].split(" are needed, at 3 ")
    assert int(needed) >= fewest(4000)
    assert float(share.split("%")[0]) / 100 == pytest.approx(1 - 3 * ONE / 4000, abs=0.05)
    assert share.endswith("would be late or refused")
    assert world.decision.evidence["needed"] == int(needed)


def test_no_fewer_than_the_least():
    assert set(settled(bounds(5, 50), 10).run(60, 0)) == {5}


def test_a_count_that_was_set_by_hand_is_where_it_goes_on_from():
    world = settled(bounds(1, 8), 1000)
    world.wanted = 30
    assert world.run(1, 1000)[0] <= 8


# --- a budget that can't be kept --------------------------------------------------------------------------------------


def test_an_impossible_budget_is_told_at_once():
    world = Timeline(bounds(1, 8), start=2, service_time=ServiceTime(0.12, 0.03, 0.0, 100))
    assert world.run(1, 50) == [2]
    assert world.decision.reason == (
        "one request alone takes 150 ms, the p99 budget is 100 ms: no count of replicas keeps it"
    )


def test_an_impossible_budget_sleeps_and_wakes_as_others_do():
    slow = ServiceTime(0.12, 0.03, 0.0, 100)
    world = Timeline(bounds(0, 8, zero_after_s=30.0), start=1, service_time=slow)
    assert world.run(10, 50)[-1] == 1
    assert world.run(40, 0)[-1] == 0
    assert world.run(1, 5) == [1]


def test_no_latency_budget_at_all():
    world = Timeline(replace(bounds(), p99_s=None), start=1)
    counts = world.run(300, 3000)
    assert 3000 * (MODEL.a_s / 256 + MODEL.c_s) <= counts[-1] <= fewest(3000)


# --- to zero and back -------------------------------------------------------------------------------------------------


def test_to_zero_and_back():
    world = settled(bounds(0, 8, zero_after_s=60.0), 50)
    counts = world.run(59, 0)
    assert set(counts) == {1}
    assert world.run(2, 0)[-1] == 0
    assert "→ 0: no request for 60 s" in world.decisions[-2].reason + world.decisions[-1].reason
    assert set(world.run(300, 0)) == {0}
    assert world.run(1, 1) == [1], "the first request"
    assert world.decision.reason.startswith("0 → 1")
    assert world.run(59, 0)[-1] == 1


@pytest.mark.parametrize("sign", [{"waiting": 1}, {"in_flight": 1}])
def test_whoever_waits_wakes_it_and_keeps_it_up(sign):
    world = Timeline(bounds(0, 8, zero_after_s=10.0), start=0)
    assert set(world.run(30, 0)) == {0}
    world.more = sign
    assert set(world.run(30, 0)) == {1}
    world.more = {}
    assert world.run(11, 0)[-1] == 0


def test_back_from_zero_into_a_crowd():
    world = Timeline(bounds(0, 20, zero_after_s=10.0), start=0)
    world.run(60, 0)
    counts = world.run(30, 3000)
    assert counts[0] >= 1
    assert counts[5] >= fewest(3000)


# --- costs ------------------------------------------------------------------------------------------------------------


def costs(**more):
    return bounds(1, 50, price_per_hour=0.5, **more)


def test_under_cap_replicas_the_cost_wins():
    world = settled(costs(cost_per_hour=2.0, cap_at_cost=True), 4000)
    assert world.wanted == 4
    assert "the cost budget pays for 4" in world.decision.reason
    assert "would be late or refused" in world.decision.reason


def test_under_warn_latency_wins():
    world = settled(costs(cost_per_hour=2.0), 4000)
    assert world.wanted >= fewest(4000)
    assert "over the cost budget, which pays for 4" in world.decision.reason
    assert "cost" not in settled(costs(cost_per_hour=9.0), 4000).decision.reason


def test_the_cost_of_a_million_requests():
    generous = 2 * 0.5 / (ONE * 3600 / 1e6)  # twice what a replica costs that is never idle
    for cap in (True, False):
        limits = costs(cost_per_million=generous, cap_at_cost=cap)
        assert settled(limits, 4000).wanted >= fewest(4000), "a load that pays for itself"
    mean = costs(cost_per_million=generous / 4, cap_at_cost=True)
    world = settled(mean, 4000)
    assert world.wanted == pytest.approx(4000 / ONE / 2, abs=1)
    assert "the cost budget pays for" in world.decision.reason


def test_a_cap_leaves_the_least_and_one_at_least():
    assert settled(replace(costs(cost_per_hour=0.1, cap_at_cost=True), least=3), 4000).wanted == 3
    assert settled(costs(cost_per_hour=0.1, cap_at_cost=True), 4000).wanted == 1


def test_without_a_price_costs_bound_nothing():
    limits = replace(costs(cost_per_hour=0.1, cost_per_million=0.0, cap_at_cost=True), price_per_hour=0.0)
    assert settled(limits, 4000).wanted >= fewest(4000)


# --- kinds ------------------------------------------------------------------------------------------------------------


def test_kinds_make_up_the_count():
    kinds = (ReplicaKind("small", 1.0, 0.5), ReplicaKind("large", 3.0, 2.0, most=2), ReplicaKind("plain", 1.7))
    world = Timeline(bounds(1, 40), start=4, kinds=kinds)
    world.run(300, 4000)
    decision = world.decision
    speed = sum(kind.speed * decision.by_kind.get(kind.name, 0) for kind in kinds)
    assert speed >= fewest(4000)
    assert decision.by_kind["large"] == 2
    assert sum(decision.by_kind.values()) == decision.replicas
    assert len(set(world.run(120, 4000))) == 1


def test_the_most_holds_for_all_kinds_together():
    world = Timeline(bounds(1, 5), start=4, kinds=(ReplicaKind("slow", 0.1, 0.5), ReplicaKind("quick", 9.0, 2.0)))
    world.run(300, 4000)
    assert world.decision.replicas <= 5
    assert world.decision.by_kind.get("quick", 0) >= 3, "the slow ones alone would be too many"


# --- starts and nodes -------------------------------------------------------------------------------------------------


def test_a_lead_that_changes_is_learned_anew():
    """With starts that take longer one looks farther ahead."""
    world = settled(bounds(), 2000)
    assert world.decision.evidence["ahead_s"] == 8
    world.lead = LeadTime(40.0, 45.0)
    world.run(1, 2000)
    assert world.decision.evidence["ahead_s"] == 45
    world.lead = LeadTime(42.0, 47.0)
    counts = world.run(120, 2000)
    assert world.decision.evidence["ahead_s"] == 45, "a little more changes nothing"
    assert fewest(2000) <= min(counts[5:])
    assert max(counts) <= 2 * fewest(2000), "headroom for a slow start, and no panic"


def test_a_slow_start_looks_further_ahead_on_a_ramp():
    def reached(cold_s):
        world = Timeline(start=2, cold_s=cold_s)
        world.run(300, 1000)
        return world.run(120, lambda s: 1000 + 10 * s)[-1]

    assert reached(60.0) > reached(8.0)


@pytest.mark.parametrize(
    ("slots", "wanted", "seconds"), [(None, 8, 10.0), (0, 8, 200.0), (2, 8, 10.0), (1, 8, 105.0), (-3, 8, 200.0)]
)
def test_a_node_counts_where_there_is_no_room(slots, wanted, seconds):
    world = Timeline(start=wanted)
    world.lead = LeadTime(8.0, 10.0, 150.0, 190.0)
    look = world.look(1000, spare_slots=slots)
    assert useful_after_s(look) == pytest.approx(seconds)


@pytest.mark.parametrize("start_s", [0.0, 0.01, 1e5, 1e11])
def test_any_start_time(start_s):
    world = Timeline(start=1, cold_s=start_s)
    counts = world.run(100, 2000)
    assert counts[-1] >= fewest(2000)
    assert counts[-1] <= 2 * fewest(2000)
