"""A trace as traffic: one draw seen as times and as counts, by the rules that docs/traces.md states."""

import os
from array import array
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.core.errors import UserError
from plimsoll.insight.traffic import Rates, Segment, Trace, constant, ramp, read_trace
from plimsoll.sim.traffic import chunks, counts, prepare
from plimsoll.sim.traffic_rates import interpolated

TRACES = Path(os.environ.get("PLIMSOLL_TRACES") or Path(__file__).resolve().parents[4] / "shared/traces")


def recorded(*times, **more):
    return Trace(times=array("d", times), **more)


def steps(*rates, period=60.0, cv=None):
    segments = [Segment(i * period, (i + 1) * period, rate, rate, cv) for i, rate in enumerate(rates)]
    return Trace(rates=Rates(segments), sampled=True)


def all_times(prepared):
    parts = list(prepared.times())
    assert all(len(part) for part in parts)
    return np.concatenate(parts) if parts else np.zeros(0)


def same_requests(prepared, step_s):
    """Times bin exactly into the counts."""
    times, found = all_times(prepared), prepared.counts(step_s)
    assert (np.diff(times) >= 0).all()
    assert (times >= 0).all()
    assert (times <= prepared.duration_s).all()
    index = np.minimum((times / step_s).astype(int), len(found) - 1)
    assert (np.bincount(index, minlength=len(found)) == found).all()
    return times


def test_recorded_times_stay_until_they_are_scaled():
    trace = recorded(0.0, 0.25, 0.5, 3.5)
    assert all_times(prepare(trace, seed=1)).tolist() == [0.0, 0.25, 0.5, 3.5]
    assert prepare(trace, seed=1).counts(1.0).tolist() == [3, 0, 0, 1]
    assert all_times(prepare(trace, speedup=2, seed=1)).tolist() == [0.0, 0.125, 0.25, 1.75]
    many = prepare(trace, scale=1000, seed=1)
    drawn = same_requests(many, 1.0)
    print("seed 1", many.counts(1.0))
    assert many.counts(1.0)[1:3].tolist() == [0, 0]
    assert abs(many.counts(1.0)[0] - 3000) < 5 * 3000**0.5
    assert abs(many.counts(1.0)[3] - 1000) < 5 * 1000**0.5
    first = drawn[drawn < 1]
    assert abs(first.mean() - 0.5) < 0.03, "anywhere in its second, not where it was recorded"


def test_the_same_seed_draws_the_same_and_another_seed_does_not():
    trace = Trace(rates=constant(50.0, 100.0))
    one, again, other = (all_times(prepare(trace, seed=seed)) for seed in (7, 7, 8))
    assert one.tolist() == again.tolist()
    assert one.tolist() != other.tolist()


@pytest.mark.parametrize("step_s", [1 / 16, 0.125, 1.0, 2.5, 0.1, 0.37, 60.0])
@pytest.mark.parametrize("cv", [None, 0.0, 0.5, 3.0])
def test_times_bin_into_the_counts_at_any_step(step_s, cv):
    same_requests(prepare(steps(20, 0, 300, 5, period=7.3, cv=cv), seed=3), step_s)


@settings(max_examples=60, deadline=None)
@given(
    st.lists(st.floats(0, 500), min_size=2, max_size=8).filter(lambda rates: sum(rates) > 1),
    st.sampled_from([None, 0.3, 1.0, 12.0]),
    st.floats(0.5, 30.0),
    st.floats(0.1, 3.0),
    st.sampled_from([0.0625, 0.3, 1.0]),
)
def test_any_rates_are_drawn_in_order_and_binned(rates, cv, speedup, scale, step_s):
    prepared = prepare(steps(*rates, period=2.0, cv=cv), speedup=speedup, scale=scale, seed=1)
    same_requests(prepared, step_s)


def test_poisson_counts_have_the_variance_of_their_mean():
    found = prepare(Trace(rates=constant(200.0, 2000.0)), seed=5).counts(1.0)
    print("seed 5", found.mean(), found.var())
    assert abs(found.mean() - 200) < 5 * (200 / 2000) ** 0.5
    assert 0.85 < found.var() / found.mean() < 1.15


@pytest.mark.parametrize(("cv", "expected"), [(3.0, 9.0), (0.0, 0.0), (40.0, 100.0)])
def test_renewals_have_the_cv_of_their_row_ten_at_most(cv, expected):
    """Variance over mean of counts goes to cv² for windows long against the gaps (renewal theory)."""
    trace = Trace(rates=Rates([Segment(0.0, 20_000.0, 100.0, 100.0, cv)]))
    times = same_requests(prepare(trace, seed=11), 1.0)
    gaps = np.diff(times)
    squared = gaps.var() / gaps.mean() ** 2
    print("seed 11", cv, squared)
    assert squared == pytest.approx(expected, rel=0.15, abs=1e-6)
    assert len(times) == pytest.approx(2_000_000, rel=0.05)


def test_a_ramp_has_its_rate_at_each_moment():
    for cv in (None, 2.0):
        trace = Trace(rates=Rates([Segment(0.0, 1000.0, 0.0, 400.0, cv)]) if cv else ramp(0.0, 400.0, 1000.0))
        found = prepare(trace, seed=2).counts(100.0)
        expected = 100 * np.arange(20, 400, 40)
        assert (abs(found - expected) < 5 * (cv or 1) * expected**0.5).all()


def test_rates_of_periods_are_interpolated_from_middle_to_middle():
    rates = interpolated(Rates([Segment(0, 60, 1, 1), Segment(60, 120, 3, 3, 2.0), Segment(300, 360, 5, 5)]))
    at = [0, 30, 60, 90, 120, 150, 200, 270, 300, 330, 360]
    assert [rates.rate_at(x) for x in at] == pytest.approx([1, 1, 2, 3, 1.5, 0, 0, 0, 2.5, 5, 5])
    assert [s.cv for s in rates.segments if 60 <= s.start_s < 120] == [2.0, 2.0]
    assert prepare(steps(10, 10), seed=1, interpolate=False).trace.rates.segments == steps(10, 10).rates.segments
    whole = steps(5, 40, 0, 90, 5)
    assert interpolated(whole.rates).requests == pytest.approx(whole.requests)


def test_a_gap_of_one_period_is_a_zero_in_its_middle():
    rates = interpolated(Rates([Segment(0, 60, 2, 2), Segment(120, 180, 2, 2)]))
    assert rates.rate_at(90) == 0
    assert rates.rate_at(60) > 0
    assert rates.requests >= 0


def test_speed_scale_and_mean():
    trace = Trace(rates=constant(10.0, 1200.0))
    fast = prepare(trace, speedup=12, scale=2, seed=1)
    assert (fast.duration_s, fast.requests) == (100.0, 24_000)
    aimed = prepare(recorded(*np.arange(0, 100, 0.5)), speedup=4, mean_rate=300.0, seed=1)
    assert aimed.requests / aimed.duration_s == pytest.approx(300)
    assert aimed.factor == pytest.approx(300 / 8)


def test_a_slice_begins_at_zero():
    trace = recorded(0.0, 5.0, 10.0, 12.0, 30.0, start=1e9)
    part = prepare(trace, start_s=5.0, end_s=12.0, seed=1)
    assert all_times(part).tolist() == [0.0, 5.0]
    assert (part.duration_s, part.trace.start) == (7.0, 1e9 + 5)
    assert all_times(prepare(trace, start_s=5.0, seed=1)).tolist() == [0.0, 5.0, 7.0, 25.0]
    line = prepare(Trace(rates=ramp(0.0, 100.0, 100.0)), start_s=20.0, end_s=30.0, seed=1)
    assert [(s.start_s, s.end_s, s.rate, s.end_rate) for s in line.trace.rates.segments] == [(0, 10, 20, 30)]
    with pytest.raises(UserError, match="no requests in this slice"):
        prepare(trace, start_s=13.0, end_s=20.0, seed=1)


def test_a_million_fold_spike_comes_in_bounded_pieces():
    trace = Trace(rates=Rates([Segment(0, 10, 5, 5), Segment(10, 10.5, 5e6, 5e6), Segment(10.5, 20, 5, 5)]))
    prepared = prepare(trace, seed=4)
    parts = list(prepared.times())
    assert max(map(len, parts)) < 100_000
    assert sum(map(len, parts)) == pytest.approx(2.5e6, rel=0.01)
    same_requests(prepared, 0.5)


def test_twelve_million_requests_need_little_memory():
    import tracemalloc

    prepared = prepare(Trace(rates=constant(2000.0, 1000.0)), seed=1)
    tracemalloc.start()
    total = sum(len(part) for part in prepared.times())
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert total == pytest.approx(2e6, rel=0.01)
    assert peak < 8e6, "16 MB would be all of them"


def test_bad_numbers_are_told():
    trace = Trace(rates=constant(1.0, 10.0))
    for wrong in ({"speedup": 0}, {"scale": -1}, {"speedup": float("nan")}):
        with pytest.raises(UserError, match="above 0"):
            prepare(trace, seed=1, **wrong)
    with pytest.raises(ValueError, match="a step of 0"):
        counts(prepare(trace, seed=1).traffic, 0)


def test_traffic_of_a_scenario_is_what_was_prepared():
    prepared = prepare(steps(10, 50), seed=9)
    assert np.concatenate(list(chunks(prepared.traffic))).tolist() == all_times(prepared).tolist()
    assert counts(prepared.traffic, 1.0).tolist() == prepared.counts(1.0).tolist()


@pytest.mark.skipif(not TRACES.is_dir(), reason=f"no recorded traces at {TRACES}; set PLIMSOLL_TRACES")
@pytest.mark.parametrize("name", ["azure_llm_2023_code.csv", "azure_llm_2023_conv.csv", "servegen_m-small_rate.csv"])
def test_recorded_traces_scaled(name):
    with (TRACES / name).open() as lines:
        trace = read_trace(lines, name)
    prepared = prepare(trace, end_s=3600.0, mean_rate=100.0, seed=1)
    same_requests(prepared, 1.0)
    assert prepared.counts(1.0).sum() == pytest.approx(100 * prepared.duration_s, rel=0.1)
