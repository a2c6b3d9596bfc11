"""Several metrics: each proposes a count; the largest wins, and one that fails forbids to scale down."""

from collections.abc import Sequence
from dataclasses import dataclass

from plimsoll.policy.scaling.hpa.calculator import Proposal, ReplicaCalculator, average_replicas, value_replicas
from plimsoll.policy.scaling.hpa.objects import (
    MetricError,
    MetricSpec,
    MetricType,
    Pod,
    Scale,
    SeenMetrics,
    Target,
    TargetType,
    Tolerances,
)
from plimsoll.policy.scaling.hpa.pods import usage_by_pod

_REASONS: dict[str, str] = {
    MetricType.RESOURCE: "FailedGetResourceMetric",
    MetricType.CONTAINER_RESOURCE: "FailedGetContainerResourceMetric",
    MetricType.PODS: "FailedGetPodsMetric",
    MetricType.OBJECT: "FailedGetObjectMetric",
    MetricType.EXTERNAL: "FailedGetExternalMetric",
}


@dataclass(frozen=True, slots=True)
class Look:
    """What one round looks at."""

    scale: Scale
    pods: Sequence[Pod]
    metrics: SeenMetrics
    calculator: ReplicaCalculator
    tolerances: Tolerances
    now: float


@dataclass(frozen=True, slots=True)
class Computed:
    """`replicas` None: nothing may be done; `reason`: then the condition's. `metric`: the one that decided. `error`:
    what was wrong, also where the other metrics decided."""

    replicas: int | None
    metric: str = ""
    seen: tuple[Proposal | None, ...] = ()
    reason: str = ""
    error: str = ""


def compute(specs: Sequence[MetricSpec], look: Look) -> Computed:
    """computeReplicasForMetrics of horizontal.go. Never raises."""
    replicas, metric = 0, ""
    seen: list[Proposal | None] = []
    first: MetricError | None = None
    failed = 0
    for spec in specs:
        try:
            proposal = propose(spec, look)
        except MetricError as error:
            first = first or error
            failed += 1
            seen.append(None)
            continue
        seen.append(proposal)
        if replicas == 0 or proposal.replicas > replicas:
            replicas, metric = proposal.replicas, title(spec)
    if first is None:
        return Computed(replicas, metric, tuple(seen))
    text = f"invalid metrics ({failed} invalid out of {len(specs)}), first error is: {first}"
    if failed == len(specs) or replicas < look.scale.spec_replicas:
        return Computed(None, "", tuple(seen), first.reason, text)
    return Computed(replicas, metric, tuple(seen), first.reason, text)


def title(spec: MetricSpec) -> str:
    """As in a HorizontalPodAutoscaler's events."""
    match spec.type:
        case MetricType.RESOURCE | MetricType.CONTAINER_RESOURCE:
            if spec.target is not None and spec.target.type is TargetType.AVERAGE_VALUE:
                return f"{spec.name} resource"
            container = "container " if spec.type == MetricType.CONTAINER_RESOURCE else ""
            return f"{spec.name} {container}resource utilization (percentage of request)"
        case MetricType.PODS:
            return f"pods metric {spec.name}"
        case MetricType.OBJECT:
            return f"{spec.object} metric {spec.name}"
    return f"external metric {spec.name}"


def propose(spec: MetricSpec, look: Look) -> Proposal:
    """What one metric asks for. Raises MetricError with the condition's reason."""
    reason = _REASONS.get(spec.type)
    if reason is None:
        raise MetricError(f"unknown metric source type {spec.type!r}", "InvalidMetricSourceType")
    try:
        match spec.type:
            case MetricType.RESOURCE | MetricType.CONTAINER_RESOURCE:
                return _resource(spec, look)
            case MetricType.PODS:
                return _pods(spec, look)
            case MetricType.OBJECT:
                value = look.metrics.objects.get((spec.object, spec.name))
                if value is None:
                    raise MetricError(f"unable to get metric {spec.name}: not there for {spec.object}")
                return _outside(spec, look, value)
            case _:
                series = look.metrics.external.get(spec.name)
                if not series:
                    raise MetricError(
                        f"unable to get external metric {spec.name}: no metrics returned from external metrics API"
                    )
                return _outside(spec, look, series)
    except MetricError as error:
        raise MetricError(str(error), reason) from None


def _target(spec: MetricSpec, *types: TargetType) -> Target:
    if spec.target is None or spec.target.type not in types:
        raise MetricError(f"{spec.type} metric {spec.name}: its target must be {' or '.join(types)}")
    return spec.target


def _resource(spec: MetricSpec, look: Look) -> Proposal:
    target = _target(spec, TargetType.UTILIZATION, TargetType.AVERAGE_VALUE)
    container = spec.container if spec.type == MetricType.CONTAINER_RESOURCE else ""
    usage = usage_by_pod(look.metrics.usage, spec.name, container)
    current = look.scale.spec_replicas
    if target.type is TargetType.AVERAGE_VALUE:
        return look.calculator.pods_replicas(
            current, target.value, usage, look.pods, now=look.now, resource=spec.name, tolerances=look.tolerances
        )
    return look.calculator.resource_replicas(
        current,
        target.value,
        usage,
        look.pods,
        now=look.now,
        resource=spec.name,
        container=container,
        tolerances=look.tolerances,
    )


def _pods(spec: MetricSpec, look: Look) -> Proposal:
    target = _target(spec, TargetType.AVERAGE_VALUE)
    values = look.metrics.pods.get(spec.name)
    if not values:
        raise MetricError(f"unable to get metric {spec.name}: no metrics returned from custom metrics API")
    return look.calculator.pods_replicas(
        look.scale.spec_replicas, target.value, values, look.pods, now=look.now, tolerances=look.tolerances
    )


def _outside(spec: MetricSpec, look: Look, value: int | Sequence[int]) -> Proposal:
    target = _target(spec, TargetType.VALUE, TargetType.AVERAGE_VALUE)
    if target.type is TargetType.AVERAGE_VALUE:
        return average_replicas(look.scale.status_replicas, target.value, value, tolerances=look.tolerances)
    return value_replicas(look.scale.spec_replicas, target.value, value, look.pods, tolerances=look.tolerances)
