"""Histograms as plain lists of counts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.telemetry.buckets import LATENCY_BOUNDS_S, BucketHistogram


def test_a_bound_counts_as_within_itself():
    histogram = BucketHistogram([1.0, 2.0])
    for value in (0.5, 1.0, 1.5, 2.0, 2.5, -1.0):
        histogram.observe(value)
    assert histogram.counts == [3, 2, 1]
    assert histogram.cumulative() == [("1.0", 3.0), ("2.0", 5.0), ("+Inf", 6.0)]
    assert (histogram.count, histogram.sum) == (6, 6.5)


def test_default_bounds_reach_from_half_a_millisecond_to_a_minute():
    assert (LATENCY_BOUNDS_S[0], LATENCY_BOUNDS_S[-1], len(LATENCY_BOUNDS_S)) == (0.0005, 60.0, 20)


@pytest.mark.parametrize("bounds", [[2, 1], [1, 1]])
def test_bounds_ascend(bounds):
    with pytest.raises(ValueError, match="ascend"):
        BucketHistogram(bounds)


@given(st.lists(st.floats(0, 100)))
def test_no_observation_is_lost(values):
    histogram = BucketHistogram()
    for value in values:
        histogram.observe(value)
    rows = histogram.cumulative()
    assert rows[-1] == ("+Inf", len(values))
    for bound, count in rows[:-1]:
        assert count == sum(value <= float(bound) for value in values)
