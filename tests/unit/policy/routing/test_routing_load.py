"""What a gateway knows of a replica's load, told as timelines."""

from math import inf, nan

import pytest

from plimsoll.policy.routing import ReplicaLoad


def test_a_report_works_itself_off_and_each_request_sent_adds_an_item():
    load = ReplicaLoad()
    load.report(wait_s=0.050, item_s=0.002, now=10.0)
    assert load.predicted_wait(10.0) == pytest.approx(0.050)
    assert load.predicted_wait(10.020) == pytest.approx(0.030)
    load.sent(10.020)
    load.sent(10.020)
    assert load.predicted_wait(10.020) == pytest.approx(0.034)
    assert load.outstanding == 2
    load.report(wait_s=0.010, item_s=0.002, now=10.030)  # the next one counts what others sent, and ours
    assert load.predicted_wait(10.030) == pytest.approx(0.010)


def test_an_idle_replica_gets_busy_from_the_moment_of_sending():
    load = ReplicaLoad()
    load.report(0.0, 0.002, now=10.0)
    assert load.predicted_wait(10.5) == 0.0
    load.sent(10.5)
    load.sent(10.5)
    assert load.predicted_wait(10.5) == pytest.approx(0.004)


def test_a_report_ages_out_after_a_second_to_unknown_not_to_idle():
    load = ReplicaLoad()
    assert load.predicted_wait(0.0) is None
    load.report(0.0, 0.002, now=10.0)
    assert load.predicted_wait(11.0) == 0.0
    assert load.predicted_wait(11.001) is None
    assert load.item_s == 0.002  # what it costs is known on
    load.report(0.0, 0.002, now=12.0)  # the same figures, but now they are news
    assert load.predicted_wait(12.0) == 0.0


def test_a_repeated_report_does_not_undo_what_was_sent_since():
    load = ReplicaLoad()
    load.report(0.010, 0.002, now=10.0)
    for _ in range(5):
        load.sent(10.0)
    load.report(0.010, 0.002, now=10.005)
    assert load.predicted_wait(10.005) == pytest.approx(0.015)
    load.report(0.010, 0.002, now=10.9)
    assert load.predicted_wait(11.5) is not None  # it lives


def test_silence_beyond_the_prediction_makes_the_wait_grow_again():
    load = ReplicaLoad()
    load.report(0.0, 0.002, now=10.0)
    for _ in range(5):
        load.sent(10.0)
    assert load.predicted_wait(10.010) == pytest.approx(0.0)
    assert load.predicted_wait(10.014) == pytest.approx(0.004)
    load.sent(10.014)  # a request sent doesn't hide it
    assert load.predicted_wait(10.016) == pytest.approx(0.006)
    assert load.predicted_wait(10.9) == pytest.approx(6 * 0.002)  # no more than what is out there
    for _ in range(6):
        load.ended(10.9)
    assert load.predicted_wait(10.9) == 0.0


@pytest.mark.parametrize(("wait_s", "item_s"), [(-1.0, 0.002), (nan, 0.002), (inf, 0.002), (0.01, nan), (0.01, -1.0)])
def test_nonsense_is_no_report(wait_s, item_s):
    load = ReplicaLoad()
    load.report(wait_s, item_s, now=10.0)
    assert load.predicted_wait(10.0) is None
    load.report(0.030, 0.002, now=10.0)
    load.report(wait_s, item_s, now=10.0)
    assert load.predicted_wait(10.0) == pytest.approx(0.030)


def test_the_expected_time_is_the_usual_one_or_the_wait_where_that_is_longer():
    load = ReplicaLoad()
    assert load.expected_s(10.0) == inf
    assert load.expected_s(10.0, otherwise_s=0.04) == 0.04
    for _ in range(50):
        load.sent(10.0)
        load.ended(10.0, 0.010)
    assert load.expected_s(10.0) == pytest.approx(0.010, rel=0.01)
    load.report(0.002, 0.002, now=10.0)
    assert load.expected_s(10.0) == pytest.approx(0.010, rel=0.01)
    load.report(0.100, 0.002, now=10.0)
    assert load.expected_s(10.0) == pytest.approx(0.102)
    assert load.outstanding == 0


def test_usual_covers_a_spread_and_ignores_what_was_not_answered():
    load = ReplicaLoad()
    for i in range(400):
        load.sent(10.0)
        load.ended(10.0, 0.010 if i % 2 else 0.030)
    assert load.usual_s == pytest.approx(0.040, rel=0.2)  # 20 ms, and twice 10 ms
    usual_s = load.usual_s
    load.sent(10.0)
    load.ended(10.0)
    assert load.usual_s == usual_s
