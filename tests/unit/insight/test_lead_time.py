"""How long starts take, from those that were seen."""

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.scaling import LeadTime
from plimsoll.insight.lead_time import LeadTimes, NodeWaits


def test_the_prior_holds_until_a_first_start():
    assert LeadTimes().estimate() == LeadTime(2.0, 3.0)
    assert LeadTimes(8.0, 11.0).estimate() == LeadTime(8.0, 11.0)
    learned = LeadTimes(8.0, 11.0)
    learned.ready("a", 0.2)
    assert learned.estimate() == LeadTime(0.2, 0.25)


def test_median_and_ninetieth_percentile():
    learned = LeadTimes()
    for tenth in range(1, 11):
        learned.ready("a", tenth / 10)
    assert learned.estimate() == LeadTime(0.55, 0.9)


def test_only_the_last_fifty_count():
    learned = LeadTimes()
    for _ in range(100):
        learned.ready("a", 60.0)
    for _ in range(50):
        learned.ready("a", 1.0)
    assert learned.estimate() == LeadTime(1.0, 1.0)


def test_a_new_revision_starts_like_the_last_until_it_was_seen_to():
    learned = LeadTimes()
    learned.ready("a", 1.0)
    learned.failed("b")
    assert learned.estimate() == LeadTime(1.0, 1.25, failed=1)
    learned.ready("b", 4.0)
    assert learned.estimate() == LeadTime(4.0, 5.0)
    assert learned.starts == 1


def test_failures_in_a_row_of_one_revision():
    learned = LeadTimes()
    for _ in range(3):
        learned.failed("a")
    assert learned.estimate().failed == 3
    learned.failed("b")
    assert learned.estimate().failed == 1
    learned.ready("b", 1.0)
    assert learned.estimate().failed == 0


@given(st.lists(st.floats(-1.0, 1e6, allow_nan=False), max_size=120))
def test_the_estimate_is_always_ordered_and_among_what_was_seen(seconds):
    learned = LeadTimes()
    for one in seconds:
        learned.ready("a", one)
    found = learned.estimate()
    assert 0 <= found.start_s <= found.start_p90_s
    if seconds:
        assert found.start_s <= max(*seconds[-50:], 0.0)


def test_replicas_that_find_room_at_once_wait_for_nothing():
    waits = NodeWaits()
    assert waits.estimate() == (0.0, 0.0)
    for seconds in (0.0, 1.0, 0.4):
        waits.placed(seconds)
    assert waits.estimate() == (0.0, 0.0)


def test_one_that_no_node_has_room_for_is_taken_to_wait_as_long_as_a_node_takes():
    waits = NodeWaits()
    assert waits.estimate([5.0], prior_s=180.0) == (180.0, 180.0)
    assert waits.estimate([200.0], prior_s=180.0) == (200.0, 200.0)
    waits.placed(140.0)
    assert waits.estimate() == (140.0, 140.0)


def test_where_one_in_ten_waits_the_90th_percentile_is_none_and_where_two_do_it_is_theirs():
    waits = NodeWaits()
    for seconds in (*[0.0] * 9, 120.0):
        waits.placed(seconds)
    assert waits.estimate() == (0.0, 0.0)
    waits.placed(100.0)
    assert waits.estimate() == (0.0, 100.0)
    for _ in range(20):
        waits.placed(0.0)
    assert waits.estimate() == (0.0, 0.0), "what was long ago says nothing"
