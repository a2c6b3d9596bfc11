"""What a service's replicas tell a scaler: their states, how long their starts took, what a batch takes."""

from collections.abc import Iterable, Sequence

from plimsoll.control.scaling.scalable import Scalable
from plimsoll.control.service_state import DOWN
from plimsoll.core.scaling import ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.lead_time import LeadTimes
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase

_STATES = {
    ReplicaPhase.STARTING: ReplicaState.STARTING,
    ReplicaPhase.READY: ReplicaState.READY,
    ReplicaPhase.DRAINING: ReplicaState.DRAINING,
    ReplicaPhase.FAILED: ReplicaState.FAILED,
    ReplicaPhase.BACKING_OFF: ReplicaState.FAILED,
}
_SAMPLES_MOST = 1000  # what one replica's word weighs at most against another's


def scaled_replicas(state: Scalable) -> tuple[ScaledReplica, ...]:
    """`asked_at` is when the present life began: one that died and starts again is as far as a new one."""
    return tuple(
        ScaledReplica(
            id=replica.id,
            state=_state_of(replica, state),
            asked_at=replica.started_at,
            ready_at=replica.ready_at,
            cpu=replica.cpu,
            kind=replica.kind,
        )
        for replica in state.seen
    )


def _state_of(replica: ObservedReplica, state: Scalable) -> ReplicaState:
    if replica.id in state.spare_ids:
        return ReplicaState.SPARE
    return (
        ReplicaState.PENDING if replica.pending and replica.phase is ReplicaPhase.STARTING else _STATES[replica.phase]
    )


def learned_service_time(replicas: Iterable[ObservedReplica]) -> ServiceTime | None:
    """The mean of what they learned, weighted by how many batches taught each. None: none has seen a batch."""
    found = [replica.service_time for replica in replicas if replica.service_time and replica.service_time.samples]
    weights = [min(one.samples, _SAMPLES_MOST) for one in found]
    whole = sum(weights)
    if not whole:
        return None
    pairs = list(zip(found, weights, strict=True))
    return ServiceTime(
        a_s=sum(one.a_s * weight for one, weight in pairs) / whole,
        c_s=sum(one.c_s * weight for one, weight in pairs) / whole,
        sd_s=sum(one.sd_s * weight for one, weight in pairs) / whole,
        samples=sum(one.samples for one in found),
    )


class Starts:
    """Sees each start once, and whether it came to anything."""

    def __init__(self, leads: LeadTimes) -> None:
        self._leads = leads
        self._lives: dict[str, tuple[float, ReplicaPhase]] = {}  # of each replica: when its life began, its phase

    def look(self, seen: Sequence[ObservedReplica]) -> None:
        lives: dict[str, tuple[float, ReplicaPhase]] = {}
        for replica in seen:
            before = self._lives.get(replica.id)
            was = before[1] if before is not None and before[0] == replica.started_at else None
            if replica.phase is ReplicaPhase.READY and replica.ready_at is not None:
                if was is not ReplicaPhase.READY:
                    began_at = replica.started_at if replica.placed_at is None else replica.placed_at
                    self._leads.ready(replica.revision, replica.ready_at - began_at)
            elif replica.phase in DOWN and replica.ready_at is None and was not in DOWN:
                self._leads.failed(replica.revision)
            lives[replica.id] = (replica.started_at, replica.phase)
        self._lives = lives
