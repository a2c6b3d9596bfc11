"""Scaling when things go wrong: starts that fail, replicas and policies that die, clocks that jump, new controllers."""

import pytest
from tests.unit.control.reconcile_world import timeline
from tests.unit.control.scaling_world import Counting, World

from plimsoll.backends.fake.backend import Life
from plimsoll.core.scaling import ReplicaState


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@timeline
async def test_starts_that_come_to_nothing_are_not_answered_by_more_of_them(world):
    world.lives["mood"] = Life(startup_s=0.4)
    await world.up()
    world.lives["mood"] = Life(fails="out of memory", startup_s=0.1)
    await world.seconds([150, 150, 150, 150, 150])
    assert world.wanted() == 2
    assert world.seen.lead.failed >= 3
    await world.seconds([800])
    assert world.wanted() == 2
    assert "more would not help" in world.scaling().trimmed
    world.lives["mood"] = Life(startup_s=0.4)
    await world.seconds([800] * 12)  # the back-off's next try works
    assert world.wanted() == 8


@timeline
async def test_half_of_the_replicas_dying_is_seen_and_they_come_back(world):
    await world.up()
    await world.seconds([350, 350])
    serving = world.endpoints()
    assert len(serving) == 4
    world.lives["mood"] = Life(startup_s=1.5)
    for replica in serving[:2]:
        world.backend.crash(replica)
    await world.turn()
    assert sorted(world.endpoints()) == sorted(serving[2:])
    await world.seconds([350])
    assert (world.wanted(), world.seen.count(ReplicaState.STARTING), world.seen.lead.failed) == (4, 2, 0)
    await world.seconds([350, 350])
    assert sorted(world.endpoints()) == sorted(serving)


@timeline
async def test_a_profile_that_cant_be_read_is_told_and_left_out(world):
    (world.folder / "mood.profile.json").write_text('{"plimsollProfile": 7}')
    await world.up()
    (message,) = world.messages("error")
    assert "mood.profile.json: not a profile" in message
    await world.seconds([150])
    assert world.wanted() == 2


@timeline
async def test_the_next_controller_begins_with_what_is_there(world):
    await world.up()
    await world.seconds([350, 350])
    assert world.wanted() == 4
    await world.controller.close()
    world.begin()
    await world.controller.apply([world.service()])
    await world.turn()
    assert world.wanted() == 4
    assert sum(replica.phase == "ready" for replica in world.backend.observe()) == 4
    world.report(350)
    await world.turn()
    assert world.seen.arrived is None  # a running count is no news: counting begins here
    await world.seconds([350])
    assert (world.wanted(), world.seen.arrived) == (4, 350)


@timeline
async def test_a_policy_that_fails_costs_its_service_nothing_but_scaling(world):
    class Broken(Counting):
        def decide(self, seen):
            if len(self.looks) == 4:
                raise ZeroDivisionError("no replica")
            return super().decide(seen)

    world._make = Broken
    await world.up()
    await world.seconds([250, 250, 500, 500])
    (message,) = world.messages("error")
    assert message == "its scaling policy failed: ZeroDivisionError: no replica; 3 replicas stay"
    assert len(world.endpoints()) == 3


@timeline
async def test_the_wall_clock_may_jump(world):
    await world.up()
    await world.seconds([150, 150])
    for jump in (-86400.0, 3 * 86400.0, 0.0):
        world.wall_offset = jump
        await world.seconds([150])
        assert (world.seen.arrived, round(world.seen.over_s, 6)) == (150, 1.0)
    await world.controller.scale("mood", 5, for_s=10)
    world.wall_offset = 7 * 86400.0
    await world.seconds([150] * 9)
    assert world.wanted() == 5
    await world.seconds([150])
    assert world.wanted() == 2


@timeline
async def test_scaling_up_while_a_revision_replaces_another(world):
    await world.up()
    await world.seconds([250, 250])
    (world.folder / "model.py").write_text("two")
    await world.controller.apply([world.service()])
    lowest = 8
    for rate in (500, 500, 500, 500, 500, 500):
        await world.seconds([rate])
        lowest = min(lowest, len(world.endpoints()))
    assert lowest >= 3
    assert len(world.endpoints()) == 5
    assert {endpoint.revision for endpoint in world.view().endpoints} == {world.view().revision}


@timeline
async def test_after_starts_that_failed_one_is_tried_at_a_time_until_one_gets_ready(world):
    await world.up()
    await world.seconds([50, 50])
    world.lives["mood"] = Life(startup_s=0.2, fails="no memory")
    await world.seconds([450] * 12)
    assert (len(world.endpoints()), world.seen.lead.failed >= 3) == (1, True)
    await world.seconds([50, 50, 50])
    assert (world.wanted(), len(world.backend.observe())) == (1, 1)  # whoever was to be tried again was let go
    await world.seconds([450])
    assert world.wanted() == 2
    world.lives["mood"] = Life(startup_s=0.2)
    await world.seconds([450] * 60)
    assert (world.wanted(), len(world.endpoints())) == (5, 5)
