"""What the admin API tells of a service: phase, figures against the budget, replicas, what to change."""

from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

from plimsoll.control.reconcile import LAG_LASTS_S, LAG_SHARE
from plimsoll.control.reports import Traffic
from plimsoll.control.scaling.scaling import ScalingTold
from plimsoll.control.service_state import ServiceState, one_line
from plimsoll.core.outcome import Outcome
from plimsoll.core.service_time import ServiceTime
from plimsoll.core.units import format_duration, parse_duration
from plimsoll.ports.backend import ObservedReplica
from plimsoll.spec import ModelService, Platform, not_honoured

ANSWERED = frozenset({Outcome.OK, Outcome.CACHED, Outcome.DEGRADED})


class Phase(StrEnum):
    READY = "Ready"  # the newest revision serves with all its replicas
    PROGRESSING = "Progressing"  # starting, replacing or scaling
    DEGRADED = "Degraded"  # serves, but not as wanted: an older revision, or too few replicas after a loss
    FAILED = "Failed"  # nothing serves, and nothing is going to without a change


@dataclass(frozen=True, slots=True)
class ReplicaCounts:
    """`ready`: those that get requests; spares are told under `scaling`."""

    ready: int
    wanted: int


@dataclass(frozen=True, slots=True)
class LatencySeen:
    """Seconds over the budget window, the worst gateway's; None before the first request."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None


@dataclass(frozen=True, slots=True)
class BudgetTold:
    """As the user wrote it, in seconds and as a share of one; None: no budget."""

    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    error_rate: float | None
    window_s: float


@dataclass(frozen=True, slots=True)
class CacheTold:
    """`hit_share`: answers from the cache over all answers, 0 to 1, over the budget window; None without any."""

    backend: str
    ttl_s: float
    hit_share: float | None


@dataclass(frozen=True, slots=True)
class InstanceStatus:
    """One replica, as the backend sees it and as it reports itself."""

    id: str
    revision: str
    revision_number: int
    phase: str
    pid: int | None
    restarts: int
    reason: str
    log_tail: tuple[str, ...]
    rss_bytes: int | None
    loop_lag_p99_s: float | None
    in_flight: int
    queued: int
    service_time: ServiceTime | None
    cpu: float | None  # the share of its cores in use


@dataclass(frozen=True, slots=True)
class ServiceStatus:
    """`revision` is the one that answers. `outcomes` are counts over the budget window."""

    name: str
    phase: Phase
    message: str
    revision: str
    revision_number: int
    url: str
    routes: tuple[str, ...]
    replicas: ReplicaCounts
    requests_per_s: float
    in_flight: int
    held: int
    latency: LatencySeen
    budget: BudgetTold
    error_rate: float | None
    inside_budget: bool | None
    outcomes: dict[str, int]
    hints: tuple[str, ...]
    not_honoured: tuple[str, ...]
    labels: dict[str, str]
    instances: tuple[InstanceStatus, ...]
    file: str  # where it is written, absolute
    timeout_s: float
    target_s: float | None
    anonymous: bool  # whether a request without credentials is answered
    cache: CacheTold | None
    fallback: tuple[str, ...]
    scaling: ScalingTold


def status_of(
    state: ServiceState,
    traffic: Traffic,
    scaling: ScalingTold,
    *,
    gateway_url: str,
    now: float,
    open_door: bool = True,
    platform: Platform | None = None,
) -> ServiceStatus:
    """`open_door`: there is no tenant; a service that doesn't say whether it takes anonymous requests does then.
    `platform`: whose prices hold."""
    service, serving = state.service, state.serving
    phase, message = phase_of(state)
    routes = tuple(f"{route.host or ''}{route.path}" for route in service.spec.routes)
    own = next((route.path for route in service.spec.routes if route.host is None), f"/v2/models/{service.name}")
    return ServiceStatus(
        name=service.name,
        phase=phase,
        message=message,
        revision=serving.id,
        revision_number=serving.number,
        url=f"{gateway_url}{own}",
        routes=routes,
        replicas=ReplicaCounts(state.serving_count, state.wanted),
        requests_per_s=traffic.requests_per_s,
        in_flight=traffic.in_flight,
        held=traffic.held,
        latency=LatencySeen(traffic.p50_s, traffic.p95_s, traffic.p99_s),
        budget=BudgetTold(service.p50_s, service.p95_s, service.p99_s, service.error_rate, service.window_s),
        error_rate=traffic.error_rate,
        inside_budget=inside_budget(service, traffic),
        outcomes=traffic.outcomes,
        hints=(*hints(state, now=now), *_shut(service, open_door)),
        not_honoured=tuple(not_honoured(service, platform=platform)),
        labels=dict(service.labels),
        instances=tuple(_instance(replica, state) for replica in state.seen),
        file=str(Path(service.origin.file).absolute()),
        timeout_s=service.timeout_s,
        target_s=service.target_s,
        anonymous=open_door if service.spec.access.anonymous is None else service.spec.access.anonymous,
        cache=cache_told(service, traffic),
        fallback=tuple(f"Service/{step.service.name}" if step.service else step.type for step in service.spec.fallback),
        scaling=scaling,
    )


def _shut(service: ModelService, open_door: bool) -> tuple[str, ...]:
    if open_door and service.spec.access.anonymous is False:
        return ("nobody can call it: access.anonymous is false, and there is no Tenant",)
    return ()


def cache_told(service: ModelService, traffic: Traffic) -> CacheTold | None:
    cache = service.spec.cache
    if cache is None:
        return None
    answers = sum(traffic.outcomes.get(outcome, 0) for outcome in ANSWERED)
    hit_share = traffic.outcomes.get(Outcome.CACHED, 0) / answers if answers else None
    return CacheTold(cache.backend.type, parse_duration(cache.ttl), hit_share)


def phase_of(state: ServiceState) -> tuple[Phase, str]:
    """The phase and one line that says why; "" for Ready."""
    ready, failure, newest = state.ready(), state.failure, state.newest
    if failure is not None:
        told = f"{newest.failed}: {failure}"
        if ready:
            return Phase.DEGRADED, f"{told}   (rev {state.serving.number} keeps serving)"
        if state.failed.get(state.target.id) is not None:
            return Phase.FAILED, told
        return Phase.DEGRADED, f"{told}   (rev {state.target.number} is starting again)"
    count = f"{state.ready(newest.id)}/{state.wanted} ready"
    if state.ready(newest.id) >= state.wanted:
        if any(replica.revision != newest.id for replica in state.seen):
            return Phase.PROGRESSING, f"rev {newest.number} {count}, older replicas drain"
        quiet = next((replica for replica in state.seen if replica.reason), None)
        if quiet is not None:  # it says that it is ready, and the backend has a doubt
            return Phase.DEGRADED, f"{quiet.id}: {one_line(quiet.reason)}"
        return Phase.READY, ""
    trouble = next((replica for replica in state.of(newest.id) if replica.reason), None)
    why = f"; {trouble.id}: {one_line(trouble.reason)}" if trouble else ""
    proven = state.good is not None and state.good.id == newest.id
    return (Phase.DEGRADED if proven and trouble else Phase.PROGRESSING), f"rev {newest.number} {count}{why}"


def inside_budget(service: ModelService, traffic: Traffic) -> bool | None:
    """None where there is no budget, or nothing measured to hold against it."""
    pairs = (
        (traffic.p50_s, service.p50_s),
        (traffic.p95_s, service.p95_s),
        (traffic.p99_s, service.p99_s),
        (traffic.error_rate, service.error_rate),
    )
    checks = [seen <= allowed for seen, allowed in pairs if seen is not None and allowed is not None]
    return all(checks) if checks else None


def hints(state: ServiceState, *, now: float) -> tuple[str, ...]:
    """What the user may want to change. A loop lag that lasts means that the model holds the interpreter lock."""
    budget = state.service.target_s
    lasting = {replica for replica, since in state.lagging_since.items() if now - since >= LAG_LASTS_S}
    if budget is None or not lasting or state.service.spec.runtime.isolation == "Process":
        return ()
    lag = max(replica.load.get("loop_lag_p99_s", 0.0) for replica in state.seen if replica.id in lasting)
    share = "a tenth" if LAG_SHARE == 0.1 else f"{LAG_SHARE:.0%}"
    return (
        f"the model holds the interpreter: loop lag p99 {lag * 1000:.0f} ms is over {share} of the "
        f"{format_duration(budget)} budget; try runtime: {{isolation: Process}}",
    )


def _instance(replica: ObservedReplica, state: ServiceState) -> InstanceStatus:
    load = replica.load
    rss = load.get("rss_bytes")
    return InstanceStatus(
        id=replica.id,
        revision=replica.revision,
        revision_number=state.number(replica.revision),
        phase="spare" if replica.id in state.spare_ids else replica.phase.value,
        pid=replica.pid,
        restarts=replica.restarts,
        reason=replica.reason,
        log_tail=tuple(replica.log_tail),
        rss_bytes=None if rss is None else int(rss),
        loop_lag_p99_s=load.get("loop_lag_p99_s"),
        in_flight=int(load.get("in_flight", 0)),
        queued=int(load.get("queued", 0)),
        service_time=replica.service_time,
        cpu=replica.cpu,
    )
