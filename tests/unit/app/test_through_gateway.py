"""How many lone requests are sent through a gateway, and how far apart."""

import pytest

from plimsoll.app.through_gateway import lone, requests_for


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


def test_who_came_while_another_was_there_does_not_count():
    taken = [(0.0, 0.5), (1.0, 0.2), (1.1, 0.4), (1.45, 0.1), (2.0, 0.3), (2.3, 0.2), (3.0, 0.1)]
    assert lone(taken, 1.0) == [0.2, 0.3, 0.2, 0.1]
    assert lone(list(reversed(taken)), 0.0) == [0.5, 0.2, 0.3, 0.2, 0.1]
