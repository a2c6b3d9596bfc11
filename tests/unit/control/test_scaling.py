"""Services scaled by a policy, as timelines over the fake backend."""

import asyncio
from statistics import mean, variance

import pytest
from tests.unit.control.reconcile_world import timeline
from tests.unit.control.scaling_world import Counting, World

from plimsoll.backends.fake.backend import Life
from plimsoll.control.scaling.scaler import Kit
from plimsoll.core.scaling import Decision, ReplicaState
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.snapshot import EndpointState

ZERO = "minReplicas: 0, maxReplicas: 4, scaleToZeroAfter: 5s"


@pytest.fixture
def world(tmp_path):
    return World(tmp_path)


@timeline
async def test_more_replicas_as_load_rises_and_fewer_as_it_falls(world):
    await world.up()
    await world.seconds([50, 250, 250])
    assert (world.wanted(), len(world.endpoints())) == (3, 3)
    await world.seconds([120])
    assert world.wanted() == 2
    rose, fell = world.events()
    assert (rose.message, fell.message) == ("1 → 3: 250/s", "3 → 2: 120/s")
    assert rose.details == {"replicas": 3, "before": 1, "policy": "counting", "evidence": {"rate": 250.0}}
    told = world.scaling()
    assert (told.policy, told.min_replicas, told.max_replicas) == ("counting", 1, 8)
    assert (told.reason, told.wanted, told.change, told.at) == ("120/s", 2, "3 → 2: 120/s", told.changed_at)
    await world.seconds([120])
    assert world.events() == []  # nothing has changed
    assert world.scaling().at > world.scaling().changed_at


@timeline
async def test_the_policys_wish_ends_at_the_files_bounds(world):
    await world.up(world.service(scaling="minReplicas: 2, maxReplicas: 3"))
    await world.seconds([10, 5000, 5000, 0])
    assert [policy.bounds.most for policy in world.policies.values()] == [3]
    assert world.messages() == ["2 → 3: 5000/s", "3 → 2: 0/s"]
    await world.controller.apply([world.service(scaling="minReplicas: 4, maxReplicas: 6")])
    await world.seconds([0])
    assert world.wanted() == 4
    assert len(world.policies) == 2  # a policy knows its bounds from its beginning
    assert len(world.forecasts) == 1  # and what was learned stays


@timeline
async def test_no_request_is_counted_twice_or_not_at_all(world):
    await world.up()
    await world.pass_time(0.8)
    world.report(80)
    await world.turn()
    await world.pass_time(0.1)
    world.report(10)  # sent at once, for a snapshot: too early to decide anything
    await world.turn()
    await world.pass_time(1.1)
    world.report(110)
    await world.turn()
    heard = world.forecasts[0].heard
    assert [(arrived, round(over_s, 3)) for _, arrived, over_s in heard] == [(0, 0.5), (80, 0.8), (120, 1.2)]


@timeline
async def test_several_gateways_add_up(world):
    await world.up()
    world.report(0, gateway="gateway-1")
    await world.seconds([0])
    await world.pass_time(0.4)
    world.report(60, gateway="gateway-1", busy_s=0.7, in_flight=3)
    await world.turn()
    looks = len(world.policy.looks)
    await world.pass_time(0.6)
    assert len(world.policy.looks) == looks  # the other has not spoken yet
    world.report(40, busy_s=1.0, held=2, in_flight=5, late=4)
    await world.turn()
    seen = world.seen
    assert (seen.arrived, seen.late, seen.waiting, seen.in_flight) == (100, 4, 2, 6)
    assert seen.over_s == pytest.approx((1.0 + 1.4) / 2)
    assert seen.concurrency == pytest.approx(1.0 / 1.0 + 0.7 / 1.4)


@timeline
async def test_how_bursty_arrivals_are_is_variance_over_mean_of_tenths_of_a_second(world):
    await world.up()
    assert world.seen.dispersion is None
    counts = [0, 3, 12, 1, 0, 0, 7, 9, 2, 6]
    world.tenths = [10, sum(count * count for count in counts)]
    await world.seconds([sum(counts)])
    assert world.seen.dispersion == pytest.approx(variance(counts) / mean(counts))
    world.tenths[0] += 10
    await world.seconds([0])
    assert world.seen.dispersion is None  # nobody came


@timeline
async def test_a_gateway_that_is_started_again_counts_from_its_beginning(world):
    await world.up()
    await world.seconds([100, 100])
    world.totals["gateway-0"]["mood"] = [0, 0, 0.0]
    await world.seconds([70])
    assert world.seen.arrived == 70


@timeline
async def test_without_metrics_the_count_stays_and_says_so_once(world):
    await world.up()
    await world.seconds([250, 250])
    await world.pass_time(2.5)
    assert world.scaling().holding == ""
    for _ in range(4):
        await world.pass_time(1.0)
    assert world.seen.arrived is None
    assert world.wanted() == 3
    assert world.scaling().holding == "no word from a gateway: 3 replicas stay until metrics are back"
    await world.pass_time(0.5)
    world.report(1000)
    await world.turn()
    assert world.seen.arrived == 1000
    assert world.seen.over_s == pytest.approx(7.0)
    rose, held, back, _ = world.events()
    assert rose.message == "1 → 3: 250/s"
    assert (held.message, held.level) == (
        "no word from a gateway: 3 replicas stay until metrics are back",
        "warning",
    )
    assert (back.message, back.details["held"]) == ("metrics are back", False)


@timeline
async def test_one_silent_gateway_of_two_may_have_any_part_of_the_traffic(world):
    await world.up()
    world.report(0, gateway="gateway-1")
    await world.seconds([0])
    world.report(300, gateway="gateway-1")
    await world.seconds([100])
    assert world.wanted() == 4
    await world.seconds([10, 10, 10, 10, 10])  # gateway-1 is stopped: its clients wait
    assert world.wanted() == 4
    world.report(1500, gateway="gateway-1")
    await world.seconds([10])
    assert world.seen.arrived == 1500 + 50  # what the other counted meanwhile is in it, too
    world.controller.stream.reports.forget("gateway-1")  # it is gone, and its clients are the other's
    await world.seconds([50, 50])
    assert world.wanted() == 1


@timeline
async def test_to_zero_and_back_at_once_when_a_request_is_held(world):
    await world.up(world.service(scaling=ZERO))
    assert world.wanted() == 1  # tried once, whoever asks: a broken model shows
    await world.seconds([5, 0, 0, 0, 0, 0])
    assert world.wanted() == 0
    await world.pass_time(1.0)
    assert world.backend.observe() == ()
    assert world.view().failed is None  # requests are held
    assert world.controller.status("mood").phase == "Ready"
    await world.pass_time(0.2)
    world.report(1, held=1, in_flight=1)  # at once, not with the second's report
    await world.turn()
    assert world.wanted() == 1
    await world.pass_time(0.4)
    assert len(world.endpoints()) == 1
    assert [message.partition(":")[0] for message in world.messages()] == ["1 → 0", "0 → 1"]


@timeline
async def test_a_request_that_waits_is_served_whatever_the_policy_says(world):
    class Never(Counting):
        def decide(self, seen):
            self.looks.append(seen)
            return Decision(0, "nobody works at night")

    world._make = Never
    await world.up(world.service(scaling=ZERO))
    await world.seconds([0, 0])
    assert world.wanted() == 0
    world.report(1, held=1, in_flight=1)
    await world.turn()
    assert world.wanted() == 1
    await world.seconds([0], held=0)
    assert world.wanted() == 0


@timeline
async def test_a_new_revision_is_tried_also_where_nothing_runs(world):
    await world.up(world.service(scaling=ZERO))
    await world.seconds([0] * 6)
    assert world.wanted() == 0
    (world.folder / "model.py").write_text("two")
    world.lives["mood"] = Life(fails="model.py:1 SyntaxError", startup_s=0.1)
    world.messages("failed")
    await world.controller.apply([world.service(scaling=ZERO)])
    await world.turn()
    assert world.wanted() == 1
    await world.pass_time(0.2)
    (failed,) = world.messages("failed")
    assert "SyntaxError" in failed
    assert "rev 1 keeps serving" in failed
    assert world.wanted() == 0


@timeline
async def test_a_count_set_by_hand_ends(world):
    await world.up()
    await world.seconds([50])
    await world.controller.scale("mood", 5, for_s=10.0)
    await world.seconds([50])
    told = world.scaling()
    assert (world.wanted(), told.by_hand, told.left_s, told.reason) == (5, 5, 9.0, "50/s")
    await world.seconds([250] * 8)
    assert world.wanted() == 5
    assert world.scaling().wanted == 3  # what the policy would have
    await world.seconds([250])
    assert (world.wanted(), world.scaling().by_hand, world.scaling().left_s) == (3, None, None)
    assert world.messages() == ["scaled to 5 by hand, for 10s", "the time at 5 by hand is over: budget decides again"]


@timeline
async def test_by_hand_is_for_an_hour_where_a_policy_scales_else_until_another_word(world):
    await world.up()
    await world.controller.scale("mood", 2)
    assert world.scaling().left_s == 3600
    await world.controller.scale("mood", None)
    assert (world.scaling().by_hand, world.scaling().left_s) == (None, None)
    await world.controller.apply([world.service(scaling="minReplicas: 1")])
    await world.controller.scale("mood", 2)
    assert (world.scaling().by_hand, world.scaling().left_s) == (2, None)
    await world.controller.scale("mood", 3, for_s=60)
    await world.pass_time(59)
    assert world.wanted() == 3
    await world.pass_time(1)
    assert world.wanted() == 1
    assert world.messages()[-1] == "the time at 3 by hand is over: 1 again"


@timeline
async def test_zero_by_hand_refuses_instead_of_waking(world):
    await world.up(world.service(scaling=ZERO))
    await world.controller.scale("mood", 0)
    await world.pass_time(1.0)
    assert world.view().failed == "scaled to 0 replicas"
    world.report(1, held=1)
    await world.turn()
    assert world.wanted() == 0


@timeline
async def test_spares_are_ready_and_get_requests_only_where_nobody_else_is(world):
    spares = "minReplicas: 1, maxReplicas: 4, spares: {count: 1}"
    await world.up(world.service(scaling=spares))
    await world.seconds([50, 50])
    assert (len(world.endpoints()), len(world.endpoints(EndpointState.SPARE))) == (1, 1)
    status = world.controller.status("mood")
    assert (status.replicas.ready, status.replicas.wanted, status.scaling.spares) == (1, 1, 1)
    assert sorted(instance.phase for instance in status.instances) == ["ready", "spare"]
    (spare,) = world.endpoints(EndpointState.SPARE)
    await world.pass_time(0.9)
    world.report(150)
    await world.controller.tick()  # one turn: no start is waited for
    assert spare in world.endpoints()
    assert world.endpoints(EndpointState.SPARE) == []
    assert world.seen.count(ReplicaState.SPARE) == 1
    await world.seconds([150])
    assert len(world.endpoints(EndpointState.SPARE)) == 1  # the next one, started behind it
    await world.seconds([390, 390])
    assert (len(world.endpoints()), world.endpoints(EndpointState.SPARE)) == (4, [])  # it could never be promoted


@timeline
async def test_the_policy_says_how_many_spares_unless_the_file_does(world):
    await world.up()
    await world.seconds([610, 610])
    assert (world.wanted(), len(world.endpoints(EndpointState.SPARE))) == (7, 1)
    await world.controller.apply([world.service(scaling="minReplicas: 1, maxReplicas: 8, spares: {count: 0}")])
    await world.seconds([610])
    assert (world.wanted(), world.endpoints(EndpointState.SPARE)) == (7, [])
    libraries = "minReplicas: 1, maxReplicas: 8, spares: {count: 2, state: LibrariesLoaded}"
    await world.controller.apply([world.service(scaling=libraries)])
    await world.seconds([610])
    assert world.endpoints(EndpointState.SPARE) == []  # the fork server is it


@timeline
async def test_what_replicas_learned_reaches_the_policy(world):
    await world.up()
    assert world.seen.service_time.samples == 0  # a guess, and it says so
    learned = ServiceTime(0.004, 0.0015, 0.001, 30)
    (replica,) = world.backend.observe()
    world.backend.report(replica.id, {"queued": 7.0}, learned)
    await world.seconds([50])
    assert world.seen.service_time == learned
    assert world.seen.waiting == 7
    assert world.seen.lead.start_s == pytest.approx(0.4)
    world.lives["mood"] = Life(startup_s=2.0, service_time=ServiceTime(0.008, 0.0015, 0.001, 10))
    await world.seconds([150, 150, 150])
    assert world.seen.service_time.a_s == pytest.approx((30 * 0.004 + 10 * 0.008) / 40)
    assert world.seen.lead.start_s == pytest.approx((0.4 + 2.0) / 2)
    assert [one.state for one in world.seen.replicas] == [ReplicaState.READY] * 2


@timeline
async def test_a_profile_beside_the_file_is_where_learning_begins(world):
    from plimsoll.insight.profile import Profile

    (world.folder / "mood.profile.json").write_text(Profile(0.004, 0.0015, cold_s=9.0, cold_p90_s=12.0).to_json())
    world.lives["mood"] = Life(startup_s=30.0)
    await world.controller.apply([world.service()])
    world.report(0)
    await world.turn()
    assert (world.seen.lead.start_s, world.seen.lead.start_p90_s) == (9.0, 12.0)
    assert (world.seen.service_time.a_s, world.seen.service_time.samples) == (0.004, 1000)
    world.lives["mood"] = Life(startup_s=0.1)
    await world.pass_time(30)
    (replica,) = world.backend.observe()
    for samples, a_s in ((3, 0.004), (50, 0.02)):  # the first batches know less than the profile
        world.backend.report(replica.id, {}, ServiceTime(0.02, 0.001, 0.0, samples))
        await world.seconds([10])
        assert world.seen.service_time.a_s == a_s


def test_fixed_services_are_nobodys_to_scale(tmp_path):
    async def main():
        world = World(tmp_path)
        await world.up(world.service(scaling="minReplicas: 2"))
        await world.seconds([900, 900])
        assert (world.wanted(), world.policies) == (2, {})
        assert world.scaling().policy == "budget"

    asyncio.run(main())


def test_a_kit_makes_what_the_file_names():
    made = []
    kit = Kit(policy=lambda text, bounds, epoch_s: made.append(text) or Counting(bounds), forecast=lambda epoch_s: [])
    assert kit.policy("kpa", None, 0.0).name == "counting"
    assert made == ["kpa"]


@timeline
async def test_a_bound_that_the_file_moves_counts_at_once_and_is_told_as_what_changed_the_count(world):
    await world.up()
    await world.seconds([450, 450])
    assert world.wanted() == 5
    world.events()
    await world.controller.apply([world.service(scaling="minReplicas: 1, maxReplicas: 2")])
    await world.turn()
    assert world.wanted() == 2
    assert world.messages() == ["5 → 2: maxReplicas is 2"]
    assert world.scaling().change == "5 → 2: maxReplicas is 2"
    await world.controller.apply([world.service(scaling="minReplicas: 4, maxReplicas: 8")])
    await world.turn()
    assert world.messages() == ["2 → 4: minReplicas is 4"]


@timeline
async def test_another_services_turn_doesnt_bring_back_what_the_file_took(world):
    world.totals["gateway-0"] = {"risk": [0, 0, 0.0]}
    await world.up(world.service(), world.service("risk"))
    await world.seconds([450, 450])
    await world.controller.apply([world.service(scaling="minReplicas: 1, maxReplicas: 2")])
    await world.turn()
    world.events()
    known = world.controller._scaling._scaled
    known["mood"].scaler.due = lambda state, now: False
    await world.seconds([450, 450])
    assert known["risk"].scaler.seen.now > known["mood"].scaler.seen.now
    assert (world.wanted(), world.messages()) == (2, [])
