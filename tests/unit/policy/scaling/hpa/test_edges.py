"""What the vectors don't reach: integer arithmetic, quantities, which policy is selected, several metrics, zero."""

import math

import pytest

from plimsoll.policy.scaling.hpa import arithmetic, behavior
from plimsoll.policy.scaling.hpa.arithmetic import MAX_INT32, MAX_INT64, milli
from plimsoll.policy.scaling.hpa.autoscaler import ControllerSettings, HorizontalPodAutoscaler
from plimsoll.policy.scaling.hpa.calculator import (
    Proposal,
    average_replicas,
    metric_usage_ratio,
    resource_utilization_ratio,
    value_replicas,
)
from plimsoll.policy.scaling.hpa.objects import (
    Behavior,
    Container,
    MetricError,
    MetricSpec,
    MetricType,
    Pod,
    PodMetric,
    PodUsage,
    RatePolicy,
    RatePolicyType,
    ReadyCondition,
    Recommendation,
    Scale,
    ScaleEvent,
    ScalingRules,
    SeenMetrics,
    SelectPolicy,
    Spec,
    Status,
    Target,
    TargetType,
    Tolerances,
)
from plimsoll.policy.scaling.hpa.pods import group_pods, requests_by_pod, usage_by_pod

READY = ReadyCondition(Status.TRUE, -1e6)


def pods(count: int) -> list[Pod]:
    return [
        Pod(f"p{n}", ready=READY, start_time=-1e6, containers=[Container("a", {"cpu": 1000})]) for n in range(count)
    ]


def test_quantities_are_milli_units_rounded_up() -> None:
    assert [
        milli(text) for text in ("1", "1.5", "100m", "2k", "1e2", "1Mi", "0.0001", "-1.5", "1500u", "3n", ".5")
    ] == [
        1000,
        1500,
        100,
        2_000_000,
        100_000,
        1_048_576_000,
        1,
        -1500,
        2,
        1,
        500,
    ]
    for wrong in ("", "m", "1 m", "1Q", "0x10", "1e", "NaN"):
        with pytest.raises(ValueError, match="quantity"):
            milli(wrong)


def test_integers_are_those_of_go() -> None:
    assert [arithmetic.quotient(*pair) for pair in ((7, 2), (-7, 2), (7, -2), (-7, -2), (0, 3))] == [3, -3, -3, 3, 0]
    assert arithmetic.int64(MAX_INT64 + 1) == arithmetic.MIN_INT64
    assert arithmetic.int32(2**31) == arithmetic.MIN_INT32
    assert arithmetic.ratio(1, 0) == math.inf
    assert math.isnan(arithmetic.ratio(0, 0))
    assert [arithmetic.ceiled(x) for x in (1.0, 1.1, -1.9, 1e20, -1e20, math.nan)] == [
        1,
        2,
        -1,
        MAX_INT32,
        arithmetic.MIN_INT32,
        0,
    ]
    assert [arithmetic.truncated(x) for x in (1.9, -1.9, math.inf)] == [1, -1, MAX_INT32]


def test_ratios() -> None:
    """Numbers: kubernetes v1.36.2, metrics/utilization_test.go."""
    values, requests = {"p0": 50, "p1": 76}, {"p0": 100, "p1": 100}
    assert resource_utilization_ratio(values, requests, 50) == (1.26, 63, 63)
    assert resource_utilization_ratio({**values, "stray": 100}, requests, 50) == (1.26, 63, 63)
    assert resource_utilization_ratio(values, {**requests, "idle": 500}, 50) == (1.26, 63, 63)
    with pytest.raises(MetricError, match="no metrics returned matched known pods"):
        resource_utilization_ratio(values, {}, 50)
    assert metric_usage_ratio({"p0": 5000, "p1": 10000}, 10000) == (0.75, 7500)


def test_utilization_is_cut_to_a_whole_percent() -> None:
    # 1109 of 1000 is 110%, and 1.1 is in tolerance; 1.109 would not be.
    assert resource_utilization_ratio({"p0": 1109}, {"p0": 1000}, 100)[:2] == (1.1, 110)
    assert metric_usage_ratio({"p0": 10, "p1": 9, "p2": 9}, 9) == (1.0, 9)


def test_tolerances_include_their_ends() -> None:
    both = Tolerances(scale_down=0.25, scale_up=0.5)
    assert [both.is_within(x) for x in (0.749, 0.75, 1.0, 1.5, 1.501, math.nan)] == [
        False,
        True,
        True,
        True,
        False,
        False,
    ]


POLICIES = (RatePolicy(RatePolicyType.PODS, 2, 60), RatePolicy(RatePolicyType.PERCENT, 50, 60))


@pytest.mark.parametrize(
    ("select", "up", "down"),
    # From 1: + 2 or + 50% rounded up; from 5: - 2 or - 50% cut off. The first two numbers of "Min" are upstream's.
    [(SelectPolicy.MIN, 2, 3), (SelectPolicy.MAX, 3, 2), (SelectPolicy.DISABLED, 1, 5)],
)
def test_selected_policy(select: SelectPolicy, up: int, down: int) -> None:
    rules = ScalingRules(300, select, POLICIES)
    assert behavior.scale_up_limit(1, [], [], rules, now=0.0) == up
    assert behavior.scale_down_limit(5, [], [], rules, now=0.0) == down


def test_a_period_begins_after_its_first_instant() -> None:
    events = [ScaleEvent(3, 40.0), ScaleEvent(5, 41.0)]
    assert behavior.change_in_period(events, 60, now=100.0) == 5


def test_stabilization_counts_the_windows_ends_differently() -> None:
    # Exactly 300 s old: counts without a behavior, no longer counts with one.
    assert behavior.stabilize([Recommendation(9, 0.0)], 3, window_s=300, now=300.0) == 9
    past = [Recommendation(9, 0.0)]
    assert behavior.stabilize_with_behavior(past, 9, 3, up_window_s=0, down_window_s=300, now=300.0) == 3


def test_defaults_fill_what_is_open() -> None:
    assert behavior.scale_up_rules(None) == behavior.DEFAULT_UP
    found = behavior.scale_down_rules(ScalingRules(tolerance=0.5), 300)
    assert found == ScalingRules(300, SelectPolicy.MAX, behavior.DEFAULT_DOWN.policies, 0.5)
    assert behavior.scale_down_rules(ScalingRules(0), 300).stabilization_window_s == 0


CPU = MetricSpec(MetricType.RESOURCE, "cpu", Target(TargetType.UTILIZATION, 50))
QUEUE = MetricSpec(MetricType.EXTERNAL, "jobs", Target(TargetType.AVERAGE_VALUE, 10_000))


def seen(cpu: int, count: int, jobs: int | None) -> SeenMetrics:
    usage = [PodUsage(f"p{n}", {"a": {"cpu": cpu}}) for n in range(count)]
    return SeenMetrics(usage=usage, external={} if jobs is None else {"jobs": [jobs]})


@pytest.mark.parametrize(
    ("cpu", "jobs", "replicas", "error"),
    [
        (500, 90_000, 9, False),  # the largest of 4 and 9
        (1000, 90_000, 8, False),  # cpu asks for 8 and the jobs for 9, but at most twice as many
        (900, None, 8, True),  # one fails: up is allowed
        (100, None, 4, True),  # down is not
        (500, None, 4, True),
    ],
)
def test_several_metrics(cpu: int, jobs: int | None, replicas: int, error: bool) -> None:
    autoscaler = HorizontalPodAutoscaler(Spec(20, 1, (CPU, QUEUE)), recommendations=[])
    if replicas == 9:
        autoscaler = HorizontalPodAutoscaler(Spec(20, 1, (CPU, QUEUE), Behavior()), recommendations=[])
        # 4 + 4 in 15 s, so 8 first and 9 a period later.
        assert autoscaler.reconcile(Scale(4, 4), pods(4), seen(cpu, 4, jobs), now=0.0).replicas == 8
        assert autoscaler.reconcile(Scale(8, 8), pods(8), seen(cpu, 8, jobs), now=15.0).replicas == 9
        return
    found = autoscaler.reconcile(Scale(4, 4), pods(4), seen(cpu, 4, jobs), now=0.0)
    assert found.replicas == replicas
    assert bool(found.error) == error


def test_all_metrics_failed_is_an_error_and_no_change() -> None:
    autoscaler = HorizontalPodAutoscaler(Spec(20, 1, (CPU, QUEUE)))
    found = autoscaler.reconcile(Scale(4, 4), pods(4), SeenMetrics(), now=0.0)
    assert (found.replicas, found.rescale, found.asked) == (4, False, None)
    assert "2 invalid out of 2" in found.error
    assert autoscaler.conditions["ScalingActive"].reason == "FailedGetResourceMetric"


def test_targets_must_fit_their_metrics() -> None:
    for wrong in (
        MetricSpec(MetricType.PODS, "rate", Target(TargetType.VALUE, 1)),
        MetricSpec(MetricType.RESOURCE, "cpu", Target(TargetType.VALUE, 1)),
        MetricSpec(MetricType.EXTERNAL, "jobs", Target(TargetType.UTILIZATION, 1)),
    ):
        metrics = SeenMetrics(
            usage=[PodUsage("p0", {"a": {"cpu": 1}})], pods={"rate": {"p0": PodMetric(1)}}, external={"jobs": [1]}
        )
        found = HorizontalPodAutoscaler(Spec(20, 1, (wrong,))).reconcile(Scale(1, 1), pods(1), metrics, now=0.0)
        assert "its target must be" in found.error


def test_an_average_value_of_cpu_looks_at_readiness_but_not_at_requests() -> None:
    spec = MetricSpec(MetricType.RESOURCE, "cpu", Target(TargetType.AVERAGE_VALUE, 500))
    young = Pod("p1", ready=ReadyCondition(Status.FALSE, 95.0), start_time=95.0)
    both = [Pod("p0", ready=READY, start_time=-1e6), young]
    metrics = SeenMetrics(usage=[PodUsage(name, {"a": {"cpu": 1600}}, 100.0) for name in ("p0", "p1")])
    # 1600 of 500 on the ready one; with the young one at 0 it is 800 of 500 over two: 4, where 7 would be wanted.
    found = HorizontalPodAutoscaler(Spec(20, 1, (spec,))).reconcile(Scale(2, 2), both, metrics, now=100.0)
    assert found.replicas == 4
    assert found.seen == (Proposal(4, 1600),)


def test_zero_replicas_until_1_35_depends_on_the_minimum() -> None:
    metrics = SeenMetrics(external={"jobs": [25_000]})
    off = HorizontalPodAutoscaler(Spec(9, 1, (QUEUE,))).reconcile(Scale(0, 0), [], metrics, now=0.0)
    assert (off.replicas, off.rescale) == (0, False)
    on = HorizontalPodAutoscaler(Spec(9, 0, (QUEUE,))).reconcile(Scale(0, 0), [], metrics, now=0.0)
    assert (on.replicas, on.rescale) == (3, True)


def test_zero_replicas_since_1_36_depends_on_who_went_there() -> None:
    settings = ControllerSettings(scale_to_zero=True, zero_needs_condition=True, downscale_stabilization_s=0)
    autoscaler = HorizontalPodAutoscaler(Spec(9, 0, (QUEUE,)), settings)
    jobs = SeenMetrics(external={"jobs": [25_000]})
    assert autoscaler.reconcile(Scale(0, 0), [], jobs, now=0.0).replicas == 0
    none = SeenMetrics(external={"jobs": [0]})
    assert autoscaler.reconcile(Scale(2, 2), pods(2), none, now=30.0).replicas == 0
    assert autoscaler.conditions["ScaledToZero"].status
    assert autoscaler.reconcile(Scale(0, 0), [], jobs, now=60.0).replicas == 3


def test_values_from_outside() -> None:
    assert average_replicas(0, 1000, 0) == Proposal(0, 0)
    assert average_replicas(0, 1000, 2500).replicas == 3
    assert average_replicas(3, 1000, [-1]).usage == MAX_INT64  # below zero upstream sees an overflow
    assert value_replicas(0, 1000, 2500, []) == Proposal(3, 2500)
    with pytest.raises(MetricError, match="no pods"):
        value_replicas(1, 1000, 2500, [])


def test_requests_of_a_pod_with_init_containers_and_overhead() -> None:
    pod = Pod(
        "p0",
        containers=[Container("a", {"memory": 300})],
        init_containers=[Container("i", {"memory": 900}), Container("s", {"memory": 50}, restart_always=True)],
        requests={"cpu": 800},
        overhead={"cpu": 5, "memory": 7},
    )
    assert requests_by_pod([pod], "cpu") == {"p0": 805}
    assert requests_by_pod([pod], "memory") == {"p0": 907}  # the hungriest moment is i's
    assert requests_by_pod([pod], "memory", pod_level=False) == {"p0": 350}
    with pytest.raises(MetricError, match="missing pod-level request for gpu"):
        requests_by_pod([pod], "gpu")


def test_a_pod_of_which_one_container_has_no_value_has_none() -> None:
    items = [
        PodUsage("p0", {"a": {"cpu": 5}, "b": {"cpu": 6}}),
        PodUsage("p1", {"a": {"cpu": 5}, "b": {}}),
        PodUsage("p2", {}),
    ]
    assert {name: one.value for name, one in usage_by_pod(items, "cpu").items()} == {"p0": 11}
    assert {name: one.value for name, one in usage_by_pod(items, "cpu", "a").items()} == {"p0": 5, "p1": 5}
    with pytest.raises(MetricError, match="no metrics returned"):
        usage_by_pod([], "cpu")


def test_a_young_pod_that_is_unready_is_left_out_however_fresh_its_metric() -> None:
    pod = Pod("p0", ready=ReadyCondition(Status.FALSE, 60.0), start_time=50.0)
    found = group_pods(
        [pod],
        {"p0": PodMetric(1, 150.0, 60.0)},
        "cpu",
        cpu_initialization_period_s=300.0,
        initial_readiness_delay_s=30.0,
        now=150.0,
    )
    assert found.unready == {"p0"}
