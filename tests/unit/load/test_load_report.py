"""The report: JSON's shape, the line, the verdict, and a page that opens offline."""

import json
import re
from html.parser import HTMLParser

import pytest

from plimsoll.insight.sketch import LogSketch
from plimsoll.load import (
    Budget,
    Report,
    apart_lines,
    beside_line,
    line_of,
    made_json,
    render_html,
    report_line,
    verdict,
)
from plimsoll.load.tally import Row, Sketches, Tally


def report(*, latencies_s=(0.002,) * 98 + (0.018,) * 2, outcomes=None, **more):
    sketches = Sketches()
    for latency in latencies_s:
        sketches.latency.observe(latency)
        sketches.queue.observe(latency / 2)
        sketches.compute.observe(latency / 4)
    sketches.lag.observe(more.pop("lag_s", 0.0001))
    outcomes = {"ok": len(latencies_s)} if outcomes is None else outcomes
    values = {
        "url": "http://localhost:8080/mood", "arrivals": "100/s poisson", "seed": 7, "duration_s": 1.0,
        "offered": sum(outcomes.values()), "outcomes": outcomes, "in_time": len(latencies_s), "deadline_s": 0.2,
        "timeout_s": 5.2, "worst_s": max(latencies_s, default=0.0), "sketches": sketches, "rows": (),
        "budget": Budget(p99_s=0.1),
    }  # fmt: skip
    return Report(**{**values, **more})


def test_the_json_has_the_keys_that_programs_read():
    told = json.loads(json.dumps(made_json(report(outcomes={"shed": 4, "ok": 96}, in_time=95))))
    assert told == {
        "seed": 7, "started_at": 0.0, "duration_s": 1.0, "offered": 100, "offered_per_s": 100.0, "goodput_per_s": 95.0,
        "outcomes": {"ok": 96, "shed": 4}, "hung": 0,
        "latency_ms": pytest.approx({"p50": 2.0, "p95": 2.0, "p99": 18.0, "max": 18.0}, rel=0.03),
        "apart_ms": {}, "refusal_ms": {"p99": None},
        "queue_ms": {"p50": pytest.approx(1, rel=0.03), "p99": pytest.approx(9, rel=0.03)},
        "compute_ms": {"p50": pytest.approx(0.5, rel=0.03), "p99": pytest.approx(4.5, rel=0.03)},
        "budget": {"p99_ms": 100.0, "inside": True}, "error_rate": 0.04, "first_shed_per_s": None,
        "generator_lag_ms": {"p50": pytest.approx(0.1, rel=0.03), "p99": pytest.approx(0.1, rel=0.03)},
        "verdict": "inside budget",
    }  # fmt: skip
    assert list(told["outcomes"]) == ["ok", "shed"]


def test_cached_and_degraded_answers_are_told_apart_from_those_a_model_computed():
    cached, degraded = LogSketch(), LogSketch()
    for sketch, seconds in ((cached, 0.0003), (cached, 0.0003), (degraded, 0.05)):
        sketch.observe(seconds)
    seen = report(outcomes={"ok": 97, "cached": 2, "degraded": 1}, apart={"cached": cached, "degraded": degraded})
    told = made_json(seen)["apart_ms"]
    assert told["cached"] == pytest.approx({"p50": 0.3, "p99": 0.3}, rel=0.03)
    assert told["degraded"] == pytest.approx({"p50": 50, "p99": 50}, rel=0.03)
    assert [line.split(",")[0] for line in apart_lines(seen)] == [
        "cached: 2 of 100 accepted",
        "degraded: 1 of 100 accepted",
    ]
    page = render_html(seen)
    assert "of them cached" in page
    assert "of them degraded" in page


def test_where_the_time_went_is_shares_of_the_accepted_answers_time():
    assert beside_line(report()) == "goodput 100/s   time: queue 50%, compute 25%, else 25%"
    silent = report(latencies_s=())
    silent.sketches.refusal.observe(0.0006)
    assert beside_line(silent).startswith("goodput 0/s   refused within 0.6 ms (p99)")


def test_an_empty_run_is_json_too():
    told = json.loads(json.dumps(made_json(report(latencies_s=(), outcomes={}, duration_s=0.0))))
    assert told["latency_ms"] == {"p50": None, "p95": None, "p99": None, "max": None}
    assert told["offered_per_s"] == told["goodput_per_s"] == 0
    assert told["verdict"] == "nothing was offered"


@pytest.mark.parametrize(
    ("more", "told", "breached"),
    [
        ({}, "inside budget", False),
        ({"budget": Budget()}, "no budget to hold it against", False),
        ({"budget": Budget(p99_s=0.01)}, "OVER budget: p99 18 ms over 10 ms", True),
        ({"budget": Budget(p50_s=0.001, p99_s=0.01)}, "OVER budget: p50 2 ms over 1 ms; p99 18 ms over 10 ms", True),
        ({"ramp": True, "first_shed_per_s": 1870.4}, "inside budget; first shed at 1,870/s", False),
        ({"ramp": True}, "inside budget; nothing shed", False),
        (
            {"outcomes": {"ok": 97, "shed": 3}, "budget": Budget(p99_s=0.1, error_rate=0.001)},
            "inside latency budget; errors 3% over 0.1%",
            True,
        ),
        ({"outcomes": {"ok": 97, "shed": 3}}, "inside budget", False),
        ({"outcomes": {"ok": 97, "hung": 3}}, "inside budget; 3 HUNG", True),
        ({"outcomes": {"shed": 3}, "latencies_s": ()}, "NOTHING was answered", True),
        ({"outcomes": {"connect_refused": 3}, "latencies_s": (), "budget": Budget()}, "NOTHING was answered", True),
        # What the client got wrong is no error of the service, and stands in no denominator.
        ({"outcomes": {"ok": 10, "invalid": 90}, "budget": Budget(p99_s=0.1, error_rate=0.0)}, "inside budget", False),
        (
            {"lag_s": 0.02},
            "inside budget; this client itself was late (lag p99 20 ms): latencies are upper bounds",
            False,
        ),
    ],
)
def test_the_verdict_and_what_fails_a_build(more, told, breached):
    made = report(**more)
    assert verdict(made) == told
    assert made.breached is breached


def test_the_line_is_the_one_of_the_documentation():
    line = line_of(
        1240.4, {"shed": 4, "ok": 1236.2}, {"p50": 2.0, "p95": 9.04, "p99": 18.2}, 4.0, 3.0,
        budget=Budget(p99_s=0.1), replicas="1 -> 3",
    )  # fmt: skip
    assert line == (
        "1,240/s offered  ok 1,236  shed 4   p50 2  p95 9  p99 18 ms (budget 100)  queue 4  compute 3  replicas 1 -> 3"
    )


def test_rare_outcomes_are_not_rounded_away_and_breaches_are_marked():
    made = report(outcomes={"ok": 99, "hung": 1}, duration_s=100.0, replicas=(2, 2), budget=Budget(p99_s=0.01))
    line = report_line(made)
    assert "hung 0.01" in line
    assert "p99 18! ms (budget 10)" in line
    assert line.endswith("replicas 2")


class _Page(HTMLParser):
    VOID = frozenset({"meta", "br"})

    def __init__(self):
        super().__init__()
        self.open, self.seen, self.fetched, self.scripts = [], [], [], 0

    def handle_starttag(self, tag, attrs):
        self.seen.append(tag)
        self.scripts += tag == "script" or any(name.startswith("on") for name, _ in attrs)
        self.fetched += [value for name, value in attrs if name in {"src", "href", "xlink:href", "data"}]
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag


def rows(count):
    return tuple(
        Row(float(i), 1.0, 100 + i, 90 + i, 5, 5, 2.0, None if i == 3 else 18.0 + i, 1.0, 1) for i in range(count)
    )


@pytest.mark.parametrize("made", [report(rows=rows(60)), report(rows=rows(1)), report(latencies_s=(), outcomes={}),
    report(latencies_s=(0.001,), rows=rows(5)), report(outcomes={"shed": 5}, latencies_s=(), rows=rows(5)),
    report(latencies_s=(1e-7, 0.0, 5000.0), rows=rows(5), budget=Budget())])  # fmt: skip
def test_the_page_is_whole_and_fetches_nothing(made):
    text = render_html(made)
    page = _Page()
    page.feed(text)
    page.close()
    assert page.open == []
    assert page.fetched == []
    assert page.scripts == 0
    assert not re.search(r"url\(|@import|https?://(?!localhost:8080/mood)", text)
    assert "nan" not in re.sub(r"<style>.*</style>", "", text, flags=re.DOTALL).lower()
    assert verdict(made) in text


def test_the_page_draws_what_was_measured():
    text = render_html(report(rows=rows(60), replicas=(1, 3), refusals={"shed": "503 full"}))
    assert text.count("<svg") == 2
    for word in ("offered", "accepted", "p99 budget", "replicas 1 -&gt; 3", "503 full", "seed 7", "Outcomes"):
        assert word in text, word


def test_what_a_server_or_a_user_wrote_is_text_on_the_page():
    evil = "<script>alert(1)</script>"
    made = report(url=f"http://x/{evil}", refusals={"shed": f"503 {evil} -->"}, arrivals=evil, last_failure=evil)
    text = render_html(made)
    page = _Page()
    page.feed(text)
    assert page.scripts == 0
    assert "<script" not in text


def test_memory_does_not_grow_with_time():
    tally = Tally(1.0)
    for second in range(5000):
        tally.sent(0.0)
        tally.answered("ok", 0.01, float(second), 0.001, 0.002)
        tally.turn(second + 1.0, 1)
    assert len(tally.rows) <= 1200
    assert sum(row.offered for row in tally.rows) == sum(row.accepted for row in tally.rows) == tally.offered == 5000
    assert tally.rows[-1].at_s + tally.rows[-1].step_s == 5000
    assert all(row.at_s + row.step_s == after.at_s for row, after in zip(tally.rows, tally.rows[1:], strict=False))
    assert tally.totals.latency.count == 5000
