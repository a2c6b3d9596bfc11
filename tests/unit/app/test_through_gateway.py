"""How many requests are sent through a gateway, lone ones and others, and how far apart."""

import pytest

from plimsoll.app.through_gateway import lone, moderate, requests_for


@pytest.mark.parametrize(
    ("lone_s", "seconds", "count", "gap_s"),
    [
        (0.0002, 1.5, 1500, 0.001),  # never more than 1,000 a second
        (0.0002, 60.0, 1500, 0.001),  # enough is enough
        (0.01, 1.5, 30, 0.05),  # most are answered long before the next
        (0.1, 1.5, 12, 0.5),  # a few more than there is time for
        (1.0, 0.15, 0, 0.0),  # beside a second nobody sees a gateway
    ],
)
def test_lone_requests_are_alone_and_take_no_longer_than_they_may(lone_s, seconds, count, gap_s):
    assert requests_for(lone_s, seconds) == (count, pytest.approx(gap_s))


@pytest.mark.parametrize(
    ("batch_s", "lone_s", "replicas", "count", "per_s"),
    [
        (0.005, 0.006, 1, 320, 0.4 / 0.005),  # a model that takes long: 40% of what it does
        (0.0002, 0.0006, 1, 3333, 0.5 / 0.0006),  # a small one: its client and the gateway take longer than it
        (0.001, 0.0012, 2, 3200, 2 * 0.4 / 0.001),
        (0.00001, 0.0001, 4, 6000, 4 * 0.5 / 0.0001),  # enough is enough
    ],
)
def test_a_moderate_rate_leaves_the_machine_room(batch_s, lone_s, replicas, count, per_s):
    found, gap_s = moderate(batch_s, lone_s, replicas, 4.0)
    assert 1 / gap_s == pytest.approx(per_s)
    assert found == pytest.approx(count, abs=1)


def test_a_moderate_rate_of_which_too_few_would_come_is_left_out():
    """Fewer than 200 say nothing; replicas that nobody learns from need not be started."""
    assert moderate(0.030, 0.031, 1, 4.0) == (0, 0.0)
    assert moderate(0.030, 0.031, 4, 4.0) == (0, 0.0)  # 213, of which the first tenth doesn't count
    assert moderate(0.030, 0.031, 4, 5.0)[0] == 266


def test_who_came_while_another_was_there_does_not_count():
    taken = [(0.0, 0.5), (1.0, 0.2), (1.1, 0.4), (1.45, 0.1), (2.0, 0.3), (2.3, 0.2), (3.0, 0.1)]
    assert lone(taken, 1.0) == [0.2, 0.3, 0.2, 0.1]
    assert lone(list(reversed(taken)), 0.0) == [0.5, 0.2, 0.3, 0.2, 0.1]
