"""The simulated world as a whole: repeatable, nobody lost, bounded, and what its faults look like from outside."""

import tracemalloc
from array import array
from dataclasses import replace

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.unit.sim.scenes import PROFILE, run, service, steps

from plimsoll.core.errors import UserError
from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import LogNormal, Profile
from plimsoll.insight.traffic import Trace
from plimsoll.sim import simulate
from plimsoll.sim.room import Unlimited
from plimsoll.sim.scenario import Fault, Scenario

BOUNDS = Bounds(0, 12, 0.1, 0.2)
WILD = [Fault(3, "kill", 0.5), Fault(5, "freeze", 0.6, 2), Fault(8, "start", for_s=5), Fault(6, "metrics", for_s=4)]


def told(result):
    """All of a result but how long it took."""
    result.wall_s = 0.0
    return repr(result)


# --- the same again -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("policy", ["budget", "kpa", "fixed:4"])
def test_the_same_seed_gives_the_same_result_bit_for_bit(policy):
    profile = replace(PROFILE, cold_p90_s=12.0)
    made = [service(900.0, 30.0, policy=policy, count=3, profile=profile, bounds=BOUNDS, name=name) for name in "ab"]
    scenario = Scenario(made, faults=WILD, seed=5, most_replicas=9)
    first = told(simulate(scenario))
    assert told(simulate(scenario)) == first
    assert told(simulate(replace(scenario, seed=6))) != first


def test_another_service_beside_it_changes_nothing_for_the_first():
    alone = run(service(700.0, 20.0), seed=3)
    beside = run(service(700.0, 20.0), service(300.0, 20.0, name="other"), seed=3).services[0]
    assert (alone.outcomes, alone.p99_s, alone.sum_latency_s) == (beside.outcomes, beside.p99_s, beside.sum_latency_s)


def test_a_clock_may_begin_anywhere():
    at_zero = run(service(700.0, 20.0, policy="budget", bounds=BOUNDS))
    later = run(service(700.0, 20.0, policy="budget", bounds=BOUNDS), start_s=1.7e9)
    assert later.offered == at_zero.offered
    assert later.replica_s == pytest.approx(at_zero.replica_s, rel=0.05)
    assert later.p99_s == pytest.approx(at_zero.p99_s, rel=0.1)  # the clock's last bit is 0.2 us there
    assert [act.at_s - 1.7e9 for act in later.acts] == [act.at_s for act in at_zero.acts]


# --- nobody is lost -----------------------------------------------------------------------------------------------

faults = st.lists(
    st.builds(
        Fault,
        at_s=st.floats(0, 12),
        kind=st.sampled_from(["kill", "freeze", "start", "metrics"]),
        share=st.floats(0, 1),
        for_s=st.floats(0, 6),
    ),
    max_size=4,
)


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(
    faults,
    st.sampled_from(["fixed:3", "kpa", "budget", "keda", "hpa-rps"]),
    st.lists(st.tuples(st.floats(0.1, 4), st.sampled_from([0.0, 3.0, 100.0, 900.0])), min_size=1, max_size=4),
    st.sampled_from([Bounds(0, 6, 0.1, 0.2), Bounds(1, 3, 0.05, 5.0, zero_after_s=3), Bounds(0, 4, None, 0.5)]),
    st.sampled_from([{}, {"linger_s": 0.01}, {"max_batch_one": True}, {"queue_cap": 5}, {"spares": 1}]),
    st.integers(0, 2),
)
def test_every_request_has_exactly_one_outcome(wrong, policy, parts, bounds, more, start):
    trace = steps(*parts)
    found = run(service(trace=trace, policy=policy, bounds=bounds, hold_s=2.0, count=start, **more), faults=wrong,
                seconds=trace.duration_s + 3)  # fmt: skip
    assert found.late + found.refused <= found.offered
    assert sum(found.timeline.offered) == found.offered
    assert found.replica_s >= 0


def test_no_traffic_at_all():
    found = run(service(trace=Trace(times=array("d", [])), count=1), seconds=30)
    assert (found.offered, found.outcomes, found.p99_s) == (0, {"ok": 0}, 0.0)
    assert found.replica_s == pytest.approx(30)


def test_recorded_times_with_duplicates():
    found = run(service(trace=Trace(times=array("d", [0.0, 1.0, 1.0, 1.0, 2.5])), count=1), seconds=4)
    assert found.outcomes == {"ok": 5}
    assert run(service(trace=Trace(times=array("d", [0.0, 1.0, 1.0])), count=1)).outcomes == {
        "ok": 3
    }  # no more, no less
    assert run(service(trace=Trace(times=array("d", [0.0])), count=1)).outcomes == {"ok": 1}


def test_only_what_came_in_time_is_offered():
    found = run(service(100.0, 20.0), seconds=5)
    assert sum(found.timeline.offered) == found.offered == pytest.approx(500, abs=80)
    assert found.replica_s == pytest.approx(10)


# --- bounded --------------------------------------------------------------------------------------------------------


def peak(seconds):
    tracemalloc.start()
    run(service(40.0, seconds, count=1, policy="budget"))
    _, most = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    return most


def test_memory_does_not_grow_with_the_trace():
    """From 720 s on, where a timeline has all its steps."""
    peak(20.0)  # what is imported on the way
    short, long = peak(800.0), peak(3200.0)
    print(f"32,000 requests: {short:,} bytes at most; 128,000: {long:,}")
    assert long < 1.15 * short


def test_a_million_fold_spike_is_refused_cheaply():
    """10 requests a second, ten million for a twentieth of one, and 10 again."""
    found = simulate(Scenario([service(trace=steps((5, 10.0), (0.05, 1e7), (5, 10.0)), count=2)]))
    one = found.services[0]
    assert one.offered == pytest.approx(500_000, rel=0.01)
    assert one.outcomes["ok"] < 300
    assert found.events < 2000
    assert one.timeline.missed[-1] == 0  # and it is over as quickly as it came


# --- capacity and batches -------------------------------------------------------------------------------------------


def test_batches_grow_with_the_load_and_the_budget_holds():
    quiet, busy = run(service(100.0)), run(service(1050.0))
    assert quiet.mean_batch < 1.5
    assert 8 < busy.mean_batch < 26
    assert busy.missed_share < 0.01
    assert quiet.p50_s < busy.p50_s < busy.p95_s < busy.p99_s < 0.1


def test_beyond_the_capacity_the_rest_is_shed_and_the_others_keep_their_budget():
    found = run(service(2400.0))  # of some 1,160
    assert found.outcomes["shed"] / found.offered == pytest.approx(0.5, abs=0.07)
    assert found.late < 0.03 * found.offered


def test_overhead_and_network_are_latency_and_no_work():
    plain = run(service(600.0))
    slower = run(service(600.0, profile=replace(PROFILE, overhead_s=0.01), network_s=0.002))
    assert slower.p50_s == pytest.approx(plain.p50_s + 0.01 + 2 * 0.002 - 2 * 0.0002, rel=0.02)
    assert slower.mean_batch == plain.mean_batch


def test_a_queue_that_is_capped():
    found = run(service(2400.0, queue_cap=4, bounds=Bounds(0, 4, None, 5.0)))
    assert found.outcomes["shed"] > 0.4 * found.offered
    assert found.p99_s < 0.06


def test_single_requests_lognormal():
    one = LogNormal(0.4225, 0.0793, 0.0686)
    profile = Profile(a_s=0.0, c_s=0.18, lognormal=one)
    found = run(service(2.0, 2000.0, count=4, profile=profile, bounds=Bounds(1, 8, 0.72, 2.0)))
    assert found.mean_batch == 1
    assert found.sum_latency_s / found.offered == pytest.approx(one.mean_s, rel=0.1)


# --- replicas come and go -------------------------------------------------------------------------------------------


def test_from_zero_the_first_are_held_and_not_refused():
    found = run(service(4.0, 60.0, start_replicas=0, policy="fixed:1"))
    assert found.outcomes == {"ok": found.offered}
    assert found.timeline.ready[:9] == [0] * 8 + [1]
    assert found.late == sum(found.timeline.missed) == pytest.approx(36, abs=15)  # they were answered, late
    assert sum(found.timeline.missed[10:]) == 0


def test_who_is_held_too_long_hears_that_there_is_no_replica():
    found = run(service(20.0, 20.0, start_replicas=0, policy="fixed:1", hold_s=3.0))
    assert found.outcomes["no_replica"] == pytest.approx(120, abs=40)


def test_a_replica_costs_from_its_start_until_it_has_drained():
    found = run(service(100.0, 60.0, start_replicas=1, policy="fixed:3"))
    assert found.replica_s == pytest.approx(60 + 2 * 59)
    assert [(act.at_s, act.before, act.after) for act in found.acts] == [(1.0, 1, 3)]
    down = run(service(400.0, 60.0, start_replicas=4, policy="fixed:2"))
    assert down.replica_s == pytest.approx(2 * 60 + 2 * 1, abs=0.1)
    assert down.outcomes == {"ok": down.offered}


def test_cold_starts_follow_their_median_and_90th_percentile():
    profile = replace(PROFILE, cold_s=10.0, cold_p90_s=20.0)
    found = run(service(1.0, 120.0, start_replicas=0, policy="fixed:400", bounds=Bounds(0, 400, 0.1, 0.2),
                        profile=profile))  # fmt: skip
    ready = found.timeline.ready
    assert ready[10] == pytest.approx(200, abs=40)
    assert ready[20] == pytest.approx(360, abs=20)
    assert ready[-1] == 400


def test_spares_take_over_at_once():
    trace = steps((20, 100.0), (20, 900.0))
    fields = {"trace": trace, "start_replicas": 1, "policy": "budget", "bounds": Bounds(1, 8, 0.1, 0.2)}
    without, spared = run(service(**fields)), run(service(**fields, spares=2))
    assert spared.missed_share < without.missed_share / 2
    assert 0 < spared.spare_s < spared.replica_s


def test_spares_take_nobodys_place():
    """Of the service's most, and of all services'."""
    fields = {"start_replicas": 2, "policy": "fixed:2", "spares": 3}
    alone = run(service(100.0, 30.0, bounds=Bounds(1, 4, 0.1, 0.2), **fields))
    assert alone.replica_s == pytest.approx(2 * 30 + 2 * 29)
    made = [service(100.0, 30.0, name=name, **fields) for name in "ab"]
    assert [one.replica_s for one in run(*made, most_replicas=5).services] == pytest.approx([60 + 29, 60])


# --- what goes wrong ------------------------------------------------------------------------------------------------


def test_half_the_replicas_die_and_others_come():
    found = run(service(1200.0, 40.0, count=4), faults=[Fault(10, "kill", 0.5)])
    ready, missed = found.timeline.ready, found.timeline.missed
    assert ready[8:19] == [4, *[2] * 8, 4, 4]
    assert sum(missed[:9]) < 5
    assert sum(missed[10:18]) > 0
    assert sum(missed[20:]) < 5
    # Theirs were tried once more elsewhere.
    assert found.outcomes.get("replica_lost", 0) == 0


def test_all_of_them_die():
    found = run(service(200.0, 40.0, count=2), faults=[Fault(10, "kill", 1.0)])
    assert found.outcomes["ok"] + found.outcomes.get("shed", 0) == found.offered
    assert found.timeline.ready[10:17] == [0] * 7
    assert found.timeline.ready[-1] == 2


def test_one_that_stands_still_gets_no_more_and_its_requests_go_elsewhere():
    found = run(service(600.0, 30.0, count=3), faults=[Fault(10, "freeze", 0.3, 5)])
    assert found.missed_share < 0.01
    assert found.outcomes["ok"] > 0.995 * found.offered


def test_all_stand_still():
    found = run(service(600.0, 30.0, count=3), faults=[Fault(10, "freeze", 1.0, 5)])
    missed = found.timeline.missed
    assert sum(missed[11:14]) == sum(found.timeline.offered[11:14])
    assert sum(missed[18:]) < 5


def test_starts_that_fail_are_tried_again_ever_more_slowly():
    found = run(service(50.0, 100.0, start_replicas=1, policy="fixed:3"), faults=[Fault(0, "start", for_s=40)])
    assert set(found.timeline.ready[:40]) == {1}
    assert found.timeline.ready[-1] == 3


def test_whoever_waits_to_be_tried_again_and_is_let_go_keeps_nobody_from_starting():
    policy = "schedule:0 * * * *=1;1 * * * *=3;2 * * * *=1;3 * * * *=4"
    made = service(20.0, 240.0, start_replicas=1, policy=policy, bounds=BOUNDS)
    found = run(made, faults=[Fault(50, "start", for_s=69)])
    assert (found.timeline.ready[110], found.timeline.wanted[110]) == (1, 3)
    assert (found.timeline.ready[-1], found.timeline.wanted[-1]) == (4, 4)


def test_metrics_that_stop_leave_the_count_as_it_is():
    trace = steps((20, 100.0), (30, 900.0))
    found = run(service(trace=trace, start_replicas=1, policy="budget", bounds=BOUNDS),
                faults=[Fault(19.5, "metrics", for_s=15)])  # fmt: skip
    assert len(set(found.timeline.wanted[20:34])) == 1
    assert max(found.timeline.wanted) > 1


@pytest.mark.parametrize("fault", [Fault(1, "flood"), Fault(1, "kill", 1.0, service="nobody")])
def test_faults_that_make_no_sense(fault):
    with pytest.raises(UserError, match="fault"):
        run(service(), faults=[fault])


def test_policies_that_make_no_sense():
    with pytest.raises(UserError, match="did you mean"):
        run(service(policy="budgit"))


# --- room -----------------------------------------------------------------------------------------------------------


class Few(Unlimited):
    """Room for `most` replicas; who waits gets it when another goes."""

    def __init__(self, most):
        self.left, self.waiting, self.placed = most, [], []

    def begin(self, host, now):
        self.host = host

    def ask(self, replica, service, now):
        if self.left:
            self.left -= 1
            self.placed.append(replica)
            return True
        self.waiting.append(replica)
        return False

    def release(self, replica, now):
        if replica in self.waiting:
            self.waiting.remove(replica)
            return
        self.placed.remove(replica)
        self.left += 1
        if self.waiting:
            following = self.waiting.pop(0)
            self.left -= 1
            self.placed.append(following)
            self.host.granted(following, now)


def test_replicas_wait_for_room_and_cost_nothing_until_then():
    room = Few(2)
    found = simulate(Scenario([service(100.0, 30.0, start_replicas=1, policy="fixed:4")]), room=room).services[0]
    assert found.timeline.ready[-1] == 2
    assert len(room.waiting) == 2
    assert found.replica_s == pytest.approx(30 + 29)


def test_a_node_that_fails_kills_its_replicas():
    room = Few(9)
    scenario = Scenario([service(300.0, 30.0, count=3)])
    began = room.begin

    def begin(host, now):
        began(host, now)
        host.at(10.0, lambda now: host.node_lost(room.placed[:2], now))

    room.begin = begin
    found = simulate(scenario, room=room).services[0]
    assert found.timeline.ready[9:20] == [3, *[1] * 8, 3, 3] or found.timeline.ready[10:17] == [1] * 7
    assert sum(found.outcomes.values()) == found.offered


def test_several_services_share_what_there_is():
    made = [service(900.0, 40.0, name=name, policy="budget", start_replicas=1, bounds=Bounds(1, 8, 0.1, 0.2),
                    priority=priority) for name, priority in (("a", 0), ("b", 1))]  # fmt: skip
    found = run(*made, most_replicas=4)
    wanted = [one.timeline.wanted for one in found.services]
    assert max(a + b for a, b in zip(*wanted, strict=True)) <= 4
    assert found.services[1].missed_share < found.services[0].missed_share
    assert min(wanted[0]) >= 1


# --- what is told ---------------------------------------------------------------------------------------------------


def test_progress_goes_from_0_to_1():
    heard = []
    simulate(Scenario([service(50.0, 100.0)]), heard.append)
    assert heard == sorted(heard)
    assert 0 < heard[0] < 0.05
    assert 0.95 < heard[-1] <= 1
