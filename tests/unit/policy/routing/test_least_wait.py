from collections import Counter
from random import Random

import pytest

from plimsoll.policy.routing import LeastWait, ReplicaLoad


def replica(wait_s=None, item_s=0.002, outstanding=0, now=10.0):
    load = ReplicaLoad()
    if wait_s is not None:
        load.report(wait_s, item_s, now)
    else:  # tried lately, and it said nothing of its load
        load.sent(now - 0.5)
        load.ended(now - 0.5)
    load.outstanding = outstanding
    return load


def shares(candidates, now=10.0, seed=1, draws=6000):
    choose = LeastWait(Random(seed).random)
    counts = [0] * len(candidates)
    for _ in range(draws):
        counts[choose.pick(candidates, now)] += 1
    return [count / draws for count in counts]


def test_of_two_the_one_with_the_shorter_wait_whatever_is_outstanding():
    assert shares([replica(0.010, outstanding=1), replica(0.004, outstanding=5)]) == [0, 1]


def test_one_is_taken_and_none_is_an_error():
    choose = LeastWait(Random(1).random)
    assert choose.pick([replica()], 10.0) == 0
    with pytest.raises(ValueError, match="nothing to choose"):
        choose.pick([], 10.0)


def test_equal_ones_share_evenly_and_then_the_fewer_outstanding():
    for count in (2, 3, 8):
        assert shares([replica(0.0) for _ in range(count)]) == pytest.approx([1 / count] * count, abs=0.03)
    assert shares([replica(0.0, outstanding=1), replica(0.0)]) == [0, 1]


def test_every_pair_is_drawn_equally_often():
    waits = [0.004, 0.001, 0.003, 0.002]
    assert shares([replica(wait) for wait in waits]) == pytest.approx([0, 3 / 6, 1 / 6, 2 / 6], abs=0.03)


def test_a_slow_replica_must_have_a_shorter_queue():
    assert shares([replica(0.001, item_s=0.010), replica(0.006, item_s=0.002)]) == [0, 1]


@pytest.mark.parametrize("order", [1, -1])
def test_whose_items_cost_nearly_the_same_are_equals(order):
    """Else who is used more, and quicker for its warm caches, would be used still more."""
    alike = [replica(0.0, item_s=0.0015), replica(0.0, item_s=0.0009)][::order]
    assert shares(alike) == pytest.approx([1 / 2, 1 / 2], abs=0.03)
    waiting = [replica(0.0010, item_s=0.0009), replica(0.0008, item_s=0.0015)][::order]
    assert shares(waiting) == [0, 1][::order]
    slow = [replica(0.0, item_s=0.0019), replica(0.0, item_s=0.0009)][::order]
    assert shares(slow) == [0, 1][::order]


def test_an_unknown_one_is_never_idle():
    assert shares([replica(), replica(0.0)]) == [0, 1]
    assert shares([replica(), replica(0.001, outstanding=3)]) == [0, 1]
    # ... and is tried where the known one has more than an item of a queue
    assert shares([replica(), replica(0.003)]) == [1, 0]
    assert shares([replica(outstanding=4), replica(0.003)]) == [0, 1]


def test_unknown_ones_go_by_what_is_outstanding_at_the_cost_they_last_reported():
    assert shares([replica(outstanding=3), replica(outstanding=1)]) == [0, 1]
    aged = [replica(0.0, item_s=0.002, outstanding=3), replica(0.0, item_s=0.010, outstanding=1)]
    assert shares(aged, now=12.0) == [1, 0]  # 4 x 2 ms against 2 x 10 ms
    assert shares([replica(outstanding=0)] * 2) == pytest.approx([0.5, 0.5], abs=0.03)


def test_an_item_that_costs_nothing_leaves_it_to_the_count():
    assert shares([replica(0.0, item_s=0.0, outstanding=2), replica(0.0, item_s=0.0, outstanding=1)]) == [0, 1]


def test_under_little_load_a_replica_is_not_forgotten():
    """One client after the other: the known idle one is preferred, and the other is asked once a second."""
    choose = LeastWait(Random(1).random)
    a, b = ReplicaLoad(), ReplicaLoad()
    sent = Counter()
    for turn in range(100):  # ten a second
        now = turn / 10
        which = choose.pick([a, b], now)
        sent[which] += 1
        load = (a, b)[which]
        load.sent(now)
        load.report(0.0, 0.001, now + 0.002)
        load.ended(now + 0.002, 0.002)
    assert min(sent.values()) >= 8, sent
