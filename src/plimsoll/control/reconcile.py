"""The steps of one tick for one service, in their order: notice -> judge -> settle -> desired -> view.

Each is a plain function over a ServiceState that takes `now`, tells the timeline and returns what the controller
carries out; none waits, none calls the backend.
"""

from collections.abc import Callable

from plimsoll.control.reports import ReportBook
from plimsoll.control.revisions import Revision
from plimsoll.control.service_state import DOWN, ServiceState, one_line
from plimsoll.control.timeline import Kind, Level, Timeline
from plimsoll.core.ids import RevisionId
from plimsoll.core.snapshot import Endpoint, EndpointState, Route, ServiceView
from plimsoll.policy.rollout import RevisionState, plan
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate
from plimsoll.spec import service_views

_ENDPOINT_STATES = {ReplicaPhase.READY: EndpointState.READY, ReplicaPhase.DRAINING: EndpointState.DRAINING}

# The hint about the interpreter lock: a tenth of the budget, for three of a replica's reports on end.
LAG_SHARE = 0.1
LAG_LASTS_S = 3.0


def notice_ends(state: ServiceState, timeline: Timeline) -> None:
    """Counts how often in a row replicas ended, and tells of those that served and ended without being told to."""
    for replica in state.seen:
        before = state.phases.get(replica.id)
        if replica.phase is ReplicaPhase.READY:
            state.ends.pop(replica.id, None)
            state.served.add(replica.id)
        elif replica.phase in DOWN and before not in DOWN:
            state.ends[replica.id] = state.ends.get(replica.id, 0) + 1
            if before is ReplicaPhase.READY:
                reason = one_line(replica.reason) or "it ended without a reason"
                message = f"{replica.id} was lost: {reason}"
                timeline.record(state.name, Kind.REPLICA, message, level=Level.WARNING, replica=replica.id)
    state.phases = {replica.id: replica.phase for replica in state.seen}
    state.ends = {replica: count for replica, count in state.ends.items() if replica in state.phases}
    state.served &= state.phases.keys()


def notice_loop_lag(state: ServiceState, *, now: float) -> None:
    """Keeps since when each replica's loop lag has been over a tenth of the p99 budget."""
    budget = state.service.target_s
    over = {
        replica.id
        for replica in state.seen
        if budget is not None and replica.load.get("loop_lag_p99_s", 0.0) > LAG_SHARE * budget
    }
    state.lagging_since = {replica: state.lagging_since.get(replica, now) for replica in over}


def judge(state: ServiceState, timeline: Timeline, *, now: float) -> None:
    """Decides whether the newest revision works: all its replicas ready makes it the good one, a definite reason why
    it does not start makes it a failed one, and the good one keeps serving."""
    newest = state.newest
    if state.failure is not None:
        if not state.ready(newest.id):
            _judge_good(state, timeline)
            return
        del state.failed[newest.id]
        number = newest.number
        message = f"rev {number} is ready after all"
        timeline.record(state.name, Kind.READY, message, revision=newest.id, revision_number=number)
    if state.ready(newest.id) >= state.wanted:
        state.good = newest
        if state.replacement is not None and state.replacement.ready_at is None:
            state.replacement.ready_at = now
        return
    reason = state.start_failure(newest)
    if reason is not None:
        state.failed[newest.id] = reason
        state.replacement = None
        tell_failure(state, newest, reason, timeline)


def _judge_good(state: ServiceState, timeline: Timeline) -> None:
    """The good revision may stop working too, behind a newest one that failed."""
    good = state.good
    if good is None or good.id == state.newest.id:
        return
    reason = None if state.ready(good.id) else state.start_failure(good)
    if reason is None:
        state.failed.pop(good.id, None)
    elif good.id not in state.failed:
        state.failed[good.id] = reason
        tell_failure(state, good, reason, timeline)


def tell_failure(state: ServiceState, revision: Revision, reason: str, timeline: Timeline) -> None:
    """Records that a revision does not start, and which one keeps serving."""
    serving = state.good if state.good is not None and state.good.id != revision.id else None
    message = f"{revision.failed}: {reason}"
    if serving is not None:
        message += f"   (rev {serving.number} keeps serving)"
    timeline.record(
        state.name,
        Kind.FAILED,
        message,
        level=Level.ERROR,
        reason=reason,
        revision=revision.id,
        revision_number=revision.number,
        serving_revision_number=serving.number if serving else None,
        log_tail=next((replica.log_tail for replica in state.of(revision.id) if replica.log_tail), ()),
    )


def settle(
    state: ServiceState, timeline: Timeline, reports: ReportBook, version: int, *, now: float, patience_s: float
) -> None:
    """Tells of a finished replacement: its replicas are ready, the others gone, and the gateways have said what failed
    meanwhile (their reports lag by up to a second; `patience_s` bounds the wait)."""
    replacement = state.replacement
    if replacement is None or replacement.ready_at is None:
        return
    revision, seconds = replacement.revision, replacement.ready_at - replacement.started_at
    start = f"{replacement.cause}: " if replacement.cause else ""
    if not replacement.replaces:
        state.replacement = None
        message = f"{start}rev {revision.number}   {state.ready(revision.id)}/{state.wanted} ready in {_shown(seconds)}"
        if replacement.cause and replacement.served:
            message = f"{start}back to rev {revision.number}, which has served all the while"
        timeline.record(
            state.name,
            Kind.READY,
            message,
            revision=revision.id,
            revision_number=revision.number,
            ready=state.ready(revision.id),
            wanted=state.wanted,
            seconds=round(seconds, 3),
        )
        return
    if any(replica.revision != revision.id for replica in state.seen):
        return
    if replacement.drained_at is None:
        replacement.drained_at = now
    lowest = reports.lowest_version()
    told = lowest is None or (lowest >= version and state.view is not None and _gone(state.view, revision))
    if not told and now - replacement.drained_at < patience_s:
        return
    state.replacement = None
    failures = reports.failures(state.name) - replacement.failures_before
    old = " and ".join(f"rev {number}" for number in replacement.replaces)
    timeline.record(
        state.name,
        Kind.REPLACED,
        f"{start}rev {revision.number} ready in {_shown(seconds)}, {old} drained, {failures} requests failed",
        level=Level.WARNING if failures else Level.INFO,
        revision=revision.id,
        revision_number=revision.number,
        old_revision_number=replacement.replaces[-1],
        seconds=round(seconds, 3),
        failed_requests=failures,
    )


def _shown(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 0.095 else f"{seconds:.2f} s"


def _gone(view: ServiceView, revision: Revision) -> bool:
    """Whether the published view has no endpoint of another revision left."""
    return all(endpoint.revision == revision.id for endpoint in view.endpoints)


def desired(state: ServiceState, template: Callable[[Revision], ReplicaTemplate]) -> tuple[DesiredReplicas, ...]:
    """Replicas by revision: one by one from the running ones to the newest, or back to the good one."""
    others = {replica.revision for replica in state.seen} | ({state.good.id} if state.good else set())
    known = sorted(others & state.revisions.keys(), key=state.number)
    old = [_rollout_state(state, revision) for revision in known if revision != state.newest.id]
    rollout = plan(state.wanted, _rollout_state(state, state.newest.id), old)
    counts = dict(rollout.desired)
    # Not while one revision replaces another: those that start then are the next ones to serve.
    if state.spares and not old and state.failure is None:
        counts[state.newest.id] = counts.get(state.newest.id, 0) + state.spares
    return tuple(
        DesiredReplicas(template(state.revisions[RevisionId(revision)]), count)
        for revision, count in counts.items()
        if count > 0 and not state.revisions[RevisionId(revision)].problem
    )


def _rollout_state(state: ServiceState, revision: str) -> RevisionState:
    return RevisionState(
        revision,
        ready=state.ready(revision),
        starting=sum(replica.phase is ReplicaPhase.STARTING or replica.phase in DOWN for replica in state.of(revision)),
        failed=revision in state.failed,
        good=state.good is not None and state.good.id == revision,
    )


def view(state: ServiceState) -> ServiceView:
    """The service as gateways need it. Replicas of a revision that is to go drain for them already, one look before the
    backend tells the replica to."""
    service = state.service
    state.spare_ids = spares(state)
    stay = {entry.template.revision for entry in state.desired}
    return ServiceView(
        name=service.name,
        revision=state.serving.id,
        routes=tuple(Route(route.path, route.host) for route in service.spec.routes),
        endpoints=tuple(
            Endpoint(
                replica.id,
                replica.revision,
                replica.address,
                _endpoint_state(state, replica) if replica.revision in stay else EndpointState.DRAINING,
            )
            for replica in state.seen
            if replica.phase in _ENDPOINT_STATES and replica.address
        ),
        timeout_s=service.timeout_s,
        target_s=service.target_s,
        hold_s=service.hold_s,
        retry=service.retries,
        failed=why_nobody_will_come(state),
        window_s=service.window_s,
        **service_views(service, cache_url=state.cache_url, cache_epoch=state.cache_epoch),
    )


def _endpoint_state(state: ServiceState, replica: ObservedReplica) -> EndpointState:
    return EndpointState.SPARE if replica.id in state.spare_ids else _ENDPOINT_STATES[replica.phase]


def spares(state: ServiceState) -> frozenset[str]:
    """Of the ready replicas those beyond what is wanted, the youngest: they get requests only where nobody else is."""
    if not state.spares:
        return frozenset()
    ready = [replica.id for replica in state.seen if replica.phase is ReplicaPhase.READY]
    return frozenset(ready[state.wanted :][: state.spares])


def why_nobody_will_come(state: ServiceState) -> str | None:
    """One line where nothing serves and nothing is going to; None where waiting may help."""
    if state.ready():
        return None
    if state.by_hand == 0:
        return "scaled to 0 replicas"
    return state.failed.get(state.target.id)
