"""What a turn tells: signals for autoscalers, figures for the operator's status and for people."""

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field

from plimsoll.control.cluster.service import ClusterService
from plimsoll.control.reports import Traffic
from plimsoll.control.scaling.scaling import ScalingTold
from plimsoll.control.status import inside_budget
from plimsoll.core.scaling import Observation
from plimsoll.insight.rate import Rate
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.ports.signals import PodSignal, ServiceSignal

RPS, QUEUE, CONCURRENCY, P99, GPU = (
    "requests_per_second",
    "queue_length",
    "concurrency",
    "predicted_p99_seconds",
    "gpu_utilization",
)
_P99_ALLOWS = 0.01
_MEMORY_S = 10.0  # of a pod's rate: an HPA looks every 15 s


@dataclass(frozen=True, slots=True)
class Figures:
    """One service as `GET /plimsoll/status` tells it; seconds, a second, shares of one; None: not known."""

    namespace: str
    name: str
    desired: int
    requests_per_s: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    error_rate: float | None
    within_budget: bool | None
    reason: str
    policy: str = ""
    holding: str = ""
    ready: int = 0
    pending: tuple[str, ...] = ()  # why replicas have no node, each reason once
    evidence: Mapping[str, object] = field(default_factory=dict)

    def as_json(self) -> dict[str, object]:
        return asdict(self)


def figures_of(state: ClusterService, traffic: Traffic, told: ScalingTold) -> Figures:
    return Figures(
        namespace=state.namespace,
        name=state.short,
        desired=state.wanted,
        requests_per_s=traffic.requests_per_s,
        p50_s=traffic.p50_s,
        p95_s=traffic.p95_s,
        p99_s=traffic.p99_s,
        error_rate=traffic.error_rate,
        within_budget=inside_budget(state.service, traffic),
        reason=told.holding or told.trimmed or told.change or told.reason,
        policy=told.policy,
        holding=told.holding,
        ready=state.ready,
        pending=tuple(dict.fromkeys(replica.pending for replica in state.seen if replica.pending)),
        evidence=told.evidence,
    )


@dataclass(slots=True)
class _Pod:
    rate: Rate
    requests: float


class PodRates:
    """Requests a second of each replica, from its own running count."""

    def __init__(self) -> None:
        self._pods: dict[str, _Pod] = {}

    def look(self, seen: Sequence[ObservedReplica], now: float) -> None:
        """Each turn, with all replicas there are."""
        pods: dict[str, _Pod] = {}
        for replica in seen:
            count = replica.load.get("requests")
            if count is None:
                continue
            known = self._pods.get(replica.id) or _Pod(Rate(_MEMORY_S), count)
            # A count that fell is a new life's: all it has is new.
            known.rate.observe(now, count - known.requests if count >= known.requests else count)
            known.requests = count
            pods[replica.id] = known
        self._pods = pods

    def of(self, replica: str, now: float) -> float | None:
        known = self._pods.get(replica)
        return None if known is None else known.rate.per_s(now)


def signal_of(
    state: ClusterService,
    told: ScalingTold,
    seen: Observation | None,
    rates: PodRates,
    *,
    now: float,
    extra: Mapping[str, float],
) -> ServiceSignal:
    """`seen`: the last look of its scaler. `extra`: figures that come from elsewhere, such as a Prometheus."""
    known = seen is not None and seen.arrived is not None
    values = dict(extra) | (_values(state, seen) if known and seen is not None else {})
    return ServiceSignal(
        namespace=state.namespace,
        name=state.short,
        desired=state.wanted,
        desired_at=now,
        current=state.count,
        labels=dict(state.service.labels),
        values=values,
        values_at=seen.now if known and seen is not None else (now if extra else None),
        pods=tuple(
            signal
            for replica in state.seen
            if replica.phase is ReplicaPhase.READY and (signal := _pod(replica, rates, now)) is not None
        ),
        holding=told.holding,
    )


def _values(state: ClusterService, seen: Observation) -> dict[str, float]:
    queue = seen.waiting
    rate = (seen.arrived or 0) / seen.over_s if seen.over_s > 0 else 0.0
    values = {RPS: rate, QUEUE: float(queue), CONCURRENCY: seen.concurrency}
    predicted = _predicted_p99_s(state, seen, rate)
    if predicted is not None:
        values[P99] = predicted
    return values


def _predicted_p99_s(state: ClusterService, seen: Observation, rate: float) -> float | None:
    """What the ready replicas will make of this rate, by the tail that the budget policy decides with."""
    from plimsoll.policy.scaling.budget.tail import tail_of  # numpy, which a service without a policy needs not

    ready = sum(replica.phase is ReplicaPhase.READY for replica in state.seen)
    if state.service.p99_s is None or not ready or not seen.service_time.samples:
        return None
    tail = tail_of(seen.service_time, state.service.p99_s, state.service.max_batch, burst=1.0, allowed=_P99_ALLOWS)
    return None if tail is None else tail.p99_s(ready, rate)


def _pod(replica: ObservedReplica, rates: PodRates, now: float) -> PodSignal | None:
    rate = rates.of(replica.id, now)
    if rate is None:
        return None
    load = replica.load
    values = {RPS: rate, QUEUE: load.get("queued", 0.0), CONCURRENCY: load.get("in_flight", 0.0)}
    return PodSignal(replica.id, values, now)
