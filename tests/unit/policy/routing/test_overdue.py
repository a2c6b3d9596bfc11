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


def fallen_silent(**settings):
    """Suspect since 1.031, and all that was out has been answered elsewhere."""
    overdue = Overdue(**settings)
    overdue.sent("a", 0.010, now=1.000)
    assert overdue.suspect(1.031)
    overdue.ended("a", 1.035, answered=False)
    return overdue


def probes(overdue, since, until):
    """When the host would ask for a sign of life, looking each 10 ms."""
    times = [since + step * 0.01 for step in range(int((until - since) * 100))]
    return [round(now, 2) for now in times if overdue.probe(now)]


def test_a_suspect_gets_no_request_and_is_probed_ever_more_rarely():
    overdue = fallen_silent(probe_s=1.0)
    assert probes(overdue, 1.04, 70.0) == pytest.approx([2.04, 4.04, 8.04, 16.04, 32.04, 48.04, 64.04], abs=0.02)
    assert overdue.suspect(70.0)
    overdue.alive(70.5)  # the last one, at last
    assert not overdue.suspect(70.5)


def test_while_a_request_is_out_its_answer_is_the_sign_of_life():
    overdue = Overdue(probe_s=1.0)
    overdue.sent("a", 0.010, now=1.000)
    assert probes(overdue, 1.0, 5.0) == []
    overdue.ended("a", 5.0, answered=False)  # its deadline
    assert probes(overdue, 5.0, 5.5) == [5.0]


def test_an_answer_after_all_ends_the_probing():
    overdue = fallen_silent(probe_s=0.25)
    assert probes(overdue, 1.04, 2.0) == pytest.approx([1.29, 1.79], abs=0.02)
    overdue.sent("all are silent, so it got one", 0.010, 2.0)
    overdue.ended("all are silent, so it got one", 2.010)
    assert not overdue.suspect(2.010)
    assert probes(overdue, 2.02, 9.0) == []


def test_a_process_that_lives_while_its_model_hangs_gets_one_request_at_a_time():
    overdue = fallen_silent(probe_s=0.25)
    assert overdue.probe(1.30)
    overdue.alive(1.31)
    assert not overdue.suspect(1.32)
    overdue.sent("trial", 0.010, 1.32)
    assert overdue.suspect(1.321)  # the next one goes elsewhere
    assert overdue.suspect(1.36)
    overdue.ended("trial", 1.36, answered=False)
    assert overdue.suspect(1.36)
    assert probes(overdue, 1.36, 4.0) == pytest.approx([1.85, 2.85], abs=0.02)  # the patience goes on growing


def test_after_the_trial_was_answered_all_is_as_before():
    overdue = fallen_silent(probe_s=0.25)
    assert overdue.probe(1.30)
    overdue.alive(1.31)
    overdue.sent("trial", 0.010, 1.32)
    overdue.ended("trial", 1.33)
    for name in "bcd":
        overdue.sent(name, 0.010, 1.34)
        assert not overdue.suspect(1.34)
    assert overdue.suspect(1.40)
    for name in "bcd":
        overdue.ended(name, 1.40, answered=False)
    assert probes(overdue, 1.40, 2.0) == pytest.approx([1.62], abs=0.04)  # the patience is back to a quarter second


def test_a_sign_of_life_is_no_news_of_one_that_is_well():
    overdue = Overdue()
    overdue.alive(1.0)
    overdue.sent("a", 0.010, 1.0)
    overdue.sent("b", 0.010, 1.0)
    assert not overdue.suspect(1.001)
