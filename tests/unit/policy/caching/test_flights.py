"""Ten who ask the same: one computes. What befalls the leader, as timelines."""

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.outcome import Outcome
from plimsoll.policy.caching import Landing, SingleFlight, landing


def ten(flights, key="k"):
    return [flights.join(key, f"r{number}") for number in range(10)]


def test_ten_same_requests_in_flight_compute_once():
    flights = SingleFlight()
    assert ten(flights) == [True] + [False] * 9
    assert flights.join("another", "x")
    assert flights.followers("k") == 9

    assert flights.done("k") == [f"r{number}" for number in range(1, 10)]

    assert len(flights) == 1
    assert flights.done("k") == []
    assert flights.join("k", "later")


def test_a_leader_whose_client_left_hands_over_to_the_one_who_waits_longest():
    flights = SingleFlight()
    ten(flights)
    assert flights.leave("k", "r0") == "r1"
    assert not flights.join("k", "r10")
    assert flights.done("k") == [f"r{number}" for number in range(2, 11)]


def test_a_leader_that_failed_hands_over_until_nobody_is_left():
    flights = SingleFlight()
    ten(flights)
    assert [flights.promote("k") for _ in range(10)] == [f"r{number}" for number in range(1, 10)] + [None]
    assert len(flights) == 0
    assert flights.promote("k") is None


def test_a_follower_whose_own_deadline_passed_leaves_alone():
    flights = SingleFlight()
    ten(flights)
    assert flights.leave("k", "r4") is None
    assert flights.leave("k", "r4") is None  # twice harms nobody
    assert flights.leave("k", "stranger") is None
    assert flights.leave("other", "r0") is None
    assert flights.leave("k", "r0") == "r1"
    assert flights.done("k") == ["r2", "r3", "r5", "r6", "r7", "r8", "r9"]


def test_the_last_one_out_ends_the_flight():
    flights = SingleFlight()
    flights.join("k", "a")
    assert flights.leave("k", "a") is None
    assert len(flights) == 0
    assert flights.join("k", "b")


def test_a_leader_that_asks_again_still_leads():
    flights = SingleFlight()
    assert flights.join("k", "a")
    flights.join("k", "b")
    assert flights.join("k", "a")
    assert flights.done("k") == ["b"]


@pytest.mark.parametrize(
    ("outcome", "may_share", "becomes"),
    [
        (Outcome.OK, True, Landing.SHARE),
        (Outcome.OK, False, Landing.RELEASE),  # set-cookie, no-store: for one client
        (Outcome.CANCELLED, False, Landing.PROMOTE),
        (Outcome.EXPIRED, False, Landing.PROMOTE),
        (Outcome.SHED, False, Landing.PROMOTE),
        (Outcome.REPLICA_LOST, False, Landing.PROMOTE),  # a poison body meets one replica after the other, not ten
        (Outcome.NO_REPLICA, False, Landing.RELEASE),  # each is held, or refused, in its own right
        (Outcome.MODEL_ERROR, False, Landing.RELEASE),
        (Outcome.INVALID, False, Landing.RELEASE),
        (Outcome.DEGRADED, True, Landing.RELEASE),  # each has its own fallback
    ],
)
def test_what_becomes_of_followers(outcome, may_share, becomes):
    assert landing(outcome, may_share) is becomes


@given(st.lists(st.tuples(st.sampled_from(["join", "leave", "promote", "done"]), st.integers(0, 6)), max_size=100))
def test_nobody_is_forgotten_and_each_flight_has_one_leader(steps):
    flights, leader, waiting = SingleFlight(), None, []
    freed = Counter()
    for act, who in steps:
        if act == "join" and who not in waiting and who != leader:
            leads = flights.join("k", who)
            assert leads == (leader is None)
            if leads:
                leader = who
            else:
                waiting.append(who)
        elif act == "leave":
            got = flights.leave("k", who)
            if who == leader:
                leader = waiting.pop(0) if waiting else None
                assert got == leader
            else:
                assert got is None
                waiting = [each for each in waiting if each != who]
        elif act == "promote" and leader is not None:
            leader = waiting.pop(0) if waiting else None
            assert flights.promote("k") == leader
        elif act == "done":
            assert flights.done("k") == waiting
            freed.update(waiting)
            leader, waiting = None, []
        assert flights.followers("k") == len(waiting)
        assert len(flights) == (leader is not None)
