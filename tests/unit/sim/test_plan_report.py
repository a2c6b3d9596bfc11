"""Rows: what breaks a budget, sums over services, figures for people and programs, and the page."""

import json
from html.parser import HTMLParser

import pytest

from plimsoll.sim.html import folded, render_html, verdict
from plimsoll.sim.report import (
    ALL,
    About,
    Advice,
    Goals,
    Money,
    Report,
    amount,
    broken,
    made_json,
    marked,
    millis,
    oracle_row,
    price,
    row_of,
    share,
    sum_row,
)  # fmt: skip
from plimsoll.sim.result import Act, Result, ServiceResult, Timeline


def simulated(service="mood", *, offered=10_000, late=50, refused=20, p50_s=0.01, seconds=600.0, steps=10):
    line = Timeline(
        seconds / steps,
        [offered // steps] * steps,
        [late // steps] * steps,
        [2] * steps,
        [1] * (steps // 2) + [2] * (steps - steps // 2),
        [None, *[0.09] * (steps - 1)],
    )
    return ServiceResult(
        service, "budget", offered, late, refused, {"ok": offered - refused, "shed": refused}, p50_s, 0.05, 0.09,
        1200.0, 0.0, [Act(1.0, 1, 2, "more")], line, seconds,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("goals", "result", "cost", "expected"),
    [
        (Goals(p99_s=0.1), simulated(), None, []),
        (Goals(p99_s=0.1), simulated(late=90, refused=20), None, ["1.1% late or refused; p99 100 ms allows 1%"]),
        (Goals(), simulated(late=5000), None, []),
        (Goals(p50_s=0.005), simulated(), None, ["p50 10 ms over 5 ms"]),
        (Goals(p95_s=0.04), simulated(), None, ["p95 50 ms over 40 ms"]),
        (Goals(error_rate=0.001), simulated(), None, ["0.2% refused; errorRate allows 0.1%"]),
        (Goals(cost_per_million=1.0), simulated(), 0.02, ["a million requests cost 2.00, over 1.00"]),
        (Goals(cost_per_million=1.0), simulated(), None, []),
        (Goals(cost_per_hour=1.0), simulated(), 0.2, ["an hour costs 1.20, over 1.00"]),
        (Goals(cost_per_hour=1.3), simulated(), 0.2, []),
        (Goals(cost_per_million=1.0), simulated(offered=20, late=0, refused=20), 0.02,
         ["a million requests cost no answer, over 1.00"]),
    ],
)  # fmt: skip
def test_what_of_a_budget_does_not_hold(goals, result, cost, expected):
    assert broken(result, goals, cost) == expected


def report(rows, results, own=None, **more):
    about = About("0", 1, 10_000, 600.0, ["day.csv: 10,000 requests"], own or {"mood": "budget"},
                  {"mood": Goals(p99_s=0.1)}, Money("USD", 0.04), **more)  # fmt: skip
    return Report(about, rows, [Advice("cheapest", "budget <is> it", "mood", {"cost": 1.2})], results)


def one(**changed):
    result = simulated(**changed)
    row = row_of(result, "budget", Goals(p99_s=0.1), cost=1.2, oracle_s=1000.0)
    return report([row, oracle_row("mood", 10_000, 1000.0, 0.01, 1.0)], {"budget": Result([result])})


def test_the_json_has_what_programs_read():
    told = json.loads(json.dumps(made_json(one())))
    budget, oracle = told["policies"]
    assert budget == {
        "service": "mood", "name": "budget", "offered": 10_000, "outcomes": {"ok": 9980, "shed": 20},
        "late_share": 0.005, "refused_share": 0.002, "p50_ms": 10.0, "p95_ms": 50.0, "p99_ms": 90.0,
        "replica_hours": 0.333333, "spare_hours": 0.0, "node_hours": None, "cost": 1.2, "scaling_acts": 1,
        "oracle_ratio": 1.2, "mean_batch": 0.0, "keeps_budget": True, "broken": [],
    }  # fmt: skip
    assert (oracle["name"], oracle["oracle_ratio"], oracle["p99_ms"]) == ("oracle", 1.0, None)
    assert told["breached"] is False
    assert told["advice"] == [{"kind": "cheapest", "service": "mood", "text": "budget <is> it", "cost": 1.2}]
    assert told["together"] == []


def test_a_breach_of_the_own_policy_is_one_and_so_is_its_absence():
    assert one(late=200).breached
    assert not one().breached
    assert report([], {}).breached  # ended before it was simulated
    assert "BREAKS the budget: 2.2% late or refused" in verdict(one(late=200))
    assert verdict(one()) == "budget keeps the budget"
    assert verdict(report([], {})) == "mood budget: not simulated"


def test_several_services_have_a_sum_and_the_worst_is_named():
    results = [simulated("a"), simulated("b", late=400)]
    goals = Goals(p99_s=0.1)
    rows = [row_of(result, "kpa", goals, cost=1.0) for result in results]
    together = sum_row("kpa", Result(results), rows, 1200.0, 2.0)
    assert (together.service, together.offered, together.late_share) == (ALL, 20_000, 450 / 20_000)
    assert together.outcomes == {"ok": 19_960, "shed": 40}
    assert together.oracle_ratio == 2.0
    assert together.broken == ("b: 4.2% late or refused; p99 100 ms allows 1%",)
    told = verdict(report([*rows, together], {}, own={"a": "kpa", "b": "kpa"}))
    assert told == (
        "1 of 2 services break their budgets, worst b: kpa BREAKS the budget: 4.2% late or refused; p99 100 ms allows "
        "1%; in all 2.45% late or refused"
    )


class _Page(HTMLParser):
    def __init__(self):
        super().__init__()
        self.open, self.text = [], []

    def handle_starttag(self, tag, attrs):
        names = dict(attrs)
        assert tag not in {"script", "link", "img"}
        assert not {"src", "href"} & set(names)
        if tag not in {"meta", "path", "rect"}:
            self.open.append(tag)

    def handle_endtag(self, tag):
        if tag not in {"path", "rect"}:
            assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


@pytest.mark.parametrize(
    "made", [one(), one(late=200), one(steps=2), one(offered=0, late=0, refused=0), report([], {})]
)
def test_the_page_is_whole_and_fetches_nothing(made):
    page = _Page()
    page.feed(render_html(made))
    assert page.open == []
    assert "nan" not in "".join(page.text)
    assert verdict(made) in "".join(page.text)


def test_the_page_draws_each_policy_and_shows_what_was_written_as_text():
    text = render_html(one())
    assert "<is>" not in text
    assert "replicas ready" in text
    assert text.count("<svg") == 1
    assert "http" not in text


def test_folding_keeps_what_came_and_the_worst():
    line = Timeline(
        1.0, [1, 2, 3, 4, 5], [0, 1, 0, 0, 2], [1, 2, 3, 4, 5], [0, 1, 2, 3, 4], [None, 0.2, 0.1, None, None]
    )
    assert folded(line, 5) is line
    small = folded(line, 3)
    assert (small.step_s, small.offered, small.missed) == (2.0, [3, 7, 5], [1, 0, 2])
    assert (small.ready, small.p99_s) == ([1, 3, 4], [0.2, 0.1, None])


@pytest.mark.parametrize(
    ("function", "value", "expected"),
    [
        (share, 0.0, "0%"), (share, 0.000001, "<0.001%"), (share, 0.00042, "0.04%"), (share, 0.01023, "1.02%"),
        (share, 0.412, "41%"), (millis, None, "-"), (millis, 0.0041, "4.1 ms"), (millis, 0.088, "88 ms"),
        (millis, 1.234, "1.23 s"), (amount, 31.24, "31.2"), (amount, 0.417, "0.42"), (amount, 1204.2, "1,204"),
    ],
)  # fmt: skip
def test_figures(function, value, expected):
    assert function(value) == expected


@pytest.mark.parametrize(
    ("value", "currency", "expected"),
    [(1.25, "USD", "$1.25"), (0.0074, "USD", "$0.0074"), (1234.5, "EUR", "€1,234"), (2.0, "CHF", "2.00 CHF"),
     (0.0, "USD", "$0.00"), (None, "USD", "-")],
)  # fmt: skip
def test_prices(value, currency, expected):
    assert price(value, currency) == expected


def test_marks_stand_where_the_budget_breaks():
    row = row_of(simulated(late=200, refused=0), "kpa", Goals(p99_s=0.1), cost=None)
    assert marked(row) == ("2%!", "0%")
    row = row_of(simulated(late=50, refused=0), "kpa", Goals(p99_s=0.1, p50_s=0.001), cost=None)
    assert marked(row) == ("0.5%", "0%")  # it is the p50 that breaks
