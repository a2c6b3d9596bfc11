"""The queue's rules, one timeline each. SLOW takes 4 ms and 1.5 ms an item: 5.5 ms alone, its knee is at 26."""

import pytest

from plimsoll.core.request import Items, Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching import BatchQueue, BatchSettings

SLOW = ServiceTime(a_s=0.004, c_s=0.0015, samples=100)
UNLEARNED = ServiceTime(0.0, 0.0)


def request(name, arrived=0.0, *, target=0.1, deadline=0.2, size=1, key="k", priority=0, alone=False):
    """`target` and `deadline` count from `arrived`."""
    inputs = Items([None] * size)
    return Request(name, arrived, arrived + target, arrived + deadline, size, key, inputs, priority, alone=alone)


def queue(*requests, now=0.0, overhead_s=0.0, batch_cost_s=0.0, **settings):
    filled = BatchQueue(BatchSettings(overhead_s=overhead_s, batch_cost_s=batch_cost_s, **settings))
    for one in requests:
        filled.push(one, now)
    return filled


def many(count, **fields):
    return [request(f"r{i}", **fields) for i in range(count)]


def ids(requests):
    return [one.id for one in requests]


def test_a_free_model_never_waits():
    filled = queue(request("a"))
    poll = filled.poll(0.0, SLOW)
    assert (ids(poll.batch), poll.expired, poll.shed, poll.wake_at) == (["a"], [], [], None)
    assert (len(filled), filled.size) == (0, 0)


def test_an_empty_queue_has_nothing_to_do():
    poll = queue().poll(0.0, SLOW)
    assert (poll.batch, poll.expired, poll.shed, poll.wake_at) == ([], [], [], None)


def test_earliest_target_or_deadline_first():
    filled = queue(request("late", target=0.09), request("soon", target=0.03), request("client's", deadline=0.02))
    assert ids(filled.poll(0.0, SLOW).batch) == ["client's", "soon", "late"]


def test_higher_priority_first():
    filled = queue(request("low", priority=-1, target=0.01), request("high", priority=1), request("usual"), max_size=2)
    assert ids(filled.poll(0.0, SLOW).batch) == ["high", "usual"]
    assert ids(filled.poll(0.006, SLOW).batch) == ["low"]


def test_a_backlog_is_taken_up_to_the_knee():
    filled = queue(*many(100, target=9, deadline=10))
    assert len(filled.poll(0.0, SLOW).batch) == 26


def test_now_and_then_a_batch_goes_beyond_the_knee_to_learn():
    filled = queue(*many(2000, target=99, deadline=100))
    sizes = [len(filled.poll(i * 0.04, SLOW).batch) for i in range(64)]
    assert set(sizes) == {26, 52}
    assert sizes.count(52) == 2


def test_a_model_that_gains_nothing_from_batches_gets_them_one_by_one():
    filled = queue(*many(5))
    assert len(filled.poll(0.0, ServiceTime(0.0, 0.002, samples=9)).batch) == 1


def test_the_hop_to_the_model_counts_as_a_batchs_cost():
    filled = queue(*many(64), batch_cost_s=0.0001)
    assert len(filled.poll(0.0, ServiceTime(5e-6, 150e-6, samples=9)).batch) == 7


def test_never_more_than_max_size():
    filled = queue(*many(20), max_size=8)
    assert len(filled.poll(0.0, SLOW).batch) == 8


def test_the_first_ones_target_bounds_the_batch():
    filled = queue(*many(10), request("first", target=0.0151))
    assert len(filled.poll(0.0, SLOW).batch) == 7  # 4 + 7 x 1.5 = 14.5 ms


def test_overhead_and_spread_count_to_the_finish():
    service_time = ServiceTime(0.004, 0.0015, sd_s=0.001, samples=100)
    filled = queue(*many(10), request("first", target=0.0151), overhead_s=0.001)
    assert len(filled.poll(0.0, service_time).batch) == 5  # 15.1 - 1 - 2 x 1 ms


def test_two_batches_fit_one_budget():
    """Who comes just after a batch began waits for it and then for its own: 40 ms hold two batches of 10 (19 ms)."""
    filled = queue(*many(20, target=0.040))
    assert len(filled.poll(0.0, SLOW).batch) <= 11


def test_a_lost_target_does_not_make_the_batch_small():
    filled = queue(*many(8))
    assert len(filled.poll(0.099, SLOW).batch) == 8  # targets at 0.1 are lost, deadlines at 0.2 are not


def test_what_cannot_make_its_deadline_is_shed():
    filled = queue(request("hopeless", deadline=0.005), request("fine"))
    poll = filled.poll(0.0, SLOW)
    assert ids(poll.shed) == ["hopeless"]
    assert ids(poll.batch) == ["fine"]


def test_a_head_that_would_force_a_small_batch_is_shed_under_overload():
    filled = queue()
    for i in range(300):  # 1000 a second for 0.3 s
        filled.push(request(f"r{i}", i / 1000), i / 1000)
        if i % 50 == 0:
            filled.rate.update(i / 1000)
    poll = filled.poll(0.299, SLOW)
    assert len(poll.batch) == 24  # two of them fit four fifths of the budget
    head = poll.batch[0]
    assert head.deadline >= 0.299 + SLOW.predict(24)
    assert {r.deadline <= 0.299 for r in poll.expired} == {True}
    assert max(r.deadline for r in poll.shed) < 0.3421 + 1e-9
    assert len(poll.batch) + len(poll.expired) + len(poll.shed) + len(filled) == 300


def test_without_load_a_head_in_a_hurry_gets_its_small_batch():
    filled = queue(*many(3), request("hurry", deadline=0.008, target=0.008))
    poll = filled.poll(0.0, SLOW)
    assert ids(poll.batch) == ["hurry", "r0"]
    assert poll.shed == []


def test_a_budget_too_short_for_the_knee_still_gets_answers():
    """The knee takes 43 ms, the deadline is at 30: batches are as large as two fit in that."""
    filled = queue()
    for i in range(600):
        filled.push(request(f"r{i}", i / 2000, target=0.03, deadline=0.03), i / 2000)
        if i % 50 == 0:
            filled.rate.update(i / 2000)
    poll = filled.poll(0.3, SLOW)
    assert 5 <= len(poll.batch) <= 17


def test_expired_ones_are_answered_before_anything_runs():
    filled = queue(request("old", deadline=0.05), request("new"))
    poll = filled.poll(0.05, SLOW)
    assert ids(poll.expired) == ["old"]
    assert ids(poll.batch) == ["new"]


def test_expiry_while_the_model_is_busy():
    filled = queue(request("a", deadline=0.05), request("b", deadline=0.03, priority=-1))
    assert filled.next_expiry() == 0.03
    assert filled.expire(0.02) == []
    assert ids(filled.expire(0.04)) == ["b"]
    assert filled.next_expiry() == 0.05
    assert ids(filled.expire(0.06)) == ["a"]
    assert filled.next_expiry() is None


def test_wake_at_is_the_next_expiry_of_what_is_left():
    filled = queue(request("a"), request("b", key="other", deadline=0.3))
    assert filled.poll(0.0, SLOW).wake_at == 0.3
    forever = queue(request("a"), request("b", key="other", target=float("inf"), deadline=float("inf")))
    assert forever.poll(0.0, SLOW).wake_at is None


def test_linger_waits_for_more_and_no_longer():
    filled = queue(request("a"), linger_s=0.010)
    poll = filled.poll(0.0, SLOW)
    assert (poll.batch, poll.wake_at) == ([], 0.010)
    filled.push(request("b"), 0.004)
    assert filled.poll(0.004, SLOW).batch == []
    assert ids(filled.poll(0.010, SLOW).batch) == ["a", "b"]


def test_linger_ends_in_time_for_the_target():
    filled = queue(request("a", target=0.0085), linger_s=0.010)
    poll = filled.poll(0.0, SLOW)
    assert poll.wake_at == pytest.approx(0.003)
    assert ids(filled.poll(poll.wake_at, SLOW).batch) == ["a"]


def test_a_full_batch_and_what_a_batch_left_behind_do_not_linger():
    filled = queue(*many(10), max_size=8, linger_s=0.010)
    assert len(filled.poll(0.0, SLOW).batch) == 8
    assert len(filled.poll(0.001, SLOW).batch) == 2
    filled.push(request("next"), 0.005)
    assert filled.poll(0.005, SLOW).batch == []


def test_only_equal_keys_share_a_batch_and_none_starves():
    requests = [request(f"{'ab'[i % 2]}{i}", i / 1000, key="ab"[i % 2]) for i in range(6)]
    filled = queue(*requests)
    assert ids(filled.poll(0.01, SLOW).batch) == ["a0", "a2", "a4"]
    filled.push(request("a6", 0.011, key="a"), 0.011)
    assert ids(filled.poll(0.02, SLOW).batch) == ["b1", "b3", "b5"]
    assert ids(filled.poll(0.03, SLOW).batch) == ["a6"]


def test_a_lonely_request_runs_alone():
    filled = queue(request("a"), request("suspect", target=0.05, alone=True), request("b"))
    assert ids(filled.poll(0.0, SLOW).batch) == ["suspect"]
    assert ids(filled.poll(0.006, SLOW).batch) == ["a", "b"]


def test_a_request_of_n_items_counts_n():
    filled = queue(request("a", size=5), request("b", 0.001, size=4), request("c", 0.002, size=1), max_size=8)
    assert filled.size == 10
    assert ids(filled.poll(0.01, SLOW).batch) == ["a"]  # b doesn't fit, and c doesn't overtake it
    assert ids(filled.poll(0.02, SLOW).batch) == ["b", "c"]


def test_a_request_larger_than_max_size_runs_alone():
    filled = queue(request("huge", size=20), request("small", 0.001), max_size=8)
    assert ids(filled.poll(0.01, SLOW).batch) == ["huge"]
    assert ids(filled.poll(0.05, SLOW).batch) == ["small"]


def test_nothing_learned_takes_what_is_there_and_drops_nothing_but_the_expired():
    filled = queue(request("dead", deadline=0.01), request("hurry", deadline=0.0101), *many(9), max_size=8)
    poll = filled.poll(0.01, UNLEARNED)
    assert ids(poll.expired) == ["dead"]
    assert poll.shed == []
    assert len(poll.batch) == 8
    assert poll.batch[0].id == "hurry"


def test_cancelled_ones_are_forgotten():
    a, b = request("a"), request("b")
    filled = queue(a, b)
    assert filled.cancel(a)
    assert not filled.cancel(a)
    assert (len(filled), filled.size) == (1, 1)
    poll = filled.poll(0.0, SLOW)
    assert ids(poll.batch) == ["b"]
    assert not filled.cancel(b)


def test_drain_gives_everything_in_order():
    a, b, c = request("a", 0.002), request("b", 0.001, key="other"), request("c", priority=1)
    gone = request("gone")
    filled = queue(a, b, c, gone)
    filled.cancel(gone)
    assert ids(filled.drain()) == ["c", "b", "a"]
    assert (len(filled), filled.size, filled.drain()) == (0, 0, [])
    filled.push(request("later", 1.0), 1.0)
    assert len(filled.poll(1.0, SLOW).batch) == 1


def test_work_is_what_the_backlog_takes_in_useful_batches():
    assert queue().work_s(SLOW) == 0.0
    assert queue(*many(3)).work_s(SLOW) == pytest.approx(SLOW.predict(3))
    assert queue(*many(30)).work_s(SLOW) == pytest.approx(SLOW.predict(26) + SLOW.predict(4))


def test_the_same_request_twice_is_a_mistake():
    one = request("a")
    with pytest.raises(ValueError, match="already"):
        queue(one, one)


def test_memory_is_bounded_by_what_waits():
    """An hour's timeout, served at once; heads replaced by higher priorities; cancels behind a standing head."""
    filled = queue(request("standing", deadline=99999, target=99999, priority=-9))
    for i in range(20_000):
        filled.push(request("r", i, deadline=3600, key=i % 500), i)
        if i % 3 == 0:
            filled.cancel(next(reversed(filled._waiting.requests)))
        else:
            assert len(filled.poll(i, SLOW).batch) == 1
    lanes = [lane for level in filled._waiting.lanes._order for lane in level.lanes.values()]
    buckets = [bucket for lane in lanes for bucket in lane.buckets.values()]
    held = sum(len(bucket.heap) for bucket in buckets)
    heads = sum(len(lane.heads) for lane in lanes)
    assert max(held, len(filled._waiting._deadlines), heads) < 1500
    assert len(buckets) < 1100
    assert len(filled._waiting.lanes._shapes) < 1100
    assert len(filled) == 1


@pytest.mark.parametrize("bad", [{"max_size": 0}, {"linger_s": -1}])
def test_settings_that_make_no_sense(bad):
    with pytest.raises(ValueError, match="at least"):
        BatchSettings(**bad)
