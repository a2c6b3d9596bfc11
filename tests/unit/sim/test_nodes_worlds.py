"""Nodes below both worlds, request by request and as a fluid: replicas wait for them, die with them, are paid so."""

from dataclasses import replace

import pytest
from tests.unit.sim.scenes import PROFILE, service, steps

from plimsoll.core.scaling import Bounds, Decision, ReplicaState
from plimsoll.sim.fluid import _World as FluidWorld
from plimsoll.sim.fluid import simulate_fluid
from plimsoll.sim.scenario import NodeClass, Scenario
from plimsoll.sim.world import World, simulate

BOTH = pytest.mark.parametrize("run", [simulate, simulate_fluid])
PAIR = NodeClass("pair", {"cpu": 2.0}, price_per_hour=3.6, provisioning_s=30.0, idle_after_s=20.0)
RISE = steps((10, 100), (90, 1500), (60, 100))  # 1,500/s need three or four
SMALL = replace(PROFILE, cold_s=5.0)


class Steps:
    """A policy that follows a plan: (since, replicas)."""

    name = "steps"

    def __init__(self, *plan):
        self.plan = plan
        self.states, self.spare, self.leads = {}, {}, set()  # the first two by second

    def decide(self, seen):
        now = round(seen.now)
        self.states[now] = {state: seen.count(state) for state in ReplicaState if seen.count(state)}
        self.spare[now] = seen.spare_slots
        self.leads.add((seen.lead.node_s, seen.lead.node_p90_s))
        return Decision([count for since, count in self.plan if seen.now >= since][-1], "as planned")


def planned(kind, plan, *, nodes, **more):
    """A world of `kind` whose one service follows `plan`, run to its end. Returns it, its policy and the result."""
    one = service(trace=more.pop("trace", RISE), profile=SMALL, count=2, bounds=Bounds(0, 40, 0.1, 0.2), **more)
    world = kind(Scenario([one], nodes=nodes))
    policy = Steps(*plan)
    (world.stations if kind is World else world.fluids)[0].policy = policy
    world.run(None)
    return world, policy, world.result()


@pytest.mark.parametrize("kind", [World, FluidWorld])
def test_a_replica_waits_for_its_node_and_then_starts(kind):
    _, policy, result = planned(kind, [(0, 2), (20, 4), (120, 2)], nodes=[PAIR])
    at, spare = policy.states, policy.spare
    ready, pending, starting = ReplicaState.READY, ReplicaState.PENDING, ReplicaState.STARTING
    assert at[19] == {ready: 2}
    assert at[22] == at[49] == {ready: 2, pending: 2}
    assert at[52] == at[54] == {ready: 2, starting: 2}
    assert at[57] == at[119] == {ready: 4}
    assert at[122] == {ready: 2}
    (one,) = result.services
    assert one.replica_s == pytest.approx(2 * 160 + 2 * 70, abs=2)  # paid from when they have room
    assert result.node_s == {
        "pair": pytest.approx(160 + (120 - 20 + 20), abs=2)
    }  # asked at 20, empty at 120, kept 20 s
    assert result.cost == pytest.approx(result.node_s["pair"] * 0.001)
    assert (spare[10], spare[40], spare[60], spare[125], spare[150]) == (0, 0, 0, 2, 0)
    assert policy.leads == {(30.0, 30.0)}


@pytest.mark.parametrize("kind", [World, FluidWorld])
def test_those_leave_whose_node_gets_empty(kind):
    """Of five on nodes of four the four that share one stay, whoever is the youngest."""
    four = NodeClass("four", {"cpu": 4.0}, provisioning_s=10.0, idle_after_s=0.0)
    world, _, _ = planned(kind, [(0, 2), (5, 5), (60, 4)], nodes=[four], trace=steps((80, 200)))
    assert len(world.room.ready) == 1
    assert len(next(iter(world.room.ready.values())).replicas) == 4


@BOTH
def test_without_failures_nodes_cost_time_and_nothing_else(run):
    """With room from the beginning a scenario goes as it would without nodes."""
    one = service(trace=steps((60, 200)), count=2)
    free = run(Scenario([one]))
    kept = run(Scenario([one], nodes=[replace(PAIR, idle_watts=100.0, max_watts=200.0)]))
    assert kept.services[0].outcomes == free.services[0].outcomes
    assert kept.services[0].p99_s == free.services[0].p99_s
    assert kept.services[0].replica_s == free.services[0].replica_s
    assert kept.node_s == {"pair": pytest.approx(60.0)}
    assert 100 / 60 < kept.energy_wh < 200 / 60  # busy for a part of the time


@BOTH
def test_replicas_die_with_their_node_and_others_start(run):
    one = service(trace=steps((400, 300)), count=4, profile=SMALL)
    nodes = [replace(PAIR, mtbf_s=150.0, provisioning_s=10.0)]
    result = run(Scenario([one], nodes=nodes, seed=5))
    again = run(Scenario([one], nodes=nodes, seed=5))
    other = run(Scenario([one], nodes=nodes, seed=6))
    assert (again.services, again.node_s) == (result.services, result.node_s), "bit for bit"
    assert other.services[0].replica_s != result.services[0].replica_s
    (found,) = result.services
    lost = 4 * 400 - found.replica_s
    assert lost > 4 * 10.0, "replicas were gone while nodes came"
    assert found.missed_share < 0.3
    # A failed node is replaced at once, and paid from then: there are always two, paid or on the way.
    assert result.node_s["pair"] == pytest.approx(2 * 400, rel=0.02)


@BOTH
def test_several_services_share_nodes(run):
    nodes = [NodeClass("six", {"cpu": 6.0}, price_per_hour=1.0)]
    small = service(trace=steps((30, 200)), name="small", count=2, needs={"cpu": 1.0})
    large = service(trace=steps((30, 200)), name="large", count=2, needs={"cpu": 2.0})
    result = run(Scenario([small, large], nodes=nodes))
    assert result.node_s == {"six": pytest.approx(30.0)}
    assert [one.replica_s for one in result.services] == [pytest.approx(60.0)] * 2


@BOTH
def test_a_most_that_is_too_low_leaves_replicas_waiting(run):
    one = service(trace=steps((30, 2500)), count=6)
    result = run(Scenario([one], nodes=[replace(PAIR, most=1)]))
    assert result.services[0].replica_s == pytest.approx(60.0, abs=1)
    assert result.services[0].missed_share > 0.4
