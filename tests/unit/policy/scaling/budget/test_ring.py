"""Counts are kept exactly, in as many bytes as they need."""

import numpy as np
import pytest

from plimsoll.policy.scaling.budget.ring import CountRing


@pytest.mark.parametrize(
    ("most", "bytes_each"), [(255, 1), (256, 2), (65_535, 2), (65_536, 4), (2.0**32, 8), (1e12, 8)]
)
def test_as_wide_as_the_largest_needs(most, bytes_each):
    ring = CountRing(3, np.array([1.0, 2.0]))
    assert ring.rows.itemsize == 1
    ring.put(1, np.array([7.0, most]))
    assert ring.rows.tolist() == [[1, 2], [7, most], [1, 2]]
    assert ring.rows.itemsize == bytes_each


def test_wide_from_the_first_look():
    ring = CountRing(2, np.array([1.0, 70_000.0]))
    assert ring.rows.tolist() == [[1, 70_000]] * 2
    ring.put(0, np.array([300.0, 300.0]))
    assert ring.rows.itemsize == 4
    assert len(ring) == 2
