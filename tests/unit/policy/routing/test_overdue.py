"""A frozen replica as one gateway sees it, told as timelines. Predicted is 10 ms throughout, so due is after 30."""

from math import inf

import pytest

from plimsoll.policy.routing import Overdue


def test_a_request_out_three_times_too_long_makes_its_replica_suspect_until_it_answers():
    overdue = Overdue()
    overdue.sent("a", 0.010, now=1.000)
    overdue.sent("b", 0.010, now=1.005)
    assert overdue.next_due() == pytest.approx(1.030)
    assert not overdue.suspect(1.029)
    assert overdue.overdue(1.029) == []
    assert overdue.suspect(1.031)
    assert overdue.overdue(1.031) == ["a"]
    assert overdue.overdue(1.034) == []  # told once
    assert overdue.overdue(1.036) == ["b"]
    assert overdue.suspect(5.0)  # as long as they are out
    overdue.ended("b", 5.0)
    assert not overdue.suspect(5.0)
    assert not overdue.suspect(9.0)  # "a" has been overdue once: no news
    assert overdue.next_due() == inf


def test_ordinary_traffic_suspects_nobody():
    overdue = Overdue()
    for i in range(1000):
        now = i * 0.010
        overdue.sent(i, 0.010, now)
        if i >= 2:
            overdue.ended(i - 2, now)  # each takes 20 ms
        assert not overdue.suspect(now)
        assert overdue.overdue(now) == []
    assert len(overdue) == 2


def test_nothing_is_overdue_sooner_than_the_floor():
    overdue = Overdue()
    overdue.sent("fast", 0.0005, now=1.0)
    assert not overdue.suspect(1.019)
    assert overdue.suspect(1.021)


def test_nothing_is_overdue_where_nothing_could_be_predicted():
    overdue = Overdue()
    overdue.sent("first", inf, now=1.0)
    assert not overdue.suspect(1e6)
    assert overdue.next_due() == inf


def test_a_later_request_may_be_due_first():
    overdue = Overdue()
    overdue.sent("long", 1.0, now=1.0)
    overdue.sent("short", 0.010, now=1.0)
    assert overdue.next_due() == pytest.approx(1.030)
    assert overdue.overdue(1.040) == ["short"]
    assert overdue.next_due() == pytest.approx(4.0)


def test_one_that_answers_others_is_late_with_one_and_not_suspect():
    overdue = Overdue()
    overdue.sent("stuck", 0.010, now=1.000)
    overdue.sent("later", 0.010, now=1.020)
    overdue.ended("later", 1.032)  # past the stuck one's time, before anybody looked
    assert not overdue.suspect(1.033)
    assert overdue.overdue(1.033) == ["stuck"]  # it may be sent elsewhere all the same


def test_an_overdue_request_that_ends_before_it_was_told_is_not_told():
    overdue = Overdue()
    overdue.sent("a", 0.010, now=1.0)
    assert overdue.suspect(1.050)
    overdue.ended("a", 1.051)
    assert overdue.overdue(1.051) == []
    assert len(overdue) == 0


def test_a_deadline_before_three_times_the_prediction_is_when_it_is_due():
    overdue = Overdue()
    overdue.sent("a", 0.040, now=1.0, deadline=1.100)  # three times would be 120 ms
    assert not overdue.suspect(1.099)
    overdue.ended("a", 1.101, answered=False)  # given up at its deadline, and nobody had looked
    assert overdue.suspect(1.101)


@pytest.mark.parametrize("deadline", [1.001, 1.0, -5.0])
def test_a_deadline_that_nobody_could_keep_accuses_nobody(deadline):
    overdue = Overdue()
    overdue.sent("a", 0.040, now=1.0, deadline=deadline)
    assert not overdue.suspect(1.039)
    overdue.ended("a", 1.010, answered=False)
    assert not overdue.suspect(2.0)


def test_cancelled_requests_accuse_nobody():
    overdue = Overdue()
    overdue.sent("a", 0.010, now=1.0)
    overdue.ended("a", 1.010, answered=False)
    assert not overdue.suspect(2.0)


def test_a_suspect_that_has_nothing_left_to_answer_is_probed_ever_more_rarely():
    overdue = Overdue(probe_s=1.0)
    now, gaps = 1.0, []
    for probe in range(7):
        overdue.sent(probe, 0.010, now)
        assert overdue.suspect(now + 0.031)
        overdue.ended(probe, now + 0.040, answered=False)  # another replica answered it
        asked = now + 0.040
        while overdue.suspect(asked):
            asked += 0.01
        gaps.append(round(asked - now))
        now = asked
    assert gaps == [1, 2, 4, 8, 16, 16, 16]
    overdue.sent("good", 0.010, now)
    overdue.ended("good", now + 0.010)
    assert not overdue.suspect(now + 0.010)
    overdue.sent("again", 0.010, now + 1)
    assert overdue.suspect(now + 1.031)
    overdue.ended("again", now + 1.040, answered=False)
    assert not overdue.suspect(now + 2.1)  # the patience is back to a second


def test_a_probe_is_one_request():
    overdue = Overdue()
    overdue.sent("a", 0.010, now=1.0)
    assert overdue.suspect(1.031)
    overdue.ended("a", 1.040, answered=False)
    assert not overdue.suspect(2.1)
    overdue.sent("probe", 0.010, now=2.1)
    assert overdue.suspect(2.1)
