"""The algorithm against cases whose numbers come from Kubernetes' own unit tests (tests/vectors/hpa)."""

import pytest
from tests.unit.policy.scaling.hpa import vectors
from tests.unit.policy.scaling.hpa.vectors import (
    CPU_INITIALIZATION_S,
    LONG_AGO,
    NOW,
    READINESS_DELAY_S,
    Case,
    cases,
    title,
)

from plimsoll.policy.scaling.hpa import behavior
from plimsoll.policy.scaling.hpa.autoscaler import Condition, ControllerSettings, HorizontalPodAutoscaler
from plimsoll.policy.scaling.hpa.calculator import Proposal, ReplicaCalculator, average_replicas, value_replicas
from plimsoll.policy.scaling.hpa.objects import (
    Behavior,
    Container,
    MetricError,
    MetricSpec,
    Phase,
    Pod,
    PodMetric,
    ReadyCondition,
    Recommendation,
    Scale,
    SeenMetrics,
    Spec,
    Status,
    TargetType,
)
from plimsoll.policy.scaling.hpa.pods import group_pods, requests_by_pod, usage_by_pod


def _proposal(case: Case) -> Proposal:
    calculator = ReplicaCalculator(CPU_INITIALIZATION_S, READINESS_DELAY_S)
    resource = case.get("resource", "cpu")
    seen = vectors.pods(case, resource=resource)
    target = vectors.target(case)
    assert target is not None
    current, tolerances = case["current"], vectors.tolerances(case)
    match case["type"], target.type:
        case (("Resource" | "ContainerResource"), _):
            container = case.get("container", "")
            metrics = usage_by_pod(vectors.usage(case["usage"], resource, LONG_AGO), resource, container)
            return calculator.resource_replicas(
                current,
                target.value,
                metrics,
                seen,
                now=NOW,
                resource=resource,
                container=container,
                tolerances=tolerances,
            )
        case "Pods", _:
            values = {f"p{number}": PodMetric(value) for number, value in enumerate(case["values"])}
            return calculator.pods_replicas(current, target.value, values, seen, now=NOW, tolerances=tolerances)
        case kind, TargetType.VALUE:
            value = case["values"][0] if kind == "Object" else case["values"]
            return value_replicas(current, target.value, value, seen, tolerances=tolerances)
        case kind, _:
            value = case["values"][0] if kind == "Object" else case["values"]
            return average_replicas(current, target.value, value, tolerances=tolerances)
    raise AssertionError(case["type"])


@pytest.mark.parametrize("case", cases("calculator"), ids=title)
def test_one_metric(case: Case) -> None:
    expected = case["expect"]
    if "error" in expected:
        with pytest.raises(MetricError) as raised:
            _proposal(case)
        assert expected["error"] in str(raised.value)
        return
    found = _proposal(case)
    assert found == Proposal(expected["replicas"], expected["usage"], expected.get("utilization"))


@pytest.mark.parametrize("case", cases("groups"), ids=title)
def test_which_pods_count(case: Case) -> None:
    pods = [
        Pod(
            one["name"],
            Phase(one["phase"]),
            ReadyCondition(Status(one["ready"]), NOW + one["transition"]) if "ready" in one else None,
            start_time=NOW + one["started"] if "started" in one else None,
            deleted=one.get("deleted", False),
        )
        for one in case["pods"]
    ]
    metrics = {
        name: PodMetric(one["value"], NOW + one["timestamp"] if "timestamp" in one else LONG_AGO, one.get("window", 0))
        for name, one in case["metrics"].items()
    }
    found = group_pods(
        pods,
        metrics,
        case["resource"],
        cpu_initialization_period_s=CPU_INITIALIZATION_S,
        initial_readiness_delay_s=READINESS_DELAY_S,
        now=NOW,
    )
    assert {
        "ready": found.ready,
        "unready": sorted(found.unready),
        "missing": sorted(found.missing),
        "ignored": sorted(found.ignored),
    } == case["expect"]


@pytest.mark.parametrize("case", cases("requests"), ids=title)
def test_what_pods_request(case: Case) -> None:
    def boxes(found: list[Case]) -> list[Container]:
        return [Container(one["name"], one["requests"], one.get("sidecar", False)) for one in found]

    pods = [
        Pod(
            one["name"],
            containers=boxes(one["containers"]),
            init_containers=boxes(one.get("init", [])),
            requests=one.get("requests", {}),
        )
        for one in case["pods"]
    ]
    if "error" in case["expect"]:
        with pytest.raises(MetricError) as raised:
            requests_by_pod(pods, "cpu", case["container"], pod_level=case["pod_level"])
        assert str(raised.value) == case["expect"]["error"]
    else:
        found = requests_by_pod(pods, "cpu", case["container"], pod_level=case["pod_level"])
        assert found == case["expect"]["requests"]


@pytest.mark.parametrize("case", cases("rates"), ids=title)
def test_rate_policies(case: Case) -> None:
    args = behavior.RateArgs(
        case["current"],
        case["desired"],
        case["least"],
        case["most"],
        behavior.scale_up_rules(vectors.rules(case.get("up"))),
        behavior.scale_down_rules(vectors.rules(case.get("down"))),
    )
    added, removed = vectors.events(case.get("added", ())), vectors.events(case.get("removed", ()))
    found = behavior.convert_with_behavior(args, added, removed, now=NOW)
    assert found == (case["expect"]["replicas"], case["expect"]["why"])


@pytest.mark.parametrize("case", cases("caps"), ids=title)
def test_caps(case: Case) -> None:
    found = behavior.convert(case["current"], case["desired"], case["least"], case["most"])
    assert found == (case["expect"]["replicas"], case["expect"]["why"])


@pytest.mark.parametrize("case", cases("windows"), ids=title)
def test_stabilization(case: Case) -> None:
    past = [Recommendation(replicas, NOW + at) for replicas, at in case["past"]]
    expected = case["expect"]
    if "up_window" in case:
        found = behavior.stabilize_with_behavior(
            past,
            case["current"],
            case["desired"],
            up_window_s=case["up_window"],
            down_window_s=case["down_window"],
            now=NOW,
        )
        if "past" in expected:
            assert [one.replicas for one in past] == expected["past"]
    else:
        found = behavior.stabilize(past, case["desired"], window_s=case["window"], now=NOW)
        assert len(past) == expected["kept"]
    assert found == expected["replicas"]


@pytest.mark.parametrize("case", cases("events"), ids=title)
def test_events(case: Case) -> None:
    events = vectors.events(case["before"])
    assert behavior.change_in_period(events, 60, now=NOW) == case["expect"]["in_last_60_s"]
    behavior.store_event(events, vectors.rules(case["rules"]), case["change"], now=NOW)
    assert [[one.replica_change, one.outdated] for one in events] == case["expect"]["after"]


def _round(case: Case) -> tuple[HorizontalPodAutoscaler, Scale, list[Pod], SeenMetrics]:
    specs = tuple(
        MetricSpec(
            one["type"], one.get("name", ""), vectors.target(one), one.get("container", ""), one.get("object", "")
        )
        for one in case["metrics"]
    )
    rules = None
    if "up" in case or "down" in case:
        rules = Behavior(vectors.rules(case.get("up")), vectors.rules(case.get("down")))
    past = None
    if "past" in case:
        past = [Recommendation(replicas, NOW + at) for replicas, at in case["past"]]
    autoscaler = HorizontalPodAutoscaler(
        Spec(case["most"], case["least"], specs, rules),
        ControllerSettings(
            cpu_initialization_period_s=CPU_INITIALIZATION_S,
            initial_readiness_delay_s=READINESS_DELAY_S,
            **case.get("gates", {}),
        ),
        recommendations=past,
        conditions={
            name: Condition(status == "True", reason) for name, (status, reason) in case.get("conditions", {}).items()
        },
    )
    levels, fail = case["levels"], case.get("fail", ())
    halves = [{"values": [level // 2, level // 2]} for level in levels]
    metrics = SeenMetrics(
        usage=() if "usage" in fail else vectors.usage(halves, "cpu", NOW),
        pods={} if "pods" in fail else {"rate": {f"p{n}": PodMetric(level, NOW) for n, level in enumerate(levels)}},
        objects={("queue", "rate"): levels[0]} if levels and "objects" not in fail else {},
        external={} if "external" in fail else {"rate": levels},
    )
    pods = vectors.pods(case, changed_at_start=True)
    return autoscaler, Scale(case["spec"], case["status"]), pods, metrics


@pytest.mark.parametrize("case", cases("rounds"), ids=title)
def test_rounds(case: Case) -> None:
    autoscaler, scale, pods, metrics = _round(case)
    expected = case["expect"]
    found = autoscaler.reconcile(scale, pods, metrics, now=NOW)
    assert found.replicas == expected["replicas"]
    assert found.rescale == (expected["replicas"] != case["spec"])
    assert bool(found.error) == expected["error"]
    if "utilization" in expected:
        assert found.seen[0] is not None
        assert found.seen[0].utilization == expected["utilization"]
    assert {
        name: [str(condition.status), condition.reason] for name, condition in autoscaler.conditions.items()
    } == expected["conditions"]
