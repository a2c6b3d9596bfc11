"""What the scaling benchmark's outcomes come to: the worst trace, the mean beside each peer, the frontier."""

import sys
from collections import namedtuple
from pathlib import Path

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"
Outcome = namedtuple("Outcome", "case policy cold_s missed ratio replica_hours fast acts", defaults=(0,))


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    """Its modules import each other by their bare names, which nobody else shall see."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCH)):
            del sys.modules[name]


def rows(**found):
    from scaling_rows import rows_of

    return [(row.what, row.figure, row.verdict) for row in rows_of(found)]


def test_one_default_beside_the_oracle_and_a_peer():
    ours = [Outcome("quiet", "budget", 8.0, 0.002, 1.0, 10, True), Outcome("loud", "budget", 8.0, 0.011, 1.1, 11, True)]
    theirs = [Outcome(case, "keda:rps=300", 8.0, 0.009, 1.5, 15, True) for case in ("quiet", "loud")]
    assert rows(list=[*ours, *theirs]) == [
        ("budget, 2 traces: missed at worst", "1.10%", "MISSED"),
        ("budget, 2 traces: cost at worst", "1.10x", "ok"),
        ("budget, 2 traces: cost, mean", "1.05x", "ok"),
        ("budget beside keda, mean", "1.05x", "ok"),
    ]
    tuned = [
        Outcome("quiet", "kpa:rps=300", 8.0, 0.01, 1, 10, True),
        Outcome("loud", "kpa:rps=200", 8, 0, 0.9, 9, True),
    ]
    assert rows(hindsight=[*ours, *tuned]) == [("budget's cost, mean", "1.11x", "MISSED"), (
        "budget's cost, worst", "1.22x", "")]  # fmt: skip


def test_a_fixed_count_is_beside_everything():
    fewest = [Outcome("quiet", "fixed:7", 8, 0, 1.1, 7, True), Outcome("loud", "fixed:30", 8, 0.01, 3.5, 30, True)]
    assert rows(fixed=fewest) == [
        ("fixed, the fewest for each trace by itself: cost, mean", "2.30x", ""),
        ("fixed, the fewest for each trace by itself: least", "1.10x", ""),
    ]


def test_steady_load_may_turn_once_in_five_minutes():
    what = "2 rates from 20/s to 27/s: changes of direction in 5 minutes, most"
    for most, verdict in ((1, "ok"), (2, "MISSED")):
        turns = [Outcome(f"{rate}/s", "budget", 8, 0, 0, 1, True, acts) for rate, acts in ((20, most), (27, 0))]
        assert rows(noise=turns) == [(what, str(most), verdict)]


def test_slow_nodes_have_a_bar_where_traffic_can_be_followed():
    days = [Outcome(f"a day x{speed}", "budget", 240.0, 0.03, 1.2, 20, True) for speed in (4, 12)]
    assert [verdict for _, _, verdict in rows(nodes=days)] == ["MISSED", "ok", "", ""]


def test_the_frontier_is_what_others_pay_for_no_more_misses():
    ours = [Outcome("code", f"budget:price={at}", 8.0, missed, 1, cost, True) for at, missed, cost in (
        (1, 0.2, 5), (2, 0.05, 10), (4, 0.006, 40), (8, 0.001, 90))]  # fmt: skip
    others = [Outcome("code", "fixed:20", 8.0, 0.04, 1, 20, True), Outcome("code", "fixed:5", 8.0, 0.3, 1, 5, True)]
    assert rows(frontier=[*ours, *others]) == [
        ("budget:price=4, 0.60% missed", "40.0 replica-hours", ""),
        ("budget:price=2, 5.00% missed", "10.0 replica-hours", "ok"),
    ]
