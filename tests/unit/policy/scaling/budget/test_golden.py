"""What forecasts and scalers decide is what they decided when golden_decisions.json was kept."""

import json

import pytest
from tests.unit.policy.scaling.budget.golden import CASES, KEPT, lived

SAME = 0.998  # of the looks: past rates and errors are kept to a thousandth, and counts round up
CLOSE = 3e-3  # of a forecast
TO_AND_FRO = "starts that change"


def counts_kept(name):
    return [count for count, looks in json.loads(KEPT.read_text())[name]["counts"] for _ in range(looks)]


def others(counts, expected):
    return [second for second, (now, then) in enumerate(zip(counts, expected, strict=True)) if now != then]


@pytest.mark.parametrize("name", [name for name in CASES if name != TO_AND_FRO])
def test_decisions_are_those_that_were_kept(name):
    counts, forecasts = lived(name)
    expected = counts_kept(name)
    assert len(others(counts, expected)) <= (1.0 - SAME) * len(counts), others(counts, expected)[:20]
    assert sum(counts) == pytest.approx(sum(expected), rel=1e-3)
    assert forecasts == pytest.approx(json.loads(KEPT.read_text())[name]["forecasts"], rel=CLOSE)


def test_a_horizon_that_comes_back_costs_no_more():
    """Its track was forgotten meanwhile, and learned anew from what is kept of the last quarter of an hour."""
    counts, _ = lived(TO_AND_FRO)
    expected = counts_kept(TO_AND_FRO)
    assert len(others(counts, expected)) <= 0.05 * len(counts)
    assert sum(counts) == pytest.approx(sum(expected), rel=5e-3)
