"""How many replicas one metric asks for: replica_calculator.go and metrics/utilization.go of Kubernetes, in its integer
arithmetic. Every function raises MetricError where the metric can't be used."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plimsoll.policy.scaling.hpa.arithmetic import MAX_INT64, MIN_INT64, ceiled, int32, int64, quotient, ratio
from plimsoll.policy.scaling.hpa.objects import MetricError, Pod, PodMetric, Tolerances
from plimsoll.policy.scaling.hpa.pods import PodGroups, group_pods, ready_count, requests_by_pod

_NO_METRICS = "did not receive metrics for targeted pods (pods might be unready)"
_NO_PODS = "no pods returned by selector while calculating replica count"


@dataclass(frozen=True, slots=True)
class Proposal:
    """`usage`: milli-units: a pod's average, or the whole for a Value target. `utilization`: percent of the request,
    None for targets that are no utilization."""

    replicas: int
    usage: int
    utilization: int | None = None


def resource_utilization_ratio(
    values: Mapping[str, int], requests: Mapping[str, int], target: int
) -> tuple[float, int, int]:
    """(usage over target, utilization in percent, milli-units a pod), over the pods that have both a value and a
    request."""
    used = requested = pods = 0
    for name, value in values.items():
        request = requests.get(name)
        if request is not None:
            used += value
            requested += request
            pods += 1
    if requested == 0:
        raise MetricError("no metrics returned matched known pods")
    utilization = int32(quotient(int64(used * 100), int64(requested)))
    return ratio(utilization, target), utilization, quotient(int64(used), pods)


def metric_usage_ratio(values: Mapping[str, int], target: int) -> tuple[float, int]:
    """(usage over target, milli-units a pod)."""
    usage = quotient(int64(sum(values.values())), len(values))
    return ratio(usage, target), usage


class ReplicaCalculator:
    """`pod_level`: the gate PodLevelResources. `now` and every time in pods and metrics are seconds on one clock."""

    __slots__ = ("cpu_initialization_period_s", "initial_readiness_delay_s", "pod_level")

    def __init__(
        self,
        cpu_initialization_period_s: float = 300.0,
        initial_readiness_delay_s: float = 30.0,
        *,
        pod_level: bool = True,
    ) -> None:
        self.cpu_initialization_period_s = cpu_initialization_period_s
        self.initial_readiness_delay_s = initial_readiness_delay_s
        self.pod_level = pod_level

    def resource_replicas(
        self,
        current: int,
        target: int,
        metrics: Mapping[str, PodMetric],
        pods: Sequence[Pod],
        *,
        now: float,
        resource: str = "cpu",
        container: str = "",
        tolerances: Tolerances = Tolerances(),  # noqa: B008  (frozen)
    ) -> Proposal:
        """Resource and ContainerResource with a Utilization target of `target` percent. `metrics`: as
        `pods.usage_by_pod` makes them, of the same container."""
        groups, values = self._counted(metrics, pods, resource, now)
        requests = requests_by_pod(pods, resource, container, pod_level=self.pod_level)
        first, utilization, usage = resource_utilization_ratio(values, requests, target)
        full = max(100, target)  # percent: a missing pod may be using all of its request, or of the target beyond it

        def again(filled: Mapping[str, int]) -> float:
            return resource_utilization_ratio(filled, requests, target)[0]

        def missing(name: str) -> int:
            return quotient(int64(requests[name] * full), 100)

        return Proposal(_replicas(current, first, groups, values, again, missing, tolerances), usage, utilization)

    def pods_replicas(
        self,
        current: int,
        target: int,
        metrics: Mapping[str, PodMetric],
        pods: Sequence[Pod],
        *,
        now: float,
        resource: str = "",
        tolerances: Tolerances = Tolerances(),  # noqa: B008
    ) -> Proposal:
        """An AverageValue target of `target` milli-units: Pods metrics (`resource` empty), or Resource and
        ContainerResource (`resource` says which: readiness counts for cpu)."""
        groups, values = self._counted(metrics, pods, resource, now)
        first, usage = metric_usage_ratio(values, target)

        def again(filled: Mapping[str, int]) -> float:
            return metric_usage_ratio(filled, target)[0]

        def missing(_name: str) -> int:
            return target

        return Proposal(_replicas(current, first, groups, values, again, missing, tolerances), usage)

    def _counted(
        self, metrics: Mapping[str, PodMetric], pods: Sequence[Pod], resource: str, now: float
    ) -> tuple[PodGroups, dict[str, int]]:
        if not pods:
            raise MetricError(_NO_PODS)
        groups = group_pods(
            pods,
            metrics,
            resource,
            cpu_initialization_period_s=self.cpu_initialization_period_s,
            initial_readiness_delay_s=self.initial_readiness_delay_s,
            now=now,
        )
        values = {name: metric.value for name, metric in metrics.items()}
        for name in groups.ignored:
            values.pop(name, None)
        for name in groups.unready:
            values.pop(name, None)
        if not values:
            raise MetricError(_NO_METRICS)
        return groups, values


def _replicas(
    current: int,
    first: float,
    groups: PodGroups,
    values: dict[str, int],
    again: Callable[[Mapping[str, int]], float],
    missing: Callable[[str], int],
    tolerances: Tolerances,
) -> int:
    """What pods without a value might be using is guessed against the change: it can damp it, never turn it round."""
    up_with_unready = bool(groups.unready) and first > 1.0
    if not up_with_unready and not groups.missing:
        return current if tolerances.is_within(first) else ceiled(first * groups.ready)
    if first != 1.0:
        for name in groups.missing:
            values[name] = missing(name) if first < 1.0 else 0
    if up_with_unready:
        for name in groups.unready:
            values[name] = 0
    second = again(values)
    if tolerances.is_within(second) or (first < 1.0 < second) or (first > 1.0 > second):
        return current
    wanted = ceiled(second * len(values))
    if (second < 1.0 and wanted > current) or (second > 1.0 and wanted < current):
        return current
    return wanted


def value_replicas(
    current: int,
    target: int,
    value: int | Sequence[int],
    pods: Sequence[Pod],
    *,
    tolerances: Tolerances = Tolerances(),  # noqa: B008
) -> Proposal:
    """Object (`value` one number) and External (`value`: all series) with a Value target; milli-units. From 0 replicas
    neither ready pods nor tolerances count."""
    total = value if isinstance(value, int) else _sum_capped(value)
    off = ratio(total, target)
    if current == 0:
        return Proposal(ceiled(off), total)
    if tolerances.is_within(off):
        return Proposal(current, total)
    return Proposal(ceiled(off * ready_count(pods)), total)


def average_replicas(
    status_replicas: int,
    target: int,
    value: int | Sequence[int],
    *,
    tolerances: Tolerances = Tolerances(),  # noqa: B008
) -> Proposal:
    """Object and External with an AverageValue target: as many as the whole needs at `target` milli-units each."""
    total = value if isinstance(value, int) else _sum_positive(value)
    wanted = status_replicas
    if not tolerances.is_within(ratio(total, float(target) * float(status_replicas))):
        wanted = ceiled(ratio(total, target))
    if not isinstance(value, int) and float(total) >= float(MAX_INT64):
        return Proposal(wanted, MAX_INT64)
    return Proposal(wanted, ceiled(ratio(total, status_replicas), MIN_INT64, MAX_INT64))


def _sum_capped(values: Sequence[int]) -> int:
    total = 0
    for value in values:
        if value > 0 and total > MAX_INT64 - value:
            return MAX_INT64
        total = int64(total + value)
    return total


def _sum_positive(values: Sequence[int]) -> int:
    """Below zero upstream sees an overflow, whatever the cause."""
    total = 0
    for value in values:
        total = int64(total + value)
        if total < 0:
            return MAX_INT64
    return total
