"""Which of a service's replicas gets a request, told as timelines. Waits are what replicas reported."""

from math import inf
from random import Random

import pytest

from plimsoll.core.outcome import Outcome
from plimsoll.policy.admission import ConcurrencyLimit, LimitSettings
from plimsoll.policy.routing import Fleet, Overdue, Overloaded, Reach, ReplicaLoad

ITEM_S = 0.002


class Replica:
    def __init__(self, name):
        self.name = name
        self.load, self.reach, self.overdue = ReplicaLoad(), Reach(), Overdue()
        self.limit = None

    def reports(self, wait_s, now):
        self.load.report(wait_s, ITEM_S, now)

    def falls_silent(self, now):
        """What it had was given up; it is suspect from `now` on."""
        self.overdue.sent("lost", 0.01, now - 0.05)
        assert self.overdue.suspect(now)
        self.overdue.ended("lost", now, answered=False)

    def fills_up(self):
        """It says nothing of its load, and has as many requests as its answers bear."""
        self.limit = ConcurrencyLimit(LimitSettings(initial=4))
        for _ in range(4):
            self.load.sent(0.0)

    def __repr__(self):
        return self.name


def fleet_of(*names, draining=(), **settings):
    fleet = Fleet(Random(1).random, **settings)
    fleet.keep([Replica(name) for name in names], [Replica(name) for name in draining])
    return fleet


def picks(fleet, now, draws=60, **how):
    return {replica.name for replica in (fleet.pick(now, **how) for _ in range(draws)) if replica is not None}


def eject(fleet, name, now):
    for _ in range(3):
        fleet.outliers.observe(name, Outcome.REPLICA_LOST, 0.01, now)
    assert not fleet.outliers.quiet


# --- who is left out --------------------------------------------------------------------------------------------------


def test_who_lost_a_request_is_left_alone_for_a_second():
    fleet = fleet_of("a", "b", "c")
    fleet.ready[0].reach.lost(10.0)
    assert picks(fleet, 10.5) == {"b", "c"}
    assert picks(fleet, 11.0) == {"a", "b", "c"}


def test_better_one_that_lost_a_request_than_nobody():
    fleet = fleet_of("a", "b")
    for replica in fleet.ready:
        replica.reach.lost(10.0)
    assert picks(fleet, 10.1) == {"a", "b"}


def test_nobody_asks_one_that_does_not_let_us_connect():
    fleet = fleet_of("a", "b")
    a, b = fleet.ready
    a.reach.unreachable(10.0)
    assert picks(fleet, 10.01) == {"b"}
    b.reach.unreachable(10.01)
    assert picks(fleet, 10.02) == set()
    assert not fleet.reachable(10.02)
    assert fleet.reachable(10.05)  # the first pause is 50 ms
    assert picks(fleet, 10.05) == {"a"}


def test_a_retry_goes_elsewhere_or_back_where_nobody_else_can_be_reached():
    fleet = fleet_of("a", "b")
    a, b = fleet.ready
    assert picks(fleet, 10.0, other_than=a) == {"b"}
    b.reach.unreachable(10.0)
    assert picks(fleet, 10.01, other_than=a) == {"a"}
    fleet.keep([b])  # it is no longer there
    assert picks(fleet, 10.01, other_than=a) == set()


def test_draining_replicas_are_for_when_no_ready_one_can_be_reached():
    fleet = fleet_of("a", draining=["old"])
    assert picks(fleet, 10.0) == {"a"}
    fleet.ready[0].reach.unreachable(10.0)
    assert picks(fleet, 10.01) == {"old"}
    assert picks(fleet, 10.06) == {"a"}


def test_a_silent_one_gets_nothing_until_it_shows_life():
    fleet = fleet_of("a", "b", "c")
    a, b, c = fleet.ready
    a.falls_silent(10.0)
    assert picks(fleet, 10.0) == picks(fleet, 100.0) == {"b", "c"}
    b.reach.lost(100.0)
    c.reach.lost(100.0)
    assert picks(fleet, 100.0) == {"b", "c"}  # a slow one is better than a silent one
    assert fleet.to_probe(100.0) == [a]
    assert fleet.to_probe(100.1) == []  # asked already
    fleet.alive(a, 100.2)
    assert picks(fleet, 102.0) == {"a", "b", "c"}


def test_where_all_are_silent_somebody_gets_it():
    fleet = fleet_of("a", "b")
    for replica in fleet.ready:
        replica.falls_silent(10.0)
    assert picks(fleet, 10.0) == {"a", "b"}


def test_an_ejected_one_gets_nothing_then_one_request_at_a_time():
    fleet = fleet_of("a", "b")
    eject(fleet, "a", 10.0)
    assert picks(fleet, 10.5) == {"b"}
    assert picks(fleet, 11.1) == {"a", "b"}  # on probation
    fleet.ready[0].load.sent(11.1)
    assert picks(fleet, 11.1) == {"b"}


def test_those_without_room_are_left_out_first():
    """Not the better of two random ones and then a refusal, while a third has room."""
    fleet = fleet_of("a", "b", "c")
    for replica in fleet.ready[:2]:
        replica.fills_up()
    assert picks(fleet, 10.0) == {"c"}
    assert fleet.route(10.0, 10.0, inf) is fleet.ready[2]


def test_none_has_room():
    fleet = fleet_of("a", "b", "c")
    for replica in fleet.ready:
        replica.fills_up()
    refused = fleet.route(10.0, 10.0, inf)
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s == 1.0
    assert picks(fleet, 10.0) == {"a", "b", "c"}  # what was taken already, and lost, still goes somewhere


@pytest.mark.parametrize("trouble", ["silent", "ejected"])
def test_room_at_one_that_is_in_trouble_is_no_room(trouble):
    """It answers nothing, or fails at once, and so it always has room."""
    fleet = fleet_of("a", "b")
    a, b = fleet.ready
    if trouble == "silent":
        a.falls_silent(10.0)
    else:
        eject(fleet, "a", 10.0)
    b.fills_up()
    assert isinstance(fleet.route(10.1, 10.1, inf), Overloaded)


def test_a_single_replica_gets_everything():
    fleet = fleet_of("a")
    fleet.ready[0].reach.lost(10.0)
    fleet.ready[0].falls_silent(10.0)
    assert picks(fleet, 10.0) == {"a"}


def test_nobody():
    fleet = fleet_of()
    assert fleet.route(10.0, 10.0, inf) is fleet.pick(10.0) is None
    assert not fleet.reachable(10.0)


# --- whether anybody --------------------------------------------------------------------------------------------------


def test_what_every_queue_would_keep_beyond_the_budget_is_refused():
    fleet = fleet_of("a", "b", target_s=0.100)
    a, b = fleet.ready
    a.reports(0.150, 10.0)
    b.reports(0.130, 10.0)
    refused = fleet.route(10.0, 10.0, 60.0)
    assert isinstance(refused, Overloaded)
    assert refused.retry_after_s == pytest.approx(0.030)  # the shorter one is too late by that
    assert fleet.route(10.031, 10.031, 60.0) is b  # it has worked off so much
    assert isinstance(fleet.route(10.031, 10.000, 60.0), Overloaded)  # who came earlier has less left


def test_the_deadline_counts_where_it_is_sooner_than_the_budget():
    fleet = fleet_of("a", target_s=0.100)
    fleet.ready[0].reports(0.050, 10.0)
    assert fleet.route(10.0, 10.0, 10.060) is fleet.ready[0]
    assert isinstance(fleet.route(10.0, 10.0, 10.040), Overloaded)


def test_a_third_that_is_in_time_gets_it_where_the_better_of_two_is_not():
    fleet = fleet_of("a", "b", "c", target_s=0.100)
    for replica, wait_s in zip(fleet.ready, (0.200, 0.200, 0.010), strict=True):
        replica.reports(wait_s, 10.0)
    assert {fleet.route(10.0, 10.0, 60.0).name for _ in range(60)} == {"c"}


def test_one_of_which_nothing_is_known_is_tried():
    fleet = fleet_of("a", target_s=0.100)
    assert fleet.route(10.0, 10.0, 60.0) is fleet.ready[0]
    fleet.ready[0].reports(5.0, 10.0)
    assert isinstance(fleet.route(10.9, 10.9, 60.0), Overloaded)
    assert fleet.route(11.1, 11.1, 60.0) is fleet.ready[0]  # its word is older than a second


def test_without_a_budget_or_with_tenants_only_the_replica_refuses():
    for settings in ({"target_s": None}, {"target_s": 0.100, "shared": True}):
        fleet = fleet_of("a", **settings)
        fleet.ready[0].reports(5.0, 10.0)
        assert fleet.route(10.0, 10.0, 10.01) is fleet.ready[0]


# --- sessions ---------------------------------------------------------------------------------------------------------


def test_a_session_stays_until_its_replica_is_in_trouble_and_comes_back():
    fleet = fleet_of("a", "b", "c", "d")
    home = fleet.pick(10.0, session=b"u1")
    assert picks(fleet, 10.0, session=b"u1") == {home.name}
    home.falls_silent(10.0)
    (second,) = picks(fleet, 10.0, session=b"u1")
    assert second != home.name
    fleet.alive(home, 11.0)
    assert picks(fleet, 11.0, session=b"u1") == {home.name}


def test_a_session_leaves_a_replica_whose_queue_is_longer_than_the_budget():
    fleet = fleet_of("a", "b", "c", target_s=0.100)
    home = fleet.pick(10.0, session=b"u1")
    for replica in fleet.ready:
        replica.reports(0.0, 10.0)
    home.reports(0.099, 10.0)
    assert picks(fleet, 10.0, session=b"u1") == {home.name}
    home.reports(0.500, 10.0)
    assert home.name not in picks(fleet, 10.0, session=b"u1")


# --- second copies ----------------------------------------------------------------------------------------------------


def test_a_copy_goes_only_to_one_that_nothing_speaks_against():
    fleet = fleet_of("a", "b", "c", "d", "e")
    a, b, c, d, _ = fleet.ready
    b.falls_silent(10.0)
    c.reach.lost(10.0)
    d.fills_up()
    assert {fleet.other(a, 10.0).name for _ in range(20)} == {"e"}
    eject(fleet, "e", 10.0)
    assert fleet.other(a, 10.0) is None


def test_what_is_late_is_told_once_and_only_where_there_is_another_one():
    fleet = fleet_of("a", "b")
    a, b = fleet.ready
    a.overdue.sent("x", 0.010, 10.0)
    b.overdue.sent("y", 0.010, 10.0)
    assert list(fleet.late(10.02)) == []
    assert list(fleet.late(10.05)) == ["x", "y"]
    assert list(fleet.late(10.06)) == []
    alone = fleet_of("a")
    alone.ready[0].overdue.sent("x", 0.010, 10.0)
    assert list(alone.late(10.05)) == []
