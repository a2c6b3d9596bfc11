"""Failing and slow replicas among their peers, told as timelines. Three replicas, 100 requests/s each."""

import pytest

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import Health, Outliers, OutlierSettings

OK, LOST, FAILED = Outcome.OK, Outcome.REPLICA_LOST, Outcome.MODEL_ERROR


def fleet(count=3, **settings):
    outliers = Outliers(OutlierSettings(**settings))
    outliers.keep("abcdefgh"[:count])
    return outliers


def traffic(outliers, start, seconds, took=None, names="abc", outcome=OK):
    """Each of `names` answers every 10 ms, in 10 ms or what `took` says. The end."""
    now = start
    for step in range(int(seconds * 100)):
        now = start + step / 100
        for name in names:
            outliers.observe(name, outcome, (took or {}).get(name, 0.010), now)
    return now + 0.01


def usable(outliers, now, outstanding=0, names="abc"):
    return "".join(name for name in names if outliers.usable(name, now, outstanding))


def test_connections_lost_in_a_row_cost_the_replica_its_place_at_once():
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    assert outliers.quiet
    assert [outliers.observe("b", LOST, 0.001, now) for _ in range(4)] == [False, False, True, True]
    (change,) = outliers.changes()
    assert (change.replica, change.health, change.for_s) == ("b", Health.EJECTED, 1.0)
    assert "3 requests in a row" in change.reason
    assert usable(outliers, now + 0.99) == "ac"
    assert usable(outliers, now + 1.0) == "abc"


def test_an_answer_between_starts_the_row_anew():
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    for _ in range(10):
        outliers.observe("b", LOST, 0.001, now)
        outliers.observe("b", LOST, 0.001, now)
        outliers.observe("b", OK, 0.010, now)
    assert outliers.quiet


def test_probation_is_one_request_at_a_time_until_five_went_well():
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    for _ in range(3):
        outliers.observe("b", LOST, 0.001, now)
    outliers.changes()
    now += 1.0
    for _ in range(5):
        assert outliers.usable("b", now, 0)
        assert not outliers.usable("b", now, 1)
        assert outliers.health("b", now) is Health.PROBATION
        outliers.observe("b", OK, 0.010, now)
    assert outliers.usable("b", now, 7)
    assert outliers.quiet
    assert [change.health for change in outliers.changes()] == [Health.WELL]


def test_each_time_it_is_out_for_twice_as_long_up_to_a_minute_and_in_the_end_forgiven():
    outliers = fleet()
    now, out_s = traffic(outliers, 0.0, 1.0), []
    for _ in range(3):
        outliers.observe("b", LOST, 0.001, now)
    for _ in range(9):
        (change,) = outliers.changes()
        out_s.append(change.for_s)
        now += change.for_s
        assert outliers.usable("b", now, 0)
        outliers.observe("b", FAILED, 0.001, now)
    assert out_s == [1, 2, 4, 8, 16, 32, 60, 60, 60]
    now += 60.0
    outliers.changes()
    now = traffic(outliers, now, 61.0)  # probation, and a minute well
    for _ in range(3):
        outliers.observe("b", LOST, 0.001, now)
    assert outliers.changes()[-1].for_s == 1.0


def test_what_was_under_way_at_the_ejection_counts_for_nothing():
    outliers = fleet()
    now = traffic(outliers, 0.0, 1.0)
    for _ in range(20):
        outliers.observe("b", LOST, 0.001, now)
    assert len(outliers.changes()) == 1
    outliers.observe("b", OK, 0.001, now + 0.1)
    assert not outliers.usable("b", now + 0.2, 0)


def test_one_that_fails_everything_is_out_after_eight():
    outliers = fleet()
    now = traffic(outliers, 0.0, 20.0)
    seen = [outliers.observe("b", FAILED, 0.001, now) for _ in range(8)]
    assert seen.index(True) == 7
    assert "its peers 0%" in outliers.changes()[0].reason


def test_one_that_fails_every_third_is_far_above_its_peers():
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    for step in range(2000):
        now += 0.005
        for name in "ac":
            outliers.observe(name, OK, 0.010, now)
        outliers.observe("b", OK if step % 5 >= 2 else FAILED, 0.010, now)
        if not outliers.quiet:
            break
    assert outliers.changes()[0].replica == "b"
    assert usable(outliers, now) == "ac"


@pytest.mark.parametrize("every", [1, 2, 3])
def test_where_all_fail_the_model_is_to_blame(every):
    outliers = fleet()
    now = traffic(outliers, 0.0, 5.0)
    for step in range(1000):
        now += 0.01
        for name in "abc":
            outliers.observe(name, FAILED if step % every == 0 else OK, 0.010, now)
    assert outliers.quiet, outliers.changes()


@pytest.mark.parametrize(
    "outcome", [Outcome.SHED, Outcome.EXPIRED, Outcome.INVALID, Outcome.CANCELLED, Outcome.TOO_LARGE]
)
def test_to_shed_is_no_fault(outcome):
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    traffic(outliers, now, 5.0, names="b", outcome=outcome)
    assert outliers.quiet


def test_one_that_takes_four_times_as_long_is_out_within_two_seconds():
    outliers = fleet()
    now = traffic(outliers, 0.0, 5.0)
    now = traffic(outliers, now, 2.0, {"b": 0.040})
    (change,) = outliers.changes()
    assert change.replica == "b"
    assert change.reason == "answers in 40 ms, its peers in 10"


@pytest.mark.parametrize("took", [{"b": 0.025}, {"a": 0.040, "b": 0.040, "c": 0.040}])
def test_somewhat_slower_or_all_slower_is_no_outlier(took):
    outliers = fleet()
    now = traffic(outliers, 0.0, 5.0)
    traffic(outliers, now, 5.0, took)
    assert outliers.quiet


def test_a_millisecond_is_not_worth_a_replica():
    outliers = fleet()
    traffic(outliers, 0.0, 5.0, {"a": 0.0005, "b": 0.0045, "c": 0.0005})
    assert outliers.quiet


def test_one_terribly_slow_answer_is_an_accident():
    outliers = fleet()
    now = traffic(outliers, 0.0, 5.0)
    for _ in range(2):
        outliers.observe("b", OK, 30.0, now)
        now = traffic(outliers, now, 1.0)
    assert outliers.quiet


def test_one_that_fell_silent_is_nobodys_measure():
    """`a` stops answering; the whole load slows the other down: it is slower than `a` was, and must not go out."""
    outliers = fleet(2)
    now = traffic(outliers, 0.0, 5.0, names="ab")
    traffic(outliers, now, 5.0, {"b": 0.045}, names="b")
    assert outliers.quiet


def test_slow_on_probation_is_out_again():
    outliers = fleet()
    now = traffic(outliers, 0.0, 2.0)
    now = traffic(outliers, now, 2.0, {"b": 0.040})
    assert not outliers.quiet
    now = traffic(outliers, now, 1.5, names="ac")
    assert outliers.health("b", now) is Health.PROBATION
    outliers.changes()
    outliers.observe("b", OK, 0.040, now)
    (change,) = outliers.changes()
    assert change.for_s == 2.0
    assert "on probation" in change.reason


@pytest.mark.parametrize(("count", "out"), [(1, 0), (2, 1), (3, 1), (4, 2), (8, 4)])
def test_never_more_than_half_and_never_the_last(count, out):
    outliers = fleet(count)
    names = "abcdefgh"[:count]
    now = traffic(outliers, 0.0, 1.0, names=names)
    for name in names:
        for _ in range(5):
            outliers.observe(name, LOST, 0.001, now)
    assert len(usable(outliers, now, names=names)) == count - out


def test_those_that_stay_keep_their_record_and_those_that_go_are_forgotten():
    outliers = fleet()
    now = traffic(outliers, 0.0, 1.0)
    for _ in range(3):
        outliers.observe("b", LOST, 0.001, now)
    outliers.keep("bcd")
    assert usable(outliers, now, names="bcd") == "cd"
    outliers.changes()
    assert [outliers.observe("a", LOST, 0.001, now) for _ in range(4)] == [False] * 4
    outliers.keep("cd")
    assert outliers.quiet
    outliers.keep("bcd")
    assert usable(outliers, now, names="bcd") == "bcd"


def test_one_that_was_restarted_begins_anew():
    outliers = fleet()
    now = traffic(outliers, 0.0, 1.0)
    for _ in range(3):
        outliers.observe("b", LOST, 0.001, now)
    outliers.forgive("b")
    outliers.forgive("nobody")
    assert outliers.quiet
    assert outliers.usable("b", now, 5)


def test_counts_fade():
    """Failures of a bad minute don't add up with those of the next hour."""
    outliers = fleet()
    now = traffic(outliers, 0.0, 1.0)
    for _ in range(200):
        now = traffic(outliers, now + 30.0, 0.05)
        outliers.observe("b", FAILED, 0.001, now)
        outliers.observe("b", OK, 0.010, now)
    assert outliers.quiet
