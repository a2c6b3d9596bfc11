"""The controller as timelines over the fake backend: no process, no clock but the test's."""

import asyncio
import contextlib

import pytest
from tests.unit.control.reconcile_world import World, timeline

from plimsoll.backends.fake.backend import Life
from plimsoll.control.controller import ControlSettings
from plimsoll.control.status import Phase
from plimsoll.control.wishes import UnknownService
from plimsoll.core.errors import SpecErrors, UserError
from plimsoll.core.snapshot import EndpointState


@pytest.fixture
def world(tmp_path):
    made = World(tmp_path)
    made.save("one")
    return made


@timeline
async def test_a_first_start(world):
    (applied,) = await world.apply()
    assert (applied.change, applied.revision_number) == ("created", 1)
    assert world.controller.status("mood").phase == Phase.PROGRESSING
    assert world.view().endpoints == ()
    assert world.view().failed is None  # requests are held
    await world.until(0.4)
    assert world.events() == ["mood rev 1   1/1 ready in 0.4 s"]
    (endpoint,) = world.view().endpoints
    assert endpoint.address.startswith("unix:/fake/")
    assert world.controller.status("mood").phase == Phase.READY


@timeline
async def test_a_first_start_that_fails_is_told_at_once_and_comes_back_by_itself(world):
    world.lives[1] = Life(startup_s=0.1, fails="load() raised KeyError: 'weights'", log=("reading", "oh"))
    await world.apply()
    await world.until(5)
    assert world.events() == ["mood rev 1 FAILED: load() raised KeyError: 'weights'"]
    assert world.view().failed == "load() raised KeyError: 'weights'"
    status = world.controller.status("mood")
    assert status.phase == Phase.FAILED
    assert status.instances[0].log_tail == ("reading", "oh")
    world.lives[1] = Life(startup_s=0.1)
    await world.until(60)
    assert world.view().failed is None
    assert world.controller.status("mood").phase == Phase.READY
    assert world.events() == ["mood rev 1 is ready after all"]


@timeline
async def test_one_broken_service_does_not_touch_the_other(world):
    world.lives[1] = Life(startup_s=0.1)
    await world.apply(world.service("good"), world.service("bad"))
    await world.until(1)
    before = world.view("good")
    world.lives[2] = Life(fails="broken")
    world.save("two")
    await world.apply(world.service("bad"))
    await world.until(10)
    assert world.view("good") == before
    assert world.controller.status("good").phase == Phase.READY


@timeline
async def test_a_lost_replica_is_told_and_its_requests_are_held_not_failed(world):
    await world.apply()
    await world.until(1)
    world.events()
    world.backend.crash(world.backend.observe()[0].id, "killed by SIGKILL")
    await world.turn()
    (event,) = world.events()
    assert event.endswith("was lost: killed by SIGKILL")
    assert world.view().endpoints == ()
    assert world.view().failed is None
    assert world.controller.status("mood").phase == Phase.DEGRADED
    await world.until(10)
    assert world.controller.status("mood").phase == Phase.READY
    assert world.events() == []


@timeline
async def test_a_replica_that_served_and_cannot_come_back_fails_after_three_more_tries(world):
    await world.apply()
    await world.until(1)
    world.lives[1] = Life(startup_s=0.1, fails="the weights are gone")
    world.backend.crash(world.backend.observe()[0].id)
    await world.turn()
    for _ in range(2):
        await world.until(world.clock.now() + 1.2)
        assert world.view().failed is None
    await world.until(60)
    assert world.view().failed == "the weights are gone"
    assert world.controller.status("mood").phase == Phase.FAILED
    assert world.events()[-1] == "mood rev 1 FAILED: the weights are gone"


@timeline
async def test_scaling_by_hand_and_back(world):
    await world.apply(world.service(more="  scaling: {minReplicas: 2}\n"))
    await world.until(1)
    await world.controller.scale("mood", 4)
    await world.until(2)
    assert world.running() == ["1/ready"] * 4
    await world.apply(world.service(more="  scaling: {minReplicas: 2, hold: 9s}\n"))  # keeps what was set by hand
    assert world.running() == ["1/ready"] * 4
    await world.controller.scale("mood", 0)
    await world.until(3)
    assert world.running() == []
    assert world.view().failed == "scaled to 0 replicas"
    await world.controller.scale("mood", None)
    await world.until(4)
    assert world.running() == ["1/ready"] * 2
    await world.controller.scale("mood", 4)
    await world.apply(world.service(more="  scaling: {minReplicas: 2}\n  replicas: 1\n"))  # the file says a new one
    await world.until(5)
    assert world.running() == ["1/ready"]
    with pytest.raises(UserError, match="0 or more"):
        await world.controller.scale("mood", -1)
    with pytest.raises(UserError, match=r"10000 replicas at once .* a digit too many"):
        await world.controller.scale("mood", 10_000)


@timeline
async def test_deleting_lets_replicas_finish_and_then_their_copies_go(world):
    world.lives[1] = Life(startup_s=0.1, drain_takes_s=2.0)
    await world.apply()
    await world.until(1)
    await world.controller.delete("mood")
    await world.turn()
    assert world.snapshot.services == ()
    copies = world.folder.parent / "run" / "revisions"
    assert [replica.phase for replica in world.backend.observe()] == ["draining"]
    assert len(list(copies.iterdir())) == 1
    await world.until(4)
    assert world.backend.observe() == ()
    assert list(copies.iterdir()) == []
    with pytest.raises(UnknownService):
        world.controller.status("mood")
    (applied,) = await world.apply()
    assert (applied.change, applied.revision_number) == ("created", 1)


@timeline
async def test_the_draining_are_told_to_gateways(world):
    world.lives[1] = Life(startup_s=0.1, drain_takes_s=5.0)
    await world.apply()
    await world.until(1)
    world.save("two")
    await world.apply()
    await world.until(2)
    assert [endpoint.revision for endpoint in world.endpoints()] == [world.view().revision]
    (old,) = world.endpoints(EndpointState.DRAINING)
    assert old.revision != world.view().revision
    assert world.controller.status("mood").phase == Phase.PROGRESSING


@timeline
async def test_a_snapshot_changes_its_version_only_with_its_content(world):
    await world.apply()
    await world.until(1)
    version = world.snapshot.version
    world.report(requests_per_s=100.0)
    await world.until(5)
    assert world.snapshot.version == version
    await world.apply(world.service(more="  retry: Never\n"))
    assert world.snapshot.version == version + 1
    assert world.view().retry is False
    assert world.running() == ["1/ready"]  # what gateways need alone replaces nothing


@timeline
async def test_applying_the_same_again_changes_nothing(world):
    await world.apply()
    await world.until(1)
    seq = world.controller.timeline.last_seq
    (applied,) = await world.apply()
    assert applied.change == "unchanged"
    assert world.controller.timeline.last_seq == seq


@timeline
async def test_a_call_is_applied_whole_or_not_at_all(world):
    await world.apply()
    with pytest.raises(SpecErrors, match=r"service.yaml:5  spec.model.path: ./gone.py does not exist"):
        await world.apply(world.service("other"), world.service("third", path="./gone.py"))
    assert [service.name for service in world.controller.services] == ["mood"]
    route = "  routes: [{path: /same}]\n"
    await world.apply(world.service("other", route))
    with pytest.raises(SpecErrors, match="is a route of other too"):
        await world.apply(world.service("third", route))


@timeline
async def test_two_applies_racing_end_in_the_order_of_the_calls(world):
    scaled = [world.service(more=f"  scaling: {{minReplicas: {count}}}\n") for count in (1, 2, 3)]
    await asyncio.gather(*(world.controller.apply([service]) for service in scaled))
    await world.until(5)
    assert world.running() == ["1/ready"] * 3


@timeline
async def test_a_backend_that_refuses_is_told_once_and_asked_again(world):
    real, broken = world.backend.apply, True

    async def apply(desired):
        if broken:
            raise OSError("no more processes")
        await real(desired)

    world.backend.apply = apply
    await world.apply()
    assert world.events() == [" telling the backend failed: OSError: no more processes"]
    broken = False
    await world.until(2)
    assert world.running() == ["1/ready"]


@timeline
async def test_a_step_that_raises_keeps_its_service_and_the_others(world):
    await world.apply(world.service("a"), world.service("b"))
    await world.until(1)
    template = world.controller._template

    def broken(revision):
        if revision.service.name == "a":
            raise RuntimeError("a bug")
        return template(revision)

    world.controller._template = broken
    await world.controller.scale("b", 2)
    await world.until(3)
    assert [view.name for view in world.snapshot.services] == ["a", "b"]
    assert world.running() == ["1/ready"] * 3
    assert "a reconciling failed: RuntimeError: a bug" in world.events()


@timeline
async def test_inside_budget_and_figures_come_from_the_gateways(world):
    budget = "  budget: {latency: {p50: 20ms, p99: 100ms}, errorRate: 1%}\n  routes: [{path: /mood}]\n"
    await world.apply(world.service(more=budget))
    await world.until(1)
    status = world.controller.status("mood")
    assert (status.inside_budget, status.url) == (None, "http://localhost:8080/mood")
    assert (status.budget.p50_s, status.budget.p95_s, status.budget.p99_s) == (0.02, None, 0.1)
    good = {"requests_per_s": 12.0, "p50_s": 0.01, "p95_s": 9.0, "p99_s": 0.09, "outcomes": {"ok": 999, "shed": 1}}
    world.report(**good)
    assert world.controller.status("mood").inside_budget is True
    world.report(**good | {"p99_s": 0.11})
    assert world.controller.status("mood").inside_budget is False
    world.report(**good | {"outcomes": {"ok": 90, "shed": 10, "invalid": 500}})
    status = world.controller.status("mood")
    assert (status.inside_budget, status.error_rate) == (False, 0.1)


@timeline
async def test_lag_over_a_tenth_of_the_budget_that_lasts_suggests_a_process(world):
    budget = "  budget: {latency: {p99: 100ms}}\n"
    await world.apply(world.service(more=budget))
    await world.until(1)
    (replica,) = (replica.id for replica in world.backend.observe())
    world.backend.report(replica, {"loop_lag_p99_s": 0.009})
    await world.until(10)
    assert world.controller.status("mood").hints == ()
    for second in (11, 12, 12.9):
        world.backend.report(replica, {"loop_lag_p99_s": 0.012})
        await world.until(second)
        assert world.controller.status("mood").hints == ()
    await world.until(13)
    assert world.controller.status("mood").hints == (
        "the model holds the interpreter: loop lag p99 12 ms is over a tenth of the 100ms budget; "
        "try runtime: {isolation: Process}",
    )
    world.backend.report(replica, {"loop_lag_p99_s": 0.002})
    await world.turn()
    assert world.controller.status("mood").hints == ()


@timeline
async def test_metrics_tell_of_replicas_and_restarts(world):
    await world.apply()
    await world.until(1)
    world.backend.crash(world.backend.observe()[0].id)
    await world.until(3)
    text = world.controller.instruments.metrics.render()[1].decode()
    assert 'plimsoll_replicas{phase="ready",service="mood"} 1.0' in text
    assert 'plimsoll_replica_restarts_total{service="mood"} 1.0' in text


def test_the_loop_turns_by_itself_on_calls_and_on_the_backends_changes(tmp_path):
    """The same over the running loop, in real time: every wait is for an event, none for a tick of an hour."""
    made = World(tmp_path)
    made.save("one")
    made.controller.settings = ControlSettings(tick_s=3600.0)

    async def main():
        (tmp_path / "run").mkdir()
        await made.controller.start()
        followed = made.controller.timeline.follow()
        await made.controller.apply([made.service()])
        async with asyncio.timeout(10), contextlib.aclosing(followed):
            async for event in followed:
                if event.kind == "applied":
                    await made.started.wait()
                    made.clock.move_to(1.0)
                    made.backend.settle()
                elif event.kind == "ready":
                    break
        await made.controller.close()

    asyncio.run(main())
