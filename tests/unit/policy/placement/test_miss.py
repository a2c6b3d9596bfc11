from itertools import pairwise
from math import factorial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.placement import expected_miss, missed_shares


def finite_queue(load, servers, waiting):
    """M/M/n/n+k by its balance equations: the probability of a full system."""
    weights = [load**i / factorial(i) for i in range(servers + 1)]
    for _ in range(waiting):
        weights.append(weights[-1] * load / servers)
    return weights[-1] / sum(weights)


@pytest.mark.parametrize("load", [0.3, 1.0, 2.5, 4.0, 7.0, 40.0])
@pytest.mark.parametrize("patience", [0, 1, 3])
def test_agrees_with_the_balance_equations(load, patience):
    shares = missed_shares(8, load, patience)
    for servers in range(1, 9):
        assert shares[servers] == pytest.approx(finite_queue(load, servers, servers * patience), rel=1e-9, abs=1e-15)


def test_far_beyond_capacity_the_rest_is_missed():
    assert missed_shares(5, 50.0, 5.0)[5] == pytest.approx(0.9, abs=1e-3)


@given(st.floats(0, 1e9), st.floats(0, 1e9), st.floats(0, 1e3), st.integers(0, 50))
def test_a_share_that_never_rises(load, patience, spread, most):
    shares = missed_shares(most, load, patience, spread)
    assert len(shares) == most + 1
    assert all(0 <= one <= 1 for one in shares)
    assert all(before >= after for before, after in pairwise(shares))


def test_not_knowing_the_rate_makes_it_worse_at_the_edge():
    sure = expected_miss(10, [40.0], 0.154, 0.56)
    unsure = expected_miss(10, [20.0, 40.0, 60.0], 0.154, 0.56)
    assert unsure[8] > sure[8]
    assert expected_miss(3, [], 0.154, 0.56) == [1.0, 0.0, 0.0, 0.0]
    assert expected_miss(3, [0.0, -1.0], 0.154, 0.56) == [1.0, 0.0, 0.0, 0.0]
