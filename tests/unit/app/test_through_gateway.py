"""How many lone requests are sent through a gateway, and how far apart."""

import pytest

from plimsoll.app.through_gateway import requests_for


@pytest.mark.parametrize(
    ("lone_s", "seconds", "count", "gap_s"),
    [
        (0.0002, 1.5, 1500, 0.001),  # never more than 1,000 a second
        (0.0002, 60.0, 1500, 0.001),  # enough is enough
        (0.01, 1.5, 50, 0.03),  # each is answered long before the next
        (0.1, 1.5, 12, 0.3),  # a few more than there is time for
        (1.0, 0.15, 0, 0.0),  # beside a second nobody sees a gateway
    ],
)
def test_lone_requests_are_alone_and_take_no_longer_than_they_may(lone_s, seconds, count, gap_s):
    assert requests_for(lone_s, seconds) == (count, pytest.approx(gap_s))
