import pytest

from plimsoll.insight.rate import Rate
from plimsoll.insight.window import WindowedCounts, WindowedSketch


def test_a_sketch_forgets_what_left_the_window():
    window = WindowedSketch(10.0, slots=10)
    for second in range(10):
        window.observe(1.0, now=second)
    for second in range(10, 14):
        window.observe(100.0, now=second)
    assert window.quantile(0.0, now=14) == pytest.approx(1.0, rel=0.025)
    assert window.quantile(1.0, now=14) == pytest.approx(100.0, rel=0.025)
    assert window.quantile(0.0, now=21) == pytest.approx(100.0, rel=0.025)
    assert window.quantile(0.5, now=40) is None
    assert window.count(40) == 0


def test_a_window_covers_its_length_and_at_most_a_slot_more():
    counts = WindowedCounts(10.0, slots=10)
    for tenth in range(1000):
        counts.observe("ok", now=tenth / 10)
    assert 100 <= counts.totals(now=99.9)["ok"] <= 111
    assert 10.0 <= counts.span_s(now=99.9) <= 11.0


def test_a_young_window_covers_its_age():
    counts = WindowedCounts(300.0)
    counts.observe("ok", now=50.0)
    assert counts.span_s(now=53.0) == pytest.approx(3.0)


def test_counts_by_name():
    counts = WindowedCounts(60.0)
    assert counts.totals(now=0) == {}
    counts.observe("ok", now=0)
    counts.observe("ok", now=1, count=2)
    counts.observe("shed", now=1)
    assert counts.totals(now=2) == {"ok": 3, "shed": 1}
    assert counts.totals(now=1e9) == {}


def test_a_clock_that_goes_back_stands_still():
    window, counts, rate = WindowedSketch(10.0), WindowedCounts(10.0), Rate(10.0)
    for now in (1000.0, 5.0, 1000.5):
        window.observe(1.0, now)
        counts.observe("ok", now)
        rate.observe(now)
    assert window.count(3.0) == 3
    assert counts.totals(3.0) == {"ok": 3}
    assert rate.per_s(1000.5) > 0
    assert rate.per_s(3.0) == 0.0


def test_a_rate_is_right_at_once_and_follows():
    rate = Rate(memory_s=10.0)
    assert rate.per_s(0.0) == 0.0
    for tenth in range(11):
        rate.observe(now=tenth / 10)
    assert rate.per_s(1.0) == pytest.approx(10.0, rel=0.15)
    for hundredth in range(5000):
        rate.observe(now=1 + hundredth / 100)
    assert rate.per_s(51.0) == pytest.approx(100.0, rel=0.05)
    assert rate.per_s(61.0) == pytest.approx(100 / 2.718, rel=0.05)
