"""Advice from results: the cheapest that keeps the budget, what more replicas would bring, when, and what can't be."""

from dataclasses import replace

import numpy as np
import pytest

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.advice import Tried, both, changes, cheapest, concluded, hours, pays
from plimsoll.sim.foreseen import Demand
from plimsoll.sim.report import Goals, Money, Row, oracle_row
from plimsoll.sim.result import ServiceResult, Timeline
from plimsoll.sim.scenario import Service, Traffic
from plimsoll.sim.when import Times

SERVICE = Service(
    "mood", Traffic(Trace(rates=constant(1, 1))), Profile(0.004, 0.0015), Bounds(least=1, most=20, p99_s=0.1)
)
FREE, PRICED = Money(), Money("USD", 0.04)
GOALS = Goals(p99_s=0.1)
EIGHT = 899_193_600.0  # 1998-06-30 08:00 UTC


def row(name="budget", *, hours=10.0, missed=0.003, broken=(), cost=None, offered=1_000_000):
    return Row("mood", name, offered, missed, 0.0, 0.01, 0.05, 0.09, hours, None, cost, 12, 1.1, {}, tuple(broken))


OVER = ("4.1% late or refused; p99 100 ms allows 1%",)


def texts(found):
    return [(one.kind, one.text) for one in found]


def test_the_cheapest_is_the_files_own():
    rows = [row(hours=31.2, cost=1.25), row("hpa-cpu", hours=28.0, cost=1.12, broken=OVER), row("kpa", cost=1.44)]
    assert texts(cheapest(rows[0], rows, PRICED)) == [
        ("cheapest", "budget is the cheapest that keeps the budget: $1.25; next is kpa with $1.44")
    ]


def test_another_policy_keeps_it_for_less():
    rows = [row("hpa-rps", cost=1.6), row("budget", cost=1.25)]
    (only,) = cheapest(rows[0], rows, PRICED)
    assert only.text == "budget keeps the budget for $1.25; hpa-rps takes $1.60, 28% more"
    near = [row("hpa-rps", cost=1.28), row("budget", cost=1.25)]
    assert "within 5% of the cheapest" in cheapest(near[0], near, PRICED)[0].text


def test_the_own_breaks_it_and_another_does_not():
    rows = [row("hpa-cpu", hours=8.0, broken=OVER), row("budget", hours=9.5)]
    assert cheapest(rows[0], rows, FREE)[0].text == (
        "hpa-cpu breaks the budget; budget is the cheapest that keeps it: 9.50 replica-hours"
    )


def test_nobody_keeps_it_and_the_oracle_is_nobody():
    rows = [
        row(broken=OVER, missed=0.041),
        row("kpa", broken=OVER, missed=0.2),
        oracle_row("mood", 1000, 3600, 0.01, None),
    ]
    (only,) = cheapest(rows[0], rows, FREE)
    assert (only.kind, only.evidence) == ("broken", {"nearest": "budget"})


def test_where_a_fixed_count_passes_the_traffic_proves_little():
    rows = [row(hours=10), row("fixed:4", hours=11)]
    assert [one.kind for one in cheapest(rows[0], rows, FREE)] == ["cheapest", "easy"]
    rows = [row(hours=10), row("fixed:4", hours=12)]
    assert [one.kind for one in cheapest(rows[0], rows, FREE)] == ["cheapest"]


@pytest.mark.parametrize(
    ("own", "change", "begins"),
    [
        (row(missed=0.02, broken=OVER), row(missed=0.002, hours=11), "more minimum replicas pay: minReplicas 3"),
        (row(missed=0.02, broken=OVER), row(missed=0.013, hours=11, broken=OVER), "more minimum replicas help"),
        (row(missed=0.02, broken=OVER), row(missed=0.02, hours=11, broken=OVER), "more minimum replicas don't pay"),
        (row(missed=0.006), row(missed=0.001, hours=11), "more minimum replicas don't pay: the budget holds without"),
        (row(missed=0.001), row(missed=0.002, hours=8), "minReplicas 3 (simulated)"),
    ],
)  # fmt: skip
def test_whether_a_change_pays(own, change, begins):
    (only,) = pays(own, [Tried("minimum", "minReplicas 3", change)], FREE)
    assert only.text.startswith(begins)
    assert "instead of" in only.text


def test_of_several_changes_the_cheapest_that_keeps_the_budget_is_named():
    own = row(missed=0.02, broken=OVER)
    tried = [
        Tried("minimum", "minReplicas 3", row(missed=0.011, hours=11, broken=OVER)),
        Tried("minimum", "minReplicas 5", row(missed=0.002, hours=14)),
        Tried("minimum", "minReplicas 4", row(missed=0.008, hours=12)),
        Tried("spares", "spares 1", row(missed=0.03, hours=12, broken=OVER)),
    ]
    minimum, spares = pays(own, tried, FREE)
    assert minimum.evidence["setting"] == "minReplicas 4"
    assert spares.text.startswith("more spares don't pay: spares 1")


@pytest.mark.parametrize(
    ("own", "bounds", "expected"),
    [
        (row(missed=0.02, broken=OVER), (1, 20, None, 7), [("minimum", 4), ("minimum", 7), ("spares", 1)]),
        (row(missed=0.02, broken=OVER), (1, 3, None, 9), [("spares", 1)]),  # 5 and 9 are beyond the most
        (row(missed=0.02, broken=OVER), (3, 3, None, 9), []),
        (row(missed=0.001), (1, 20, None, 7), []),
        (row(missed=0.001), (3, 20, 2, 7), [("minimum", 2), ("spares", 0)]),
    ],
)
def test_what_is_worth_simulating(own, bounds, expected):
    assert changes(own, *bounds) == expected


def result(missed, offered, ready, step_s=60.0):
    line = Timeline(step_s, list(offered), list(missed), list(ready), list(ready), [None] * len(missed))
    total = sum(offered)
    return ServiceResult(
        "mood", "budget", total, sum(missed), 0, {"ok": total}, 0.01, 0.05, 0.2, 1000.0, 0.0, [], line,
        len(missed) * step_s,
    )  # fmt: skip


def day(rate=500.0, minutes=1440, start=EIGHT - 8 * 3600):
    return Demand(np.ones(minutes, dtype=np.int64), 60.0, rate, 8.0, Times(start, 1.0, minutes * 60.0))


def test_misses_that_come_in_one_hour_are_told_with_the_minimum_that_removes_them():
    offered = [12_000] * 1440  # 200/s: one replica does 500/s
    missed, ready = [0] * 1440, [1] * 1440
    for minute in range(480, 500):
        offered[minute], missed[minute] = 57_000, 27_000  # 950/s
    (only,) = hours(result(missed, offered, ready), day(), PRICED, 60)
    # one more replica between 08:00 and 09:00
    assert only.text == (
        "minReplicas 2 between 08:00 and 09:00 removes about 100% of the late and refused for $0.04 more "
        "(estimated from the timeline)"
    )
    assert only.evidence["replica_hours"] == pytest.approx(1.0)


def test_no_more_replicas_are_advised_than_the_file_allows():
    offered, missed, ready = [12_000] * 1440, [0] * 1440, [1] * 1440
    for minute in range(480, 500):
        offered[minute], missed[minute] = (57_000, 27_000) if minute < 490 else (200_000, 170_000)
    (only,) = hours(result(missed, offered, ready), day(), FREE, 60)
    assert only.evidence["least"] == 7
    assert hours(result(missed, offered, ready), day(), FREE, 2) == []  # it would remove 14% of them


def test_misses_everywhere_or_beside_enough_replicas_are_no_matter_of_hours():
    offered, ready = [12_000] * 1440, [1] * 1440
    assert hours(result([600] * 1440, offered, ready), day(), FREE, 60) == []
    bunched = [0] * 480 + [27_000] * 20 + [0] * 940
    assert hours(result(bunched, offered, [4] * 1440), day(), FREE, 60) == []  # something else than too few
    assert hours(result([0] * 1440, offered, ready), day(), FREE, 60) == []


def test_latency_and_cost_that_cannot_both_hold():
    goals = replace(GOALS, cost_per_million=1.0)
    bound = oracle_row("mood", 1_000_000, 3600.0 * 30, 0.01, 1.2)
    (only,) = both([row(cost=1.4), bound], goals, PRICED)
    assert "even the oracle pays $1.20 for a million requests, the budget allows $1.00" in only.text
    assert both([row(cost=1.4), bound], replace(goals, cost_per_million=1.3), PRICED) == []
    assert both([row(), oracle_row("mood", 1_000_000, 3600.0, 0.01, None)], goals, FREE) == []


def test_all_of_it_together_without_results_is_silence():
    assert concluded(SERVICE, None, [], [], None, GOALS, day(), FREE) == []


def test_a_broken_budget_is_explained_by_rises_that_nobody_could_follow():
    counts = np.array([100] * 300 + [3_000] * 8 + [100] * 300)
    load = Demand(counts, 1.0, 500.0, 8.0, Times(seconds=608.0))
    own = row(missed=0.04, broken=OVER)
    assert [one.kind for one in concluded(SERVICE, own, [own], [], None, GOALS, load, FREE)] == ["broken", "ramp"]
    kept = row(missed=0.004)
    assert [one.kind for one in concluded(SERVICE, kept, [kept], [], None, GOALS, load, FREE)] == ["cheapest"]
    few = replace(SERVICE, bounds=Bounds(least=1, most=2, p99_s=0.1))  # then it is the maximum, and that was said
    assert [one.kind for one in concluded(few, own, [own], [], None, GOALS, load, FREE)] == ["broken"]
