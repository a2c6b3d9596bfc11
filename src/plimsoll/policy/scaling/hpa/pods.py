"""Which pods count, what they request and what they use."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.policy.scaling.hpa.objects import Container, MetricError, Phase, Pod, PodMetric, PodUsage, Status

# IsSupportedPodLevelResource; huge pages by their prefix.
_POD_LEVEL = ("cpu", "memory")


@dataclass(slots=True)
class PodGroups:
    """`ready`: how many pods count with their metric. `unready`: their metric is left out; they count as using nothing
    when scaling up. `missing`: no metric came. `ignored`: deleted or failed."""

    ready: int = 0
    unready: set[str] = field(default_factory=set)
    missing: set[str] = field(default_factory=set)
    ignored: set[str] = field(default_factory=set)


def group_pods(
    pods: Iterable[Pod],
    metrics: Mapping[str, PodMetric],
    resource: str,
    *,
    cpu_initialization_period_s: float,
    initial_readiness_delay_s: float,
    now: float,
) -> PodGroups:
    """groupPods of replica_calculator.go. Readiness is asked for "cpu" alone: what a pod uses while it starts says
    nothing about its load."""
    groups = PodGroups()
    for pod in pods:
        if pod.deleted or pod.phase is Phase.FAILED:
            groups.ignored.add(pod.name)
        elif pod.phase is Phase.PENDING:
            groups.unready.add(pod.name)
        elif (metric := metrics.get(pod.name)) is None:
            groups.missing.add(pod.name)
        elif resource == "cpu" and _is_unready(
            pod, metric, cpu_initialization_period_s, initial_readiness_delay_s, now
        ):
            groups.unready.add(pod.name)
        else:
            groups.ready += 1
    return groups


def _is_unready(pod: Pod, metric: PodMetric, initialization_s: float, readiness_delay_s: float, now: float) -> bool:
    ready, started = pod.ready, pod.start_time
    if ready is None or started is None:
        return True
    is_false = ready.status is Status.FALSE
    if started + initialization_s > now:
        # A sample whose window reaches back before the pod got ready measures its start, too.
        return is_false or metric.timestamp < ready.last_transition_time + metric.window_s
    # Later only a pod that was never ready is left out: its condition has not changed since the first moments.
    return is_false and started + readiness_delay_s > ready.last_transition_time


def ready_count(pods: Sequence[Pod]) -> int:
    """Running and ready. Raises MetricError where there is no pod at all."""
    if not pods:
        raise MetricError("no pods returned by selector while calculating replica count")
    return sum(
        1 for pod in pods if pod.phase is Phase.RUNNING and pod.ready is not None and pod.ready.status is Status.TRUE
    )


def requests_by_pod(
    pods: Iterable[Pod], resource: str, container: str = "", *, pod_level: bool = True
) -> dict[str, int]:
    """Milli-units each pod requests: of one container where it is named, else the pod's own request where it has one
    (`pod_level`: the gate PodLevelResources, on since 1.34), else the sum over its containers and sidecars. Raises
    MetricError where a container has no request."""
    found = {}
    for pod in pods:
        if pod.requests and pod_level and not container and any(map(_is_pod_level, pod.requests)):
            found[pod.name] = _pod_level_request(pod, resource)
        else:
            found[pod.name] = _container_request(pod, resource, container)
    return found


def _is_pod_level(resource: str) -> bool:
    return resource in _POD_LEVEL or resource.startswith("hugepages-")


def _pod_level_request(pod: Pod, resource: str) -> int:
    """PodRequests of component-helpers: the pod's request goes before its containers'; overhead comes on top."""
    if resource in pod.requests and _is_pod_level(resource):
        request: int | None = pod.requests[resource]
    else:
        request = _aggregated(pod, resource)
    if request is None and resource not in pod.overhead:
        raise MetricError(f"missing pod-level request for {resource} in Pod {pod.name}")
    return (request or 0) + pod.overhead.get(resource, 0)


def _aggregated(pod: Pod, resource: str) -> int | None:
    """Containers and sidecars together, or the hungriest moment of the init containers where that is more."""
    running = [box.requests[resource] for box in _long_running(pod) if resource in box.requests]
    sidecars = 0
    peaks = []
    for box in pod.init_containers:
        request = box.requests.get(resource, 0)
        if box.restart_always:
            sidecars += request
            peaks.append(sidecars)
        else:
            peaks.append(sidecars + request)
    if not running and not any(resource in box.requests for box in pod.init_containers):
        return None
    return max(sum(running), *peaks) if peaks else sum(running)


def _long_running(pod: Pod) -> list[Container]:
    return [*pod.containers, *(box for box in pod.init_containers if box.restart_always)]


def _container_request(pod: Pod, resource: str, container: str) -> int:
    total = 0
    for box in pod.containers if not pod.init_containers else _long_running(pod):
        if container in ("", box.name):
            request = box.requests.get(resource)
            if request is None:
                raise MetricError(f"missing request for {resource} in container {box.name} of Pod {pod.name}")
            total += request
            if container:
                return total
    if container:
        raise MetricError(f"container {container} not found in Pod {pod.name}")
    return total


def usage_by_pod(items: Iterable[PodUsage], resource: str, container: str = "") -> dict[str, PodMetric]:
    """The resource metrics API's items as one value a pod: of the container named, else of all. A pod of which one
    container's value is missing is left out. Raises MetricError where there are no items."""
    items = list(items)
    if not items:
        raise MetricError(
            f"unable to get metrics for resource {resource}: no metrics returned from resource metrics API"
        )
    found = {}
    for item in items:
        value = _usage(item, resource, container)
        if value is not None:
            found[item.pod] = PodMetric(value, item.timestamp, item.window_s)
    return found


def _usage(item: PodUsage, resource: str, container: str) -> int | None:
    if container:
        return item.containers.get(container, {}).get(resource)
    total = None
    for usage in item.containers.values():
        value = usage.get(resource)
        if value is None:
            return None
        total = value if total is None else total + value
    return total
