"""From options to scenarios: what is refused, what is told, how long it will take."""

import pytest

from plimsoll.app import plan
from plimsoll.app.plan import estimate
from plimsoll.app.plan_study import PlanOptions, prepare
from plimsoll.cli.console import out
from plimsoll.cli.plan import _offer
from plimsoll.core.errors import UserError
from plimsoll.core.units import parse_duration

DAY_S = 86_400
SERVICE = """apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model: {path: ./model.py}
  budget: {latency: {p99: 100ms}}
  scaling: {minReplicas: 1, maxReplicas: 4, spares: {count: 2, state: LibrariesLoaded}}
"""


@pytest.fixture
def trace(tmp_path):
    def write(*rows, head="timestamp"):
        path = tmp_path / "trace.csv"
        path.write_text("\n".join([head, *map(str, rows)]))
        return str(path)

    return write


def study(trace, **more):
    more = {"service_time": "4ms+1.5ms", "p99_s": 0.1, "policies": "fixed:2"} | more
    return prepare(PlanOptions(traces=(trace,), **more))


def test_a_trace_of_centuries_is_refused_before_anything_is_simulated(trace):
    with pytest.raises(UserError, match=r"lasts 115,741 days; times are seconds \(are these milliseconds"):
        study(trace(0, 1, 10_000_000_000))


def test_a_single_request_is_a_trace(trace):
    found = estimate(study(trace(5)))
    assert (found.requests, found.long) == (1, False)


def test_a_gap_of_a_month_takes_time_although_nothing_comes(trace):
    short, long = study(trace(0, 1, 2, 3)), study(trace(0, 1, 2, 3, 30 * DAY_S))
    assert estimate(long).seconds > 20 * estimate(short).seconds


def test_the_slice_that_is_offered_is_of_the_whole_recording(trace):
    rows = [f"{minute * 60},{2000 if minute == 200 else 1000}" for minute in range(400)]
    of = {"policies": "fixed:8", "slice": "2h/6h"}
    found = study(trace(*rows, head="seconds,requests_per_second"), **of)
    begin_s, end_s = (parse_duration(text) for text in estimate(found).slice_text.split("/"))
    assert 2 * 3600 <= begin_s <= 200 * 60 <= end_s <= 6 * 3600
    assert begin_s + end_s == pytest.approx(400 * 60, abs=300)  # around the busiest minute


def test_the_fluid_model_has_a_slice_to_offer_too(trace, monkeypatch, capsys):
    """Its time goes by the simulated second: a minute's worth around the peak. And nobody is told to take --fast who
    did."""
    rows = [f"{hour * 3600},{50 if hour == 20 else 10}" for hour in range(48)]
    found = study(trace(*rows, head="seconds,requests_per_second"), policies="fixed:8", fast=True)
    monkeypatch.setattr(plan, "_fluid_cost", lambda study: 0.005)
    expected = estimate(found)
    assert expected.long
    begin_s, end_s = (parse_duration(text) for text in expected.slice_text.split("/"))
    assert 0 < begin_s <= 20.5 * 3600 <= end_s
    assert end_s - begin_s == pytest.approx(60 / 0.005, abs=120)
    _offer(expected, found, out())
    told = capsys.readouterr().out
    assert f"Shorter: --slice {expected.slice_text} (the busiest part, a minute)" in told
    assert "--fast" not in told


def test_a_fixed_count_beyond_the_bounds_says_what_it_is(trace):
    found = study(trace(0, 1, 2), max_replicas=4, policies="fixed:9")
    assert found.notes == ["fixed:9 is 4 replicas of service: it has 1 to 4 (--min-replicas, --max-replicas)"]
    rates = trace("0,9000", "60,9000", head="seconds,requests_per_second")
    found = study(rates, max_replicas=4, policies="budget,fixed")
    assert [variant.key for variant in found.variants] == ["budget", "fixed:4"]
    assert found.notes == []


def test_spares_without_their_model_are_none_as_live(trace, tmp_path):
    (tmp_path / "model.py").write_text("class Model:\n    def predict(self, batch):\n        return batch\n")
    (tmp_path / "service.yaml").write_text(SERVICE)
    found = study(trace(0, 1, 2), files=(str(tmp_path / "service.yaml"),))
    assert found.planned[0].service.spares == 0
