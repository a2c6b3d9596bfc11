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


NO_GPU = "0/3 nodes are available: 3 Insufficient nvidia.com/gpu."
AT_ONCE = "no node has room for a replica"


async def held_at(world, seconds, steps, **scaling):
    """Whether requests are held (None) or told at once, at each of `seconds` since a replica found no room."""
    world.service(scaling={"minReplicas": 1, "maxReplicas": 8, "hold": "20s"} | scaling)
    if steps:
        world.platform(disruption={"noCapacity": steps})
    began = world.clock.now()
    world.backend.start(
        "shop/mood", "mood-1", 0, phase=ReplicaPhase.STARTING, ready_at=None, placed_at=None, started_at=began,
        pending=NO_GPU,
    )  # fmt: skip
    told = []
    for at in seconds:
        world.clock.move_to(began + at)
        await world.controller.tick()
        told.append(world.view("shop/mood").failed)
    return told


@pytest.mark.parametrize(
    ("steps", "told"),
    [
        (None, [None, None, None]),
        (["Wait"], [None, None, None]),
        (["PreemptLower"], [None, None, None]),
        (["Fallback"], [AT_ONCE, AT_ONCE, AT_ONCE]),
        (["PreemptLower", "Fallback"], [AT_ONCE, AT_ONCE, AT_ONCE]),
        (["Wait", "Fallback"], [None, None, AT_ONCE]),
        (["Wait", "PreemptLower", "Fallback"], [None, None, AT_ONCE]),
        (["Fallback", "Wait"], [None, None, None]),
    ],
)
def test_whether_requests_are_held_while_no_node_has_room_is_the_platforms_to_say(steps, told):
    """noCapacity, with `hold: 20s`, right after a replica found no room, at 19 s and at 20 s."""

    async def test(world):
        assert await held_at(world, (0.5, 19, 20), steps) == told

    run(test)


def test_requests_are_held_again_once_a_replica_has_a_node_and_while_another_one_is_on_its_way():
    async def test(world):
        assert await held_at(world, (1,), ["Fallback"]) == [AT_ONCE]
        version = world.snapshot.version
        await world.second()
        assert world.snapshot.version == version, "gateways are told once"
        (waiting,) = world.backend.pods
        other = world.backend.start("shop/mood", "mood-1", 1, phase=ReplicaPhase.STARTING, ready_at=None)
        await world.second()
        assert world.view("shop/mood").failed is None, "it has a node and loads"
        del world.backend.pods[other]
        await world.second()
        assert world.view("shop/mood").failed == AT_ONCE
        now = world.clock.now()
        world.backend.pods[waiting] = replace(world.backend.pods[waiting], pending="", placed_at=now)
        await world.second()
        assert world.view("shop/mood").failed is None
        world.backend.pods[waiting] = replace(world.backend.pods[waiting], phase=ReplicaPhase.READY, ready_at=now)
        world.backend.start(
            "shop/mood", "mood-1", 2, phase=ReplicaPhase.STARTING, ready_at=None, placed_at=None, pending=NO_GPU
        )
        await world.second()
        assert world.view("shop/mood").failed is None, "one serves"

    run(test)


def test_a_service_at_zero_is_woken_whatever_the_platform_says_of_room():
    async def test(world):
        world.service(scaling={"minReplicas": 0, "maxReplicas": 4})
        world.platform(disruption={"noCapacity": ["Fallback"]})
        for _ in range(12):
            await world.second(mood=0)
        assert world.view("shop/mood").failed is None, "no replica was asked for yet: its request must be held"
        world.report({"shop/mood": 1}, held=1)
        await world.controller.tick()
        assert world.backend.writes[-1] == ("mood-1", 1)

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
