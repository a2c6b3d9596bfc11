"""A replica that can't be reached, or lost a request, as a timeline."""

import pytest

from plimsoll.policy.routing import Reach


def test_after_each_failed_connection_it_is_left_alone_twice_as_long():
    reach, now, pauses = Reach(), 10.0, []
    for attempt in range(7):
        assert reach.unreachable(now) == (attempt == 0)  # an outage begins once
        pauses.append(reach.down_until - now)
        now = reach.down_until
    assert pauses == pytest.approx([0.05, 0.1, 0.2, 0.4, 0.8, 1.0, 1.0])
    assert reach.reached()
    assert reach.down_until <= now
    assert not reach.reached()  # no news
    assert reach.unreachable(now)
    assert reach.down_until - now == pytest.approx(0.05)


def test_a_word_of_the_controller_makes_it_worth_a_try_but_is_no_connection():
    reach = Reach()
    reach.unreachable(10.0)
    reach.unreachable(10.05)
    reach.renewed()
    assert reach.down_until <= 10.06
    assert not reach.unreachable(10.06)  # the same outage
    assert reach.down_until == pytest.approx(10.26)


def test_a_loss_is_news_once_a_second():
    reach = Reach()
    assert reach.lost(10.0)
    assert not reach.lost(10.4)
    assert reach.avoid_until == pytest.approx(11.4)
    assert reach.lost(11.5)
