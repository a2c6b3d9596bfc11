"""The work queue, as a timeline."""

import pytest

from plimsoll.backends.kubernetes.operator.queue import QueueSettings, WorkQueue


def test_a_key_runs_once_at_a_time_and_changes_meanwhile_make_one_more_run():
    queue = WorkQueue()
    for _ in range(3):
        queue.add("a", 0)
    assert queue.take(0) == "a"
    assert queue.take(0) is None
    queue.add("a", 1)
    queue.add("a", 1)
    assert queue.take(1) is None, "it is running"
    queue.done("a", 2)
    assert queue.take(2) == "a"
    queue.done("a", 3)
    assert queue.take(3) is None
    assert queue.wait_s(3) is None


def test_no_more_run_at_once_than_there_are_workers():
    queue = WorkQueue(QueueSettings(workers=2))
    for key in "abc":
        queue.add(key, 0)
    assert (queue.take(0), queue.take(0), queue.take(0)) == ("a", "b", None)
    assert queue.wait_s(0) is None, "only an end can change that"
    queue.done("a", 1)
    assert queue.wait_s(1) == 0
    assert queue.take(1) == "c"


def test_failures_wait_longer_each_time_and_news_do_not_wait():
    queue = WorkQueue(QueueSettings(first_s=1, longest_s=4))
    now, waits = 0.0, []
    queue.add("a", now)
    for _ in range(5):
        assert queue.take(now) == "a"
        queue.done("a", now, failed=True)
        waits.append(queue.wait_s(now))
        assert queue.take(now + waits[-1] - 0.01) is None
        now += waits[-1]
    assert waits == [1, 2, 4, 4, 4]
    assert queue.take(now) == "a"
    queue.done("a", now, failed=True)
    queue.add("a", now + 0.5)
    assert queue.take(now + 0.5) == "a"
    queue.done("a", now + 0.5)
    assert queue.take(now + 100) is None, "the back-off of before is forgotten"


def test_what_failed_is_looked_at_at_once_where_the_cause_is_over():
    """The API server is there again after an hour: services don't wait for the rest of their minute."""
    queue = WorkQueue(QueueSettings(first_s=1, longest_s=60))
    for _ in range(8):
        queue.add("a", 0)
        assert queue.take(0) == "a"
        queue.done("a", 0, failed=True)
    queue.add("b", 0, after_s=40)
    assert queue.wait_s(0) == 40
    queue.forgive(1)
    assert queue.take(1) == "a"
    assert queue.take(1) is None, "it waits for something else"
    queue.done("a", 1, failed=True)
    assert queue.wait_s(1) == 1, "the back-off begins anew"
    queue.forget("a")
    queue.forgive(2)
    assert queue.take(2) is None


def test_of_two_times_to_look_again_the_sooner_holds():
    queue = WorkQueue()
    queue.add("a", 0, after_s=30)
    queue.add("a", 0, after_s=10)
    queue.add("a", 0, after_s=20)
    assert queue.wait_s(0) == 10
    assert queue.take(9.9) is None
    assert queue.take(10) == "a"
    queue.done("a", 11, again_s=5)
    assert queue.wait_s(11) == 5
    queue.forget("a")
    assert queue.wait_s(11) is None


def test_a_burst_keeps_its_order():
    queue = WorkQueue(QueueSettings(workers=1000))
    keys = list(range(500))
    for key in keys + keys:
        queue.add(key, 0)
    assert len(queue) == 500
    assert [queue.take(0) for _ in keys] == keys


@pytest.mark.parametrize("again_s", [0.5, 30.0])
def test_after_a_failure_its_back_off_says_when(again_s):
    queue = WorkQueue(QueueSettings(first_s=1))
    queue.add("a", 0)
    queue.take(0)
    queue.done("a", 0, failed=True, again_s=again_s)
    assert queue.wait_s(0) == 1


def test_who_leads_no_more_forgets_what_waited():
    queue = WorkQueue()
    queue.add("a", 0)
    queue.add("b", 0, after_s=5)
    queue.clear()
    assert queue.take(100) is None
