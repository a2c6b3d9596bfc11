"""One revision replaces another: nothing is lost, a broken one never takes over, an earlier one comes back."""

import pytest
from tests.unit.control.reconcile_world import World, timeline

from plimsoll.backends.fake.backend import Life
from plimsoll.control.status import Phase


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.save("one")
    return made


@timeline
async def test_a_changed_model_takes_over_before_the_old_one_goes(world):
    await world.apply()
    await world.until(1)
    world.events()
    world.report(outcomes={})
    world.lives[1] = Life(startup_s=0.4)
    world.save("two")
    (applied,) = await world.apply(cause="model.py changed")
    assert (applied.change, applied.revision_number) == ("updated", 2)
    assert world.running() == ["1/ready", "2/starting"]
    assert len(world.endpoints()) == 1
    await world.until(1.4)
    world.report()
    await world.turn()
    assert world.events() == ["mood model.py changed: rev 2 ready in 0.4 s, rev 1 drained, 0 requests failed"]
    assert world.running() == ["2/ready"]
    assert world.controller.status("mood").revision_number == 2


@timeline
async def test_the_failed_requests_of_a_replacement_are_counted(world):
    await world.apply()
    await world.until(1)
    world.report(outcomes={"shed": 7})  # before: not of this replacement
    world.save("two")
    await world.apply()
    await world.until(2)
    world.report(outcomes={"shed": 7, "replica_lost": 2})
    await world.turn()
    assert world.events()[-1] == "mood rev 2 ready in 0.4 s, rev 1 drained, 2 requests failed"


@timeline
async def test_a_replacement_is_told_without_gateways_and_with_a_silent_one(world):
    await world.apply()
    await world.until(1)
    world.save("two")
    await world.apply()
    await world.until(2)
    assert "rev 1 drained" in world.events()[-1]
    world.report(version=0)  # this one never has any snapshot in effect
    world.save("three")
    await world.apply()
    await world.until(3)
    assert world.events() == []
    await world.until(4)  # 1.5 s after the old one went
    assert "rev 2 drained" in world.events()[-1]


@timeline
async def test_replicas_are_replaced_one_by_one_and_capacity_never_falls(world):
    service = world.service(more="  scaling: {minReplicas: 3}\n")
    await world.apply(service)
    await world.until(1)
    world.save("two")
    await world.apply(service)
    ready, largest = [], 0
    for step in range(30):
        await world.until(1 + step * 0.1)
        ready.append(len(world.endpoints()))
        largest = max(largest, len(world.running()))
    assert min(ready) == 3
    assert largest <= 4
    assert world.running() == ["2/ready"] * 3
    assert world.controller.status("mood").phase == Phase.READY


@timeline
async def test_a_broken_model_leaves_the_last_good_one_serving(world):
    await world.apply()
    await world.until(1)
    world.events()
    world.lives[2] = Life(startup_s=0.1, fails="model.py:14 SyntaxError: expected ':'\nmore", log=("a", "b"))
    world.save("broken(")
    await world.apply()
    await world.until(30)
    assert world.events() == ["mood rev 2 FAILED: model.py:14 SyntaxError: expected ':'   (rev 1 keeps serving)"]
    assert world.running() == ["1/ready"]
    status = world.controller.status("mood")
    assert (status.phase, status.revision_number) == (Phase.DEGRADED, 1)
    assert "SyntaxError" in status.message
    assert world.view().failed is None
    assert len(world.endpoints()) == 1

    world.save("mended")
    await world.apply(cause="model.py changed")
    await world.until(31)
    assert world.events() == ["mood model.py changed: rev 3 ready in 0.4 s, rev 1 drained, 0 requests failed"]
    assert world.controller.status("mood").phase == Phase.READY


@timeline
async def test_asking_again_for_a_failed_revision_tries_it_again(world):
    await world.apply()
    await world.until(1)
    world.lives[2] = Life(startup_s=0.1, fails="no weights")
    world.save("two")
    await world.apply()
    await world.until(2)
    assert world.running() == ["1/ready"]
    world.lives[2] = Life(startup_s=0.1)
    await world.apply()
    await world.until(3)
    assert world.running() == ["2/ready"]


@timeline
async def test_going_back_to_earlier_content_is_the_earlier_revision(world):
    await world.apply()
    await world.until(1)
    world.save("two")
    await world.apply()
    await world.until(2)
    world.events()
    world.save("one")
    (applied,) = await world.apply()
    assert applied.revision_number == 1
    await world.until(3)
    assert world.events() == ["mood rev 1 ready in 0.4 s, rev 2 drained, 0 requests failed"]
