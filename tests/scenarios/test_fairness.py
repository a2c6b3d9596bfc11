"""Tenants that share a replica: who floods it takes nothing from the others. `pytest -s` prints docs/admission.md's
figures."""

from random import Random

import pytest
from tests.scenarios.harness import Replica, poisson, request

from plimsoll.policy.batching import BatchSettings

SEEDS = (1, 2, 3, 4)
SLEEPY = {"a_s": 0.004, "c_s": 0.0015, "settings": BatchSettings()}
SINGLE = {"a_s": 0.00095, "c_s": 0.00012, "settings": BatchSettings(max_size=1)}  # 935/s, one after the other
WAY_S = 0.0005  # there and back, and through the servers, as every client sees it


def share(flows, seed, *, p99_s=0.1, seconds=20.0, since=0.0, replica=SLEEPY):
    """`flows`: (tenant, requests a second, weight, priority). Latencies by tenant, of who came `since` then."""
    made = Replica(Random(seed), **replica)
    latencies = {tenant: [] for tenant, *_ in flows}

    def note(one, computed):
        if computed and one.arrived >= since:
            latencies[one.tenant].append(made.now - one.arrived + WAY_S)

    made.on_answer = note
    for tenant, rate, weight, priority in flows:
        for when in poisson(Random(f"{seed}/{tenant}"), rate, seconds):  # the same whoever else comes
            fields = {"tenant": tenant, "weight": weight, "priority": priority}
            made.at(
                when,
                lambda fields=fields: made.arrive(request("r", made.now, p99_s=p99_s, timeout_s=2 * p99_s, **fields)),
            )
    made.report.offered_s = seconds
    made.run(seconds + 1)
    for tenant, served in latencies.items():
        p99_ms = quantile(served, 0.99) * 1000
        print(f"\nseed {seed}  {tenant}: {len(served) / seconds:4.0f}/s  p99 {p99_ms:5.1f} ms", end="")
    return latencies


def quantile(values, q):
    return sorted(values)[int(q * len(values))]


@pytest.mark.parametrize("seed", SEEDS)
def test_a_flood_leaves_anothers_tail_as_if_alone(seed):
    """Equal weights: each one's share is 467/s. A sends ten times that, B half of it."""
    alone = share([("B", 233, 1.0, 0)], seed, p99_s=0.05, replica=SINGLE)
    both = share([("A", 4670, 1.0, 0), ("B", 233, 1.0, 0)], seed, p99_s=0.05, replica=SINGLE)
    assert quantile(both["B"], 0.99) <= 1.2 * quantile(alone["B"], 0.99)
    assert len(both["B"]) == len(alone["B"]), "none of them was refused"
    assert len(both["A"]) + len(both["B"]) >= 0.95 * 935 * 20


@pytest.mark.parametrize("seed", SEEDS)
def test_beside_a_flood_in_large_batches_the_tail_is_two_batches_and_inside_the_budget(seed):
    """Batches of 26 take 43 ms. Who comes just after one of A's began waits for it, and then for its own: only smaller
    batches, and so less goodput for all, could spare B that."""
    both = share([("A", 3000, 1.0, 0), ("B", 150, 1.0, 0)], seed)
    assert quantile(both["B"], 0.99) <= 2 * 0.0432 + 0.005
    assert quantile(both["A"], 0.99) <= 0.1
    assert len(both["B"]) >= 0.97 * 150 * 20 * 0.95
    assert len(both["A"]) + len(both["B"]) >= 0.95 * 600 * 20


@pytest.mark.parametrize("seed", SEEDS)
def test_shares_follow_weights_under_overload(seed):
    both = share([("A", 1800, 3.0, 0), ("B", 1800, 1.0, 0)], seed)
    assert 2.5 <= len(both["A"]) / len(both["B"]) <= 3.5
    assert len(both["A"]) + len(both["B"]) >= 0.95 * 600 * 20


@pytest.mark.parametrize("seed", SEEDS)
def test_priority_goes_first_whoever_floods_below(seed):
    both = share([("flood", 3000, 100.0, 0), ("urgent", 180, 1.0, 1)], seed)
    assert quantile(both["urgent"], 0.99) <= 0.09
    assert len(both["urgent"]) >= 0.95 * 180 * 20
    assert quantile(both["flood"], 0.99) <= 0.1


@pytest.mark.parametrize("seed", SEEDS)
def test_many_small_tenants_beside_a_flood(seed):
    flows = [("flood", 1800, 1.0, 0)] + [(f"t{index}", 3, 1.0, 0) for index in range(60)]
    all_ = share(flows, seed, seconds=11.0, since=1.0)  # in the first second nobody's rate is known
    small = [seconds for tenant, served in all_.items() if tenant != "flood" for seconds in served]
    assert quantile(small, 0.99) <= 0.1
    assert len(small) >= 0.9 * 180 * 10
    assert quantile(all_["flood"], 0.99) <= 0.1
