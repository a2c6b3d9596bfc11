"""Several services on too little: who gets how much, and who hears why."""

import asyncio

import pytest
from tests.unit.control.scaling_world import World

from plimsoll.control.scaling.capacity import Room
from plimsoll.core.snapshot import EndpointState


def play(tmp_path, room, test):
    asyncio.run(test(World(tmp_path, room=room)))


def risk(world, scaling="minReplicas: 1, maxReplicas: 8", more="  budget: {latency: {p99: 100ms}}\n"):
    return world.service("risk", scaling, more)


def mood(world, scaling="minReplicas: 1, maxReplicas: 8", more="  budget: {latency: {p99: 100ms}}\n"):
    return world.service("mood", scaling, more)


async def both(world, rates):
    """A second of `rates`: mood's, risk's."""
    for one, other in rates:
        await world.pass_time(1.0)
        total = world.totals["gateway-0"]["risk"]
        total[0] += other
        world.report(one)
        await world.turn()


def test_the_machine_bounds_what_a_policy_gets_and_says_so_once(tmp_path):
    async def main(world):
        await world.up()
        assert world.seen.spare_slots == 2
        await world.seconds([550, 550, 550])
        assert world.wanted() == 3
        told = world.scaling()
        assert told.wanted == 6
        assert told.trimmed == "3 of the 6 wanted: replicas have 3 cores here"
        (event,) = world.events()
        assert event.message == "1 → 3: 550/s; 3 of the 6 wanted: replicas have 3 cores here"
        assert event.level == "warning"
        assert world.seen.spare_slots == 0
        await world.seconds([250, 150])
        assert world.messages() == ["3 → 2: 150/s"]
        assert world.scaling().trimmed == ""

    play(tmp_path, Room(3.0), main)


def test_a_service_that_cant_have_any_more_hears_it_too(tmp_path):
    async def main(world):
        await world.up()
        await world.seconds([550, 550])
        assert world.messages() == ["stays at 1: 550/s; 1 of the 6 wanted: replicas have 1 core here"]

    play(tmp_path, Room(1.0), main)


def test_the_files_least_runs_and_a_persons_word_counts_whatever_the_room(tmp_path):
    async def main(world):
        await world.up(mood(world, "minReplicas: 4, maxReplicas: 8"))
        await world.seconds([900])
        assert world.wanted() == 4
        await world.controller.scale("mood", 6)
        await world.seconds([900])
        assert world.wanted() == 6

    play(tmp_path, Room(2.0), main)


def test_what_somebody_set_by_hand_takes_room_and_is_named(tmp_path):
    async def main(world):
        world.totals["gateway-0"] = {"risk": [0, 0, 0.0]}
        await world.up(mood(world), risk(world))
        await world.controller.scale("mood", 3)
        await both(world, [(0, 350)] * 2)
        assert (world.wanted("mood"), world.wanted("risk")) == (3, 1)
        assert world.scaling("risk").trimmed.endswith("4 cores here, beside mood (3)")
        await world.controller.scale("mood", None)
        await both(world, [(0, 350)])
        assert (world.wanted("mood"), world.wanted("risk")) == (1, 3)
        assert "scaled by its policy: 1" in world.messages()

    play(tmp_path, Room(4.0), main)


def test_the_least_runs_where_there_is_no_room_at_all(tmp_path):
    async def main(world):
        await world.up(mood(world, "minReplicas: 4, maxReplicas: 8"))
        await world.seconds([900])
        assert world.wanted() == 4

    play(tmp_path, Room(2.0), main)


def test_two_services_share_and_nobody_starves(tmp_path):
    async def main(world):
        world.totals["gateway-0"] = {"risk": [0, 0, 0.0]}
        await world.up(mood(world), risk(world))
        await both(world, [(350, 350)] * 3)
        assert world.wanted("mood") + world.wanted("risk") == 6
        assert min(world.wanted("mood"), world.wanted("risk")) >= 2
        less = min(("mood", "risk"), key=world.wanted)
        assert "beside" in world.scaling(less).trimmed
        await both(world, [(750, 90)] * 3)  # risk needs one, and mood gets the rest
        assert (world.wanted("mood"), world.wanted("risk")) == (5, 1)

    play(tmp_path, Room(6.0), main)


@pytest.mark.parametrize(("first", "second"), [("mood", "risk"), ("risk", "mood")])
def test_the_higher_priority_gets_its_replicas_first(tmp_path, first, second):
    async def main(world):
        world.totals["gateway-0"] = {"risk": [0, 0, 0.0]}
        priority = {first: "minReplicas: 1, maxReplicas: 8, priority: 10"}
        plain = "minReplicas: 1, maxReplicas: 8"
        await world.up(mood(world, priority.get("mood", plain)), risk(world, priority.get("risk", plain)))
        await both(world, [(450, 450)] * 3)
        assert (world.wanted(first), world.wanted(second)) == (5, 1)
        message = next(message for message in world.messages() if "of the 5 wanted" in message)
        assert f"beside {first} (5)" in message

    play(tmp_path, Room(6.0), main)


def test_memory_bounds_as_cores_do(tmp_path):
    async def main(world):
        await world.up(mood(world, more="  resources: {requests: {memory: 1Gi}}\n"))
        await world.seconds([550, 550])
        assert world.wanted() == 2
        assert "2.5 GiB of free memory" in world.scaling().trimmed

    play(tmp_path, Room(16.0, int(2.5 * 2**30)), main)


def test_spares_take_only_what_is_left(tmp_path):
    async def main(world):
        await world.up(mood(world, "minReplicas: 1, maxReplicas: 8, spares: {count: 2}"))
        await world.seconds([150, 150])
        assert (world.wanted(), len(world.endpoints(EndpointState.SPARE))) == (2, 1)
        await world.seconds([250])
        assert (world.wanted(), len(world.endpoints(EndpointState.SPARE))) == (3, 0)

    play(tmp_path, Room(3.0), main)
