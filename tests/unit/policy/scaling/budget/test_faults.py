"""When things go wrong: metrics stop, clocks jump, replicas die or never get ready, models are slower than learned."""

from dataclasses import replace
from math import inf, nan

import pytest
from tests.unit.policy.scaling.budget.test_timelines import fewest
from tests.unit.policy.scaling.budget.timeline import READY, Timeline, bounds

from plimsoll.core.scaling import LeadTime
from plimsoll.core.service_time import ServiceTime


def settled(rate=2500, limits=None, **more):
    world = Timeline(limits, start=fewest(rate), **more)
    world.run(300, rate)
    return world


# --- metrics ----------------------------------------------------------------------------------------------------------


def test_without_metrics_it_holds_and_says_so():
    world = settled()
    before = world.wanted
    assert set(world.run(120, 2500, metrics=False)) == {before}
    assert world.decision.reason == "no metrics arrive: the count stays as it is"
    assert world.decision.evidence == {"held": True}
    assert set(world.run(120, 2500)) == {before}, "and goes on from what it knew"


def test_metrics_that_are_late_are_no_idle_time():
    world = Timeline(bounds(0, 8, zero_after_s=60.0), start=1)
    world.run(30, 50)
    world.run(300, 50, metrics=False)
    assert world.run(50, 0)[-1] == 1
    assert world.run(20, 0)[-1] == 0


@pytest.mark.parametrize(
    ("wrong", "told"),
    [
        ({"now": nan}, "the clock: nan"),
        ({"now": inf}, "the clock: 1e+15"),
        ({"over_s": nan}, "seconds since the last look: nan"),
        ({"over_s": 0.0}, "seconds since the last look: 0"),
        ({"over_s": -1.0}, "seconds since the last look: -1"),
        ({"arrived": -5}, "requests that arrived: -5"),
        ({"arrived": 10**400}, "requests that arrived: 1e+15"),
        ({"late": -1}, "late requests: -1"),
        ({"service_time": ServiceTime(nan, 0.001, 0.0, 9)}, "the model's seconds a batch: nan"),
        ({"service_time": ServiceTime(0.0, 0.0, 0.0, 9)}, "the model's seconds for one: 0"),
        ({"service_time": ServiceTime(0.004, -0.001, 0.0, 9)}, "the model's seconds an item: -0.001"),
        ({"lead": LeadTime(nan, 8.0)}, "seconds to start: nan"),
        ({"lead": LeadTime(8.0, 8.0, inf, 0.0)}, "seconds for a node: 1e+15"),
    ],
)
def test_a_look_that_makes_no_sense_changes_nothing(wrong, told):
    world, same = settled(), settled()
    before = world.wanted
    world.show(replace(world.look(2500), **wrong))
    assert world.wanted == before
    assert world.decision.reason == f"the metrics make no sense ({told}): the count stays as it is"
    assert world.run(60, 2500) == same.run(60, 2500), "nor does it spoil what was learned"


# --- the clock --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("jump_s", [-1e6, -3600.0, -5.0, 60.0, 3600.0, 1e7])
def test_a_clock_that_jumps(jump_s):
    world = settled()
    before = world.wanted
    world.now += jump_s
    counts = world.run(300, 2500)
    assert fewest(2500) <= min(counts), "nobody is starved"
    assert max(counts) <= before + 1, "and nothing is bought for it"
    assert counts[-1] == before


@pytest.mark.parametrize("jump_s", [-3600.0, 3600.0])
def test_a_clock_that_jumps_is_no_idle_time(jump_s):
    world = Timeline(bounds(0, 8, zero_after_s=60.0), start=1)
    world.run(30, 50)
    world.now += jump_s
    assert set(world.run(59, 0)) == {1}
    assert world.run(5, 0)[-1] == 0


def test_a_clock_that_stands_still():
    world = settled()
    before = world.wanted
    for _ in range(30):
        world.show(world.look(2500))
    assert world.wanted == before


# --- replicas ---------------------------------------------------------------------------------------------------------


def test_half_the_replicas_die_at_once():
    world = settled(6000)
    before = world.wanted
    world.kill(before // 2)
    counts = world.run(8, 6000)
    assert set(counts) == {before}, "those that are lost are started again: as many as before are wanted"
    counts = world.run(300, 6000)
    assert world.count(READY) == counts[-1]
    assert max(counts) <= before + 1, "the loss is not taken for a lack of capacity"
    assert counts[-1] == before
    assert world.decision.evidence["efficiency"] == 1.0


def test_replicas_that_never_get_ready():
    world = settled(1000)
    before = world.wanted
    world.starts_fail = True
    world.run(60, 4000)
    asked = world.wanted
    assert world.count(READY) == before, "those that serve go on"
    assert max(world.run(120, 9000)) <= asked, "after three failures no more are added"
    assert "starts in a row failed: no more are added" in world.decision.reason
    assert f"{fewest(9000)} are needed" in world.decision.reason
    world.starts_fail = False
    assert world.run(120, 9000)[-1] >= fewest(9000)
    assert "failed" not in world.decision.reason


def test_starts_that_fail_do_not_keep_a_service_from_shrinking():
    world = settled(4000)
    world.lead = replace(world.lead, failed=9)
    assert world.run(300, 500)[-1] == 1


def test_starts_that_fail_do_not_keep_it_at_zero():
    world = Timeline(bounds(0, 8), start=0)
    world.starts_fail, world.lead = True, replace(world.lead, failed=9)
    assert world.run(1, 5) == [1], "one tries on, with the backend's back-off"
    assert set(world.run(60, 3000)) == {1}


# --- what a replica does ----------------------------------------------------------------------------------------------


def test_misses_at_a_load_that_should_fit_ask_for_more_replicas():
    world = settled(2500)
    before = world.wanted
    world.serves = 0.7  # a neighbour on the machine
    counts = world.run(120, 2500)
    assert counts[-1] >= fewest(2500 / 0.7) - 1 > before
    world.missed = world.offered = 0
    world.run(60, 2500)
    assert world.missed < 0.05 * world.offered
    assert world.decision.evidence["efficiency"] < 0.9
    world.serves = 1.0
    assert world.run(900, 2500)[-1] <= before + 1, "and comes back"


def test_a_few_late_ones_teach_nothing():
    world = settled(2500)
    before = world.wanted
    world.more = {"late": 10}
    assert set(world.run(120, 2500)) == {before}


def test_before_anything_is_learned_one_replica_finds_out():
    world = Timeline(bounds(0, 8), start=0, service_time=ServiceTime(0.01, 0.001))
    assert world.run(3, 0) == [0, 0, 0]
    assert world.run(5, 5000) == [1] * 5
    assert "nothing is known of the model's time yet" in world.decision.reason
