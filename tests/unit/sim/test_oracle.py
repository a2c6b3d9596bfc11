"""The oracle's bound against every plan there is, on instances small enough to try them all."""

from itertools import pairwise, product

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.sim.oracle import node_oracle, oracle


def best_of_all(counts, *, capacity, cold_s, lost_most, least=0, most=6, ready=None):
    """The least cost over every number of replicas in every step of 1 s, by a programme over (replicas, requests lost
    so far): each step's requests are served in it or lost. The first replicas are free to be there."""
    costs = {(q, 0): 0.0 for q in range(least, (most if ready is None else ready) + 1)}
    for step, count in enumerate(counts):
        after = {}
        for (before, lost), cost in costs.items():
            for q in range(least, most + 1):
                if ready is not None and q > before and step < cold_s:
                    continue
                gone = lost + max(0, count - q * capacity)
                if gone > lost_most:
                    continue
                # The first step's count is its own beginning where one may choose.
                starts = 0 if step == 0 and ready is None else max(0, q - before)
                total = cost + q + cold_s * starts
                if total < after.get((q, gone), np.inf):
                    after[q, gone] = total
        costs = after
    return min(costs.values(), default=None)


loads = st.lists(st.integers(0, 12), min_size=4, max_size=24).filter(lambda counts: sum(counts) > 10)


@settings(max_examples=80, deadline=None)
@given(loads, st.integers(0, 6), st.sampled_from([0.0, 0.01, 0.1, 0.3]), st.integers(0, 2))
def test_no_plan_is_cheaper(counts, cold_s, share, least):
    allowed = int(share * sum(counts) + 1e-9)
    found = oracle(counts, 1.0, capacity=3.0, cold_s=cold_s, late_share=allowed / sum(counts), least=least)
    best = best_of_all(counts, capacity=3, cold_s=cold_s, lost_most=allowed, least=least)
    assert found.replica_s <= best + 1e-6


@settings(max_examples=40, deadline=None)
@given(loads, st.integers(1, 5), st.integers(0, 3))
def test_no_plan_is_cheaper_that_begins_with_few(counts, cold_s, ready):
    allowed = sum(counts) // 2
    found = oracle(counts, 1.0, capacity=3.0, cold_s=cold_s, late_share=allowed / sum(counts), ready=ready)
    best = best_of_all(counts, capacity=3, cold_s=cold_s, lost_most=allowed, ready=ready)
    if best is None:
        assert found.late_share > allowed / sum(counts)
    else:
        assert found.replica_s <= best + 1e-6


def test_the_bound_is_close_where_there_are_many_steps():
    random = np.random.Generator(np.random.PCG64(17))
    print("seed 17")
    for _ in range(6):
        wave = 10 + 8 * np.sin(np.arange(150) / 12)
        counts = np.minimum(random.poisson(wave), 24)
        allowed = int(0.02 * counts.sum())
        found = oracle(counts, 1.0, capacity=4.0, cold_s=3, late_share=allowed / counts.sum())
        best = best_of_all(counts.tolist(), capacity=4, cold_s=3, lost_most=allowed)
        print(found.replica_s, best, found.gap)
        # A replica that ends inside a second is paid to its end, which the plans of whole seconds cannot do.
        assert 0.96 * best <= found.replica_s <= best


def test_full_foresight_is_exact_without_losses():
    counts = [0, 0, 30, 30, 0, 0, 0, 30, 0, 0]
    found = oracle(counts, 1.0, capacity=10.0, cold_s=1.5, late_share=0.0)
    assert found.replica_s == pytest.approx(3 * (1.5 + 2) + 3 * (1.5 + 1)), "staying for 3 s costs more than a start"
    assert found.replicas.tolist() == [0, 0, 3, 3, 0, 0, 0, 3, 0, 0]
    cheap = oracle(counts, 1.0, capacity=10.0, cold_s=20.0, late_share=0.0)
    assert cheap.replica_s == pytest.approx(3 * 8), "from the beginning, until the last request"
    assert found.gap == pytest.approx(0, abs=1e-6)


def waiting_plans(counts, *, capacity, cold_s, wait_s, lost_most, most, parts):
    """Every number of replicas in every step of 1 s, served first come first served in `parts` of a second; who waits
    longer than `wait_s` is lost. Requests come evenly over their second."""
    best = np.inf
    for plan in product(range(most + 1), repeat=len(counts)):
        cost = sum(plan) + cold_s * sum(max(0, b - a) for a, b in pairwise(plan))
        if cost >= best:
            continue
        waiting, lost = [], 0.0  # (came in which part, requests)
        for part in range(len(counts) * parts + round(wait_s * parts)):
            if part < len(counts) * parts:
                waiting.append([part, counts[part // parts] / parts])
            room = capacity * plan[min(part // parts, len(plan) - 1)] / parts
            while waiting and room > 1e-12:
                took = min(room, waiting[0][1])
                room -= took
                waiting[0][1] -= took
                if waiting[0][1] <= 1e-12:
                    waiting.pop(0)
            while waiting and (part + 1 - waiting[0][0]) / parts > wait_s + 1e-9:
                lost += waiting.pop(0)[1]
        if lost <= lost_most + 1e-9:
            best = cost
    return best


@settings(max_examples=25, deadline=None)
@given(st.lists(st.integers(0, 16), min_size=3, max_size=5).filter(lambda c: sum(c) > 5), st.sampled_from([0.0, 0.15]))
def test_no_plan_that_lets_requests_wait_is_cheaper(counts, share):
    given = {"capacity": 6.0, "cold_s": 2.0, "wait_s": 0.4}
    best = waiting_plans(counts, **given, lost_most=share * sum(counts), most=3, parts=10)
    found = oracle(counts, 1.0, **given, late_share=share, most=3)
    if best < np.inf:
        assert found.replica_s <= best + 1e-6


def day(seed=3, seconds=1800):
    random = np.random.Generator(np.random.PCG64(seed))
    return random.poisson(3000 * (1 + 0.6 * np.sin(np.arange(seconds) / 200)))


def test_more_allowed_costs_less_and_longer_starts_cost_more():
    counts = day()
    by_share = [
        oracle(counts, 1.0, capacity=580, cold_s=8, late_share=s).replica_s for s in (0, 0.001, 0.01, 0.05, 0.5)
    ]
    by_cold = [oracle(counts, 1.0, capacity=580, cold_s=cold, late_share=0.01).replica_s for cold in (0, 1, 8, 60, 600)]
    by_least = [oracle(counts, 1.0, capacity=580, cold_s=8, late_share=0.01, least=n).replica_s for n in (0, 1, 3, 9)]
    by_wait = [oracle(counts, 1.0, capacity=580, cold_s=8, late_share=0.01, wait_s=w).replica_s for w in (1.0, 0.1, 0)]
    assert by_share == sorted(by_share, reverse=True)
    assert by_share[0] > by_share[-1] * 1.5
    assert by_cold == sorted(by_cold)
    assert by_least == sorted(by_least)
    assert by_least[-1] >= 9 * len(counts)
    assert by_wait == sorted(by_wait)
    assert by_wait[1] > 0.96 * by_wait[2], "waiting 100 ms spares little"


def test_what_is_measured_in_other_units_costs_the_same():
    counts = day(seconds=600)
    one = oracle(counts, 1.0, capacity=580, cold_s=8, late_share=0.01, steps_s=(1,))
    doubled = oracle(counts * 2, 1.0, capacity=1160, cold_s=8, late_share=0.01, steps_s=(1,))
    slower = oracle(counts, 10.0, capacity=58, cold_s=80, late_share=0.01, steps_s=(10,))
    assert doubled.replica_s == pytest.approx(one.replica_s)
    assert slower.replica_s == pytest.approx(10 * one.replica_s)


def test_the_plan_is_of_the_bounds_size():
    counts = day()
    found = oracle(counts, 1.0, capacity=580, cold_s=8, late_share=0.01)
    print(found.replica_s, found.gap)
    assert 0 <= found.gap < 0.01
    assert found.replicas.sum() <= found.replica_s * (1 + found.gap) + 1
    assert found.replicas.max() <= -(-counts.max() // 580)
    assert counts.sum() / 580 * 0.99 < found.replica_s < counts.sum() / 580 * 1.2


def test_too_few_replicas_say_what_is_missed():
    counts = np.full(100, 1000)
    found = oracle(counts, 1.0, capacity=100, cold_s=8, late_share=0.01, most=5)
    assert found.late_share == pytest.approx(0.5)
    assert found.replica_s == pytest.approx(500, rel=1e-3)
    late = oracle(counts, 1.0, capacity=100, cold_s=10, late_share=0.0, ready=0)
    assert late.late_share == pytest.approx(0.1, rel=1e-3)


def test_nothing_is_free_and_a_million_fold_spike_is_bounded():
    assert oracle(np.zeros(50), 1.0, capacity=10, cold_s=8, late_share=0.01).replica_s == 0
    assert oracle(np.zeros(50), 1.0, capacity=10, cold_s=8, late_share=0.01, least=2).replica_s == 100
    spike = np.ones(300)
    spike[150] = 1e6
    found = oracle(spike, 1.0, capacity=10, cold_s=8, late_share=0.0)
    assert 1e6 / 10 <= found.replica_s <= 1e6 / 10 * 9 + 300
    assert oracle(spike, 1.0, capacity=10, cold_s=8, late_share=1.0).replica_s == pytest.approx(0, abs=1e-6)


def test_nodes_hold_several_replicas_and_take_longer():
    counts = day()
    nodes = node_oracle(counts, 1.0, capacity=580, slots=4, cold_s=8, provisioning_s=60, late_share=0.01)
    replicas = oracle(counts, 1.0, capacity=580, cold_s=8, late_share=0.01)
    assert replicas.replica_s / 4 < nodes.replica_s < replicas.replica_s


def test_wrong_numbers_are_refused():
    for wrong in ({"capacity": 0}, {"cold_s": -1}, {"late_share": -0.1}):
        with pytest.raises(ValueError, match="above 0"):
            oracle([1, 2], 1.0, **{"capacity": 1.0, "cold_s": 1.0, "late_share": 0.0, **wrong})
    with pytest.raises(ValueError, match="most 1 is below least 2"):
        oracle([1, 2], 1.0, capacity=1.0, cold_s=1.0, late_share=0.0, least=2, most=1)
