"""A replica under Poisson load, in virtual time: a = 4 ms, c = 1.5 ms (605 items a second at the knee of 26), p99
budget 100 ms, timeout 200 ms. `pytest tests/scenarios -s` prints the table of docs/batching.md."""

from random import Random

import pytest
from tests.scenarios.harness import Replica, open_loop, poisson, request

from plimsoll.policy.batching import BatchSettings

SECONDS = 10.0
SEEDS = (1, 2, 3)


def offered(load, seed, *, until=SECONDS, **more):
    random = Random(seed)
    replica = Replica(random, a_s=0.004, c_s=0.0015, settings=BatchSettings(), **more)
    times = poisson(random, 600 * load, until)
    report = open_loop(replica, times, p99_s=0.1, timeout_s=0.2, seconds=until)
    print(f"\nseed {seed}  load {load:4}x  {report.line()}", end="")
    return report


def answered(report):
    return len(report.latencies) + report.shed + report.expired + report.refused


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [0.9, 1, 2, 3, 10])
def test_goodput_stays_at_capacity_under_any_load(load, seed):
    report = offered(load, seed)
    assert answered(report) == report.offered
    assert report.goodput >= min(560, 0.96 * report.offered / SECONDS)
    assert report.quantile(0.99) <= 0.1
    assert report.late <= 0.01 * len(report.latencies)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("load", [2, 10])
def test_batches_do_not_collapse_under_overload(load, seed):
    report = offered(load, seed)
    assert report.mean_batch >= 20
    assert sum(size < 13 for size in report.batches) <= 0.02 * len(report.batches)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("load", "p99"), [(0.2, 0.020), (0.5, 0.035)])
def test_far_below_capacity_the_tail_is_far_inside_the_budget(load, p99, seed):
    report = offered(load, seed)
    assert report.shed + report.expired + report.refused == 0
    assert report.quantile(0.99) <= p99


@pytest.mark.parametrize("seed", SEEDS)
def test_overload_with_stalls(seed):
    """3% of the batches wait 30 ms more, as for a collection: 10% of the capacity is gone, the rest is kept.
    Nobody can foresee them: heads that had just enough time are late."""
    report = offered(3, seed, stall=0.03, stall_s=0.03)
    assert report.goodput >= 500
    assert report.late <= 0.07 * len(report.latencies)


@pytest.mark.parametrize("seed", SEEDS)
def test_a_replica_that_was_not_warmed_up_learns_while_overloaded(seed):
    report = offered(3, seed, seeded=False)
    assert report.goodput >= 560


@pytest.mark.parametrize("seed", SEEDS)
def test_after_a_burst_the_tail_is_back_within_a_second(seed):
    random = Random(seed)
    replica = Replica(random, a_s=0.004, c_s=0.0015, settings=BatchSettings())
    calm = list(poisson(random, 300, 10))
    burst = [4 + when for when in poisson(random, 3000, 1)]
    late = []
    replica.on_answer = lambda one, computed: late.append(replica.now - one.arrived) if one.arrived > 5.5 else None
    report = open_loop(replica, iter(sorted(calm + burst)), p99_s=0.1, timeout_s=0.2, seconds=10)
    print(f"\nseed {seed}  burst  {report.line()}", end="")
    late.sort()
    assert late[int(0.99 * len(late))] <= 0.04


@pytest.mark.parametrize("seed", SEEDS)
def test_a_model_that_turns_slow_keeps_its_promises(seed):
    """At 5 s everything takes three times as long, so that 450/s is more than twice the capacity."""
    random = Random(seed)
    replica = Replica(random, a_s=0.004, c_s=0.0015, settings=BatchSettings())

    def slow_down():
        replica.a_s, replica.c_s = 0.012, 0.0045

    replica.at(5.0, slow_down)
    in_time, late = [], []

    def note(one, computed):
        if computed and one.arrived > 7:
            (in_time if replica.now <= one.deadline else late).append(one)

    replica.on_answer = note
    report = open_loop(replica, poisson(random, 450, 15), p99_s=0.1, timeout_s=0.2, seconds=15)
    print(f"\nseed {seed}  slow from 5 s  {report.line()}", end="")
    assert len(late) <= 0.02 * len(in_time)
    assert len(in_time) / 8 >= 0.85 * 170  # 100 ms, half the timeout, hold a batch of 19: 195/s


@pytest.mark.parametrize("seed", SEEDS)
def test_two_shapes_share_a_replica(seed):
    """Batches of one key each, three to one. Under overload the rarer key waits for longer batches of the other one and
    loses more heads to them, but it is not starved."""
    random = Random(seed)
    replica = Replica(random, a_s=0.004, c_s=0.0015, settings=BatchSettings())
    done = {"a": 0, "b": 0}

    def note(one, computed):
        done[one.key] += computed

    def arrive(key):
        replica.arrive(request("r", replica.now, p99_s=0.1, timeout_s=0.2, key=key))

    replica.on_answer = note
    for when in poisson(random, 1800, SECONDS):
        key = random.choice("aaab")
        replica.at(when, lambda key=key: arrive(key))
    replica.report.offered_s = SECONDS
    report = replica.run(until=SECONDS + 1)
    print(f"\nseed {seed}  two keys  {report.line()}  {done}", end="")
    assert report.goodput >= 560
    assert done["b"] >= 0.6 * (done["a"] + done["b"]) / 4


@pytest.mark.parametrize("seed", SEEDS)
def test_priorities_under_overload(seed):
    """A tenth of 1800/s is urgent: it is served as if alone."""
    random = Random(seed)
    replica = Replica(random, a_s=0.004, c_s=0.0015, settings=BatchSettings())
    urgent = []
    replica.on_answer = lambda one, computed: (
        urgent.append(computed and replica.now - one.arrived) if (one.priority) else None
    )
    for when in poisson(random, 1800, SECONDS):
        priority = int(random.random() < 0.1)
        replica.at(
            when,
            lambda priority=priority: replica.arrive(
                request("r", replica.now, p99_s=0.1, timeout_s=0.2, priority=priority)
            ),
        )
    replica.report.offered_s = SECONDS
    report = replica.run(until=SECONDS + 1)
    print(f"\nseed {seed}  priorities  {report.line()}", end="")
    assert report.goodput >= 540
    served = sorted(one for one in urgent if one is not False)
    assert len(served) >= 0.99 * len(urgent)
    assert served[int(0.99 * len(served))] <= 0.1
