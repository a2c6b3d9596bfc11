"""What the benchmarks make of what they saw: percentiles, recovery, lateness, the picture's steps."""

import sys
from math import inf
from pathlib import Path
from xml.etree import ElementTree

import pytest

BENCH = Path(__file__).resolve().parents[3] / "bench"


@pytest.fixture(autouse=True)
def bench(monkeypatch):
    """Its modules import each other by their bare names, which nobody else shall see."""
    before = set(sys.modules)
    monkeypatch.syspath_prepend(str(BENCH))
    yield
    for name in set(sys.modules) - before:
        if str(getattr(sys.modules[name], "__file__", "")).startswith(str(BENCH)):
            del sys.modules[name]


def after_the_step(over_until_s, *, step_s=2.0, lasts_s=4.0, per_s=200):
    """Accepted requests, one each 5 ms: 20 ms before the step, 250 ms until `over_until_s` after it, then 80 ms."""
    for number in range(round((step_s + lasts_s) * per_s)):
        at = number / per_s
        late = step_s <= at < step_s + over_until_s
        yield at, "ok", 250.0 if late else 80.0 if at >= step_s else 20.0


@pytest.mark.parametrize(("over_s", "told"), [(0.0, 0.0), (0.5, 0.5), (1.7, 1.7)])
def test_the_budget_is_kept_again_from_the_moment_after_which_the_p99_is_inside(over_s, told):
    from lasting import recovery_s

    # 1% may be late: 0.02 s of 4.
    assert recovery_s(list(after_the_step(over_s)), 2.0, 100.0) == pytest.approx(told, abs=0.06)


def test_a_budget_that_is_never_kept_again_is_told():
    from lasting import recovery_s

    assert recovery_s(list(after_the_step(4.0)), 2.0, 100.0) == inf


def test_refusals_are_no_latency_of_the_accepted():
    from open_loop import Judged

    requests = [(0.0, "ok", 10.0)] * 99 + [(0.0, "cached", 40.0), (0.0, "shed", 0.5), (0.0, "expired", 200.0)]
    run = Judged({"outcomes": {"ok": 99, "cached": 1, "shed": 1, "expired": 1, "unsent": 2}, "hung": 1}, requests)
    assert run.p99_ms == 40.0
    assert run.refusal_p99_ms == 200.0  # who is told late is told late, whatever the word
    assert run.hung == 3
    assert run.failures == "expired 1, unsent 2"


def test_in_flight_at_a_freeze_is_who_was_sent_before_and_answered_after():
    from freeze import _in_flight, _late
    from open_loop import Judged

    requests = [(0.9, "ok", 50.0), (0.99, "ok", 20.0), (0.995, "hung", None), (1.1, "ok", 5.0)]
    assert _in_flight(Judged({}, requests), 1.0) == 2
    assert [_late(outcome, took, 30.0) for _, outcome, took in requests] == [True, False, True, False]


def test_a_trace_of_steps_is_one_that_load_reads(tmp_path):
    from open_loop import steps
    from plimsoll.insight.traffic import read_trace

    path = steps(tmp_path / "step.csv", (2.0, 300.0), (4.0, 3000.0))
    with path.open() as lines:
        trace = read_trace(lines, str(path))
    assert trace.rates is not None
    assert (trace.rates.rate_at(1.9), trace.rates.rate_at(2.1)) == (300.0, 3000.0)
    assert trace.rates.requests == pytest.approx(300 * 2 + 3000 * 4)


def test_the_picture_is_well_formed_and_has_both_servers():
    from picture import by_step, picture

    requests = [(at / 100, "ok" if at % 2 else "shed", 20.0) for at in range(200)]
    ridden = by_step(requests, 2.0)
    assert ridden.offered == [100.0] * 4
    assert ridden.good == [50.0] * 4
    broken = by_step([(at, "ok", 3000.0) for at, _, _ in requests[:100]], 2.0)
    assert broken.good == [0.0] * 4
    assert broken.p99 == [3000.0, 3000.0, None, None]
    root = ElementTree.fromstring(picture(broken, ridden, 2.0, 200.0))
    texts = [one.text for one in root.iter("{http://www.w3.org/2000/svg}text")]
    assert {"offered", "FastAPI", "Plimsoll", "budget 100 ms"} <= set(texts)


def test_wrks_report_is_read_with_what_failed():
    from load import parse

    text = (
        "    50%    1.20ms\n    99%   20.00ms\n  1000 requests in 2.00s, 1MB read\n"
        "  Non-2xx or 3xx responses: 250\nRequests/sec:    500.00\n"
    )
    load = parse(text)
    assert (load.per_s, load.p99_ms, load.errors, load.answered_per_s) == (500.0, 20.0, 250, 375.0)


def test_a_missed_bar_is_said():
    from table import Row

    assert Row("p", "w", "f", "", 0.94, "≥ 0.95").verdict == "MISSED"
    assert Row("p", "w", "f", "", 0.95, "≥ 0.95").verdict == "ok"
    assert Row("p", "w", "f", "", inf, "≤ 1.0").verdict == "MISSED"
