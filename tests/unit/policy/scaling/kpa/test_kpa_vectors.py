"""Knative's own tables, run against ours: tests/vectors/kpa says from which files of knative/serving."""

import pytest
from tests.unit.policy.scaling.vectors import cases

from plimsoll.policy.scaling.kpa.autoscaler import Autoscaler, DeciderSpec
from plimsoll.policy.scaling.kpa.windows import Buckets, LargestOf, WeightedBuckets
from plimsoll.policy.scaling.kpa.zero import Activity, Standing, ZeroSettings, bounded, next_activity, resolve_target


@cases("kpa/autoscaler.json")
def test_autoscaler(case):
    scaler = Autoscaler(DeciderSpec(**case["spec"]), now=case.get("start_at", 0.0), ready=case["ready"])
    if "start" in case:
        assert (scaler.panic_since, scaler.most_in_panic) == (
            case["start"]["panic_since"],
            case["start"]["most_in_panic"],
        )
    if "panic_since" in case:
        scaler.panic_since, scaler.most_in_panic = case["panic_since"], case["most_in_panic"]
    for step in case["steps"]:
        if "spec" in step:
            scaler.update(DeciderSpec(**step["spec"]))
        got = scaler.scale(step["at"], step["stable"], step["panic"], step["ready"])
        assert got.valid is step.get("valid", True), step
        if got.valid:
            assert got.desired == step["desired"], step
            assert abs(got.excess_burst_capacity - step["excess"]) <= 1, step
        if "panic_since" in step:
            assert scaler.panic_since == step["panic_since"], step


@cases("kpa/to_zero.json")
def test_to_zero(case):
    settings = {"stable_window_s": 300, "grace_s": 60, "progress_deadline_s": 121, "target_burst_capacity": 200}
    names = ZeroSettings.__dataclass_fields__.keys() & case.keys()
    now = 10_000.0
    standing = Standing(
        Activity(case["activity"]),
        now - case["since_s_ago"],
        case.get("initialized", False),
        case.get("proxy_for_s", 0.0),
        case.get("probe_meets_activator", True),
    )
    got = bounded(ZeroSettings(**settings | {name: case[name] for name in names}), standing, case["desired"], now)
    assert got.want == case["want"]
    assert (got.apply and got.want != case["start"]) is case["scaled"]


@cases("kpa/activity.json")
def test_activity(case):
    before = Activity(case["before"])
    got = next_activity(before, want=case["want"], ready=case["ready"], threshold=case["threshold"])
    assert got == case["after"]


@cases("kpa/targets.json")
def test_target(case):
    names = ("total", "utilization", "target", "container_concurrency")
    target, total = resolve_target(**{name: case[name] for name in names if name in case})
    assert (target, total) == (pytest.approx(case["want_target"]), case["want_total"])


@cases("kpa/windows.json")
def test_windows(case):
    buckets = {"mean": Buckets, "weighted": WeightedBuckets}[case["kind"]](case["window_s"], case["granularity_s"])
    assert buckets.is_empty(1000.0)
    for step in case["steps"]:
        if "record" in step:
            buckets.record(*step["record"])
        else:
            within = 0.5 * 10 ** -step.get("digits", 6)
            assert buckets.average(step["average"]) == pytest.approx(step["want"], abs=within), step


@cases("kpa/largest.json")
def test_largest(case):
    window = LargestOf(5, 1)
    got = []
    for index, value in zip(case["index"], case["values"], strict=True):
        window.record_at(index, value)
        got.append(window.current())
    assert got == case["want"]
