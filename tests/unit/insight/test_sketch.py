import json
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.insight.sketch import BUCKETS, LogSketch


def test_nothing_observed():
    assert LogSketch().quantile(0.5) is None
    assert LogSketch().share_above(1.0) == 0.0


@given(st.lists(st.floats(1e-6, 1e5, exclude_min=True), min_size=1, max_size=200), st.floats(0, 1))
def test_quantiles_are_within_two_and_a_half_percent(values, q):
    sketch = LogSketch()
    for value in values:
        sketch.observe(value)
    true = sorted(values)[int(q * (len(values) - 1))]
    assert sketch.quantile(q) == pytest.approx(true, rel=0.025)
    assert sketch.count == len(values)


def test_values_outside_the_range_are_counted_at_its_ends():
    sketch = LogSketch()
    for value in (0.0, -3.0, 1e-9, float("nan"), 1e9, float("inf")):
        sketch.observe(value)
    assert sketch.count == 6
    assert sketch.quantile(0.0) == 0.0
    assert sketch.quantile(1.0) == pytest.approx(1e5, rel=0.05)
    assert len(sketch.counts) == BUCKETS


def test_merging_is_observing_both():
    random = Random(3)
    one, two, both = LogSketch(), LogSketch(), LogSketch()
    for i in range(1000):
        value = random.lognormvariate(-4, 1)
        (one if i % 3 else two).observe(value)
        both.observe(value)
    one.merge(two)
    assert one.counts == both.counts
    assert one.count == both.count
    assert one.total == pytest.approx(both.total)


def test_share_above():
    sketch = LogSketch()
    for value in (0.010, 0.020, 0.200, 0.300):
        sketch.observe(value)
    assert sketch.share_above(0.1) == 0.5


def test_goes_through_json():
    sketch = LogSketch()
    for value in (0.001, 0.001, 7.0):
        sketch.observe(value)
    again = LogSketch.from_dict(json.loads(json.dumps(sketch.to_dict())))
    assert (again.counts, again.count, again.total) == (sketch.counts, sketch.count, sketch.total)


BAD_COUNTS = ({"-1": 1}, {"9999": 1}, {"3": -1})


@pytest.mark.parametrize("bad", [{}, *({"total": 1, "counts": counts} for counts in BAD_COUNTS)])
def test_a_dict_that_is_no_sketch_is_refused(bad):
    with pytest.raises(ValueError, match="a sketch has"):
        LogSketch.from_dict(bad)
