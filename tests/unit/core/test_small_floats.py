"""Two bytes each, to a thousandth, in order."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.small_floats import packed, packed_one, unpacked, unpacked_one

usual = st.floats(1e-6, 2e12) | st.floats(-2e12, -1e-6)


def kept(values):
    return unpacked(packed(values)).tolist()


@given(st.lists(usual, min_size=1, max_size=20))
def test_to_a_thousandth(values):
    assert kept(values) == pytest.approx(values, rel=2**-10)


@given(st.lists(usual | st.just(0.0), min_size=2, max_size=20))
def test_in_order(values):
    assert kept(sorted(values)) == sorted(kept(values))


def test_whole_numbers_up_to_a_thousand_are_exact():
    counts = [float(count) for count in range(-1024, 1025)]
    assert kept(counts) == counts


@pytest.mark.parametrize(
    ("value", "as_kept"), [(0.0, 0.0), (-0.0, 0.0), (1e-9, 0.0), (1e300, 2.2e12), (-1e300, -2.2e12)]
)
def test_at_the_ends(value, as_kept):
    assert kept([value]) == pytest.approx([as_kept], rel=2e-3, abs=1e-7)


@given(usual | st.floats(allow_nan=False, allow_infinity=False))
def test_one_alone_is_kept_like_many(value):
    assert packed_one(value) == packed([value])[0]
    assert [unpacked_one(packed_one(value))] == kept([value])


def test_two_bytes_each():
    assert packed(np.zeros((11, 900))).nbytes == 2 * 9900
