"""Nodes in time and money, as timelines."""

import asyncio
from dataclasses import replace

import pytest
from tests.unit.control.cluster.cluster_world import World

from plimsoll.control.cluster.places import class_of
from plimsoll.core.scaling import ReplicaState
from plimsoll.core.service_time import ServiceTime
from plimsoll.ports.backend import ReplicaPhase

SMALL = {"name": "small", "selector": {"size": "small"}, "pricePerHour": "0.10", "capacity": {"cpu": "4"}}
FAST = {"name": "fast", "selector": {"size": "fast"}, "pricePerHour": "0.30", "capacity": {"cpu": "4"}}


def run(test):
    async def main():
        world = World()
        world.service()
        await test(world)

    asyncio.run(main())


def looks(world):
    (policy,) = world.policies.values()
    return policy.looks


def test_pods_that_find_room_at_once_add_nothing_to_the_lead_time():
    async def test(world):
        world.platform(nodeClasses=[SMALL | {"provisioningTime": "3m"}])
        world.backend.start("shop/mood", "mood-1", 0)
        await world.second(mood=10)
        await world.second(mood=10)
        seen = looks(world)[-1]
        assert (seen.lead.node_s, seen.lead.node_p90_s, seen.spare_slots) == (0.0, 0.0, None)
        assert seen.lead.start_s == 5.0, "learned from its start"

    run(test)


def test_one_that_waits_for_a_node_counts_as_the_class_says_and_then_as_it_was():
    async def test(world):
        world.platform(nodeClasses=[SMALL | {"provisioningTime": "3m"}])
        await world.second(mood=10)
        asked_at = world.clock.now()
        name = world.backend.start(
            "shop/mood", "mood-1", 0, phase=ReplicaPhase.STARTING, ready_at=None, placed_at=None, started_at=asked_at,
            pending="0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",
        )  # fmt: skip
        await world.second(mood=10)
        seen = looks(world)[-1]
        assert (seen.lead.node_s, seen.spare_slots) == (180.0, 0)
        assert [replica.state for replica in seen.replicas] == [ReplicaState.PENDING]
        assert world.controller.figures()[0].pending == ("0/3 nodes are available: 3 Insufficient nvidia.com/gpu.",)
        world.clock.move_to(asked_at + 200)
        await world.second(mood=10)
        assert looks(world)[-1].lead.node_s == 201.0, "longer than the class says already"
        pod = world.backend.pods[name]
        world.backend.pods[name] = replace(pod, pending="", placed_at=asked_at + 201.5)
        await world.second(mood=10)
        assert looks(world)[-1].lead.node_s == 201.5
        world.backend.pods[name] = replace(
            world.backend.pods[name], phase=ReplicaPhase.READY, ready_at=asked_at + 210.0
        )
        await world.second(mood=10)
        assert looks(world)[-1].lead.start_s == 8.5, "its start begins where the node is there"

    run(test)


def test_several_classes_are_kinds_of_different_price_and_of_the_speed_that_was_seen():
    async def test(world):
        world.platform(nodeClasses=[SMALL, FAST | {"maxNodes": 2}])
        world.backend.start("shop/mood", "mood-1", 0, kind="small", service_time=ServiceTime(0.0, 0.004, 0.0, 100))
        await world.second(mood=10)
        await world.second(mood=10)
        small, fast = looks(world)[-1].kinds
        assert (small.name, small.price_per_hour, small.speed, small.most) == ("small", 0.025, 1.0, None)
        assert (fast.name, fast.price_per_hour, fast.speed, fast.most) == ("fast", 0.075, 1.0, 8)
        world.backend.start("shop/mood", "mood-1", 1, kind="fast", service_time=ServiceTime(0.0, 0.001, 0.0, 100))
        await world.second(mood=10)
        small, fast = looks(world)[-1].kinds
        assert fast.speed / small.speed == pytest.approx(4.0, rel=0.02)
        assert {replica.kind for replica in looks(world)[-1].replicas} == {"small", "fast"}

    run(test)


def test_one_class_alone_is_no_choice():
    async def test(world):
        world.platform(nodeClasses=[SMALL])
        await world.second(mood=10)
        await world.second(mood=10)
        assert looks(world)[-1].kinds == ()

    run(test)


def test_a_node_belongs_to_the_class_that_asks_most_of_its_labels():
    world = World()
    world.platform(
        nodeClasses=[SMALL, {"name": "zone-a", "selector": {"size": "small", "zone": "a"}, "pricePerHour": "0.2"}]
    )
    platform = world.controller.platform
    assert class_of({"size": "small", "zone": "b"}, platform) == "small"
    assert class_of({"size": "small", "zone": "a"}, platform) == "zone-a"
    assert class_of({"size": "large"}, platform) == ""
    assert class_of({}, None) == ""
