import weakref

from plimsoll.policy.admission import HoldQueue, deadline_after, hold_until
from plimsoll.policy.restart import Backoff


def test_held_requests_are_released_in_order():
    held = HoldQueue(max_count=10, max_bytes=100)
    for i, until in enumerate((30, 5, 20)):
        assert held.push(f"r{i}", 10, until, now=0)
    assert held.next_expiry() == 5
    assert held.release(now=6) == ["r0", "r2"]
    assert held.expire(now=6) == ["r1"]
    assert (len(held), held.bytes, held.next_expiry()) == (0, 0, None)


def test_who_names_no_deadline_waits_as_long_as_the_service_lets_it_and_has_its_timeout_after():
    assert hold_until(10.0, 10.2, None, 30.0, sent=False) == 40.0
    assert deadline_after(25.0, 10.2, None, 0.2, sent=False) == 25.2


def test_who_names_a_deadline_waits_until_then_and_has_what_is_left():
    assert hold_until(10.0, 10.2, 15.0, 30.0, sent=False) == 15.0
    assert deadline_after(12.0, 10.2, 15.0, 0.2, sent=False) == 12.2
    assert deadline_after(14.9, 10.2, 15.0, 0.2, sent=False) == 15.0


def test_what_a_replica_has_had_keeps_its_deadline():
    assert hold_until(10.0, 10.2, None, 30.0, sent=True) == 10.2
    assert deadline_after(10.1, 10.2, 15.0, 0.2, sent=True) == 10.2


def test_held_requests_expire_the_earliest_first():
    held = HoldQueue(10, 100)
    for i, until in enumerate((30, 5, 20)):
        held.push(f"r{i}", 1, until, now=0)
    assert held.expire(now=4) == []
    assert held.expire(now=20) == ["r1", "r2"]
    assert held.next_expiry() == 30


def test_holding_is_bounded_in_count_and_bytes():
    held = HoldQueue(max_count=2, max_bytes=100)
    assert held.push("a", 90, 10, now=0)
    assert not held.push("b", 11, 10, now=0)
    assert not held.push("a", 1, 10, now=0)
    assert held.push("b", 10, 10, now=0)
    assert not held.push("c", 0, 10, now=0)
    assert held.cancel("a")
    assert not held.cancel("a")
    assert held.push("c", 90, 10, now=0)
    assert not held.push("late", 0, 10, now=10)


def test_cancelled_requests_leave_nothing_behind():
    held = HoldQueue(10, 100)
    for i in range(1000):
        held.push(i, 1, 1000 - i, now=0)
        held.cancel(i)
    assert held.next_expiry() is None
    assert held.bytes == 0
    held.push("x", 1, 50, now=0)
    held.cancel("x")
    held.push("x", 1, 90, now=0)  # comes again: its first time is no longer meant
    assert held.expire(now=60) == []
    assert held.expire(now=90) == ["x"]


def test_what_left_is_not_kept_until_its_time_is_over():
    class Item:
        """A request with its body."""

    held, item = HoldQueue(max_count=10, max_bytes=100), Item()
    held.push(item, 50, until=1000.0, now=0.0)
    held.cancel(item)
    gone = weakref.ref(item)
    del item
    assert gone() is None
    assert held.expire(now=2000.0) == []


def test_backoff_doubles_to_its_cap_and_begins_anew_after_a_good_run():
    backoff = Backoff(first_s=0.5, factor=2, cap_s=4, reset_after_s=60)
    now, waits = 100.0, []
    for _ in range(5):  # dies as soon as it starts
        waits.append(backoff.next(now))
        now += waits[-1]
    assert waits == [0.5, 1, 2, 4, 4]
    assert backoff.next(now + 59) == 4
    assert backoff.next(now + 59 + 4 + 60) == 0.5
    assert backoff.next(0.0) == 1  # a clock that goes back
    backoff.reset()
    assert backoff.next(0.0) == 0.5
