"""Where a cluster's replicas find room, as a scaler sees it: what they waited for nodes, and what nodes cost.

No node's free room is summed up here: a scheduler knows taints, volumes and other people's pods, and what pods waited
says all of it. A node class's `provisioningTime` stands for what isn't seen yet, and only where a pod does wait.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.control.cluster.service import ClusterService
from plimsoll.control.scaling.scalable import Scalable
from plimsoll.control.scaling.watching import learned_service_time
from plimsoll.core.scaling import ReplicaKind
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.lead_time import NodeWaits
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.spec import ModelService, NodeClass, Platform
from plimsoll.spec.scaling import share_of

_SURE = 50  # batches on each kind of node, before one is taken to be quicker than another
_BATCH = 8  # at which kinds are compared
_SPEEDS = (0.1, 10.0)


@dataclass(slots=True)
class _Waits:
    known: NodeWaits = field(default_factory=NodeWaits)
    placed: set[str] = field(default_factory=set)  # whose wait is counted
    waiting: tuple[float, ...] = ()  # of those without a node: how long so far


class ClusterPlaces:
    """`control.scaling.Places`."""

    def __init__(self) -> None:
        self.platform: Platform | None = None
        self._waits: dict[str, _Waits] = {}

    def look(self, states: Sequence[Scalable], now: float) -> None:
        for gone in self._waits.keys() - {state.name for state in states}:
            del self._waits[gone]
        for state in states:
            if state.seen or state.name in self._waits:
                self._look(self._waits.setdefault(state.name, _Waits()), state.seen, now)

    @staticmethod
    def _look(waits: _Waits, seen: Sequence[ObservedReplica], now: float) -> None:
        for replica in seen:
            if replica.placed_at is not None and replica.id not in waits.placed:
                waits.placed.add(replica.id)
                waits.known.placed(replica.placed_at - replica.started_at)
        waits.placed.intersection_update(replica.id for replica in seen)
        waits.waiting = tuple(max(0.0, now - replica.started_at) for replica in seen if _has_no_room(replica))

    def node_lead_s(self, state: Scalable) -> tuple[float, float]:
        waits = self._waits.get(state.name)
        return (0.0, 0.0) if waits is None else waits.known.estimate(waits.waiting, self._prior_s(state.service))

    def spare_slots(self, state: Scalable) -> int | None:
        """None: what was asked for lately found room at once."""
        return 0 if self.node_lead_s(state)[1] > 0.0 else None

    def refused(self, state: ClusterService, now: float) -> str | None:
        """Why requests are refused at once, where no fallback answers them: no replica has room, or will have soon, and
        the platform says that they don't wait for that (`disruption.noCapacity`). None: they are held."""
        if self.platform is None or state.ready:
            return None
        replicas = [replica for replica in state.seen if replica.phase is not ReplicaPhase.DRAINING]
        waiting = [replica for replica in replicas if _has_no_room(replica)]
        # One with a node is on its way, and one that ended may come again.
        if not waiting or len(waiting) < len(replicas):
            return None
        waited_s = now - min(replica.started_at for replica in waiting)
        if waited_s < self.platform.spec.disruption.holds_s(state.service.hold_s):
            return None
        return "no node has room for a replica"  # the scheduler's words name nodes: they are in the status

    def kinds(self, state: Scalable) -> Sequence[ReplicaKind]:
        """Where the service may run on nodes of several classes: what a replica costs on each, and how quick it is
        there, once enough batches were seen on each."""
        found = fitting(state.service, self.platform)
        if len(found) < 2:
            return ()
        speeds = _speeds(state.seen, state.serving_id)
        return tuple(
            ReplicaKind(
                one.name,
                price_per_hour=float(one.price_per_hour) * share,
                speed=speeds.get(one.name, 1.0),
                most=None if one.max_nodes is None else int(one.max_nodes * max(1, int(1 / share))),
            )
            for one, share in found
        )

    def _prior_s(self, service: ModelService) -> float:
        """What a new node takes that such a replica fits on: the quickest class's, as an autoscaler would choose no
        slower one without a reason."""
        return min((one.provisioning_s for one, _ in fitting(service, self.platform)), default=0.0)


def _has_no_room(replica: ObservedReplica) -> bool:
    return bool(replica.pending) and replica.phase is ReplicaPhase.STARTING


def fitting(service: ModelService, platform: Platform | None) -> list[tuple[NodeClass, float]]:
    """Classes that a replica fits on, each with the share of a node that it takes."""
    if platform is None:
        return []
    shares = ((one, share_of(service, one, platform)) for one in platform.spec.node_classes)
    return [(one, share) for one, share in shares if share is not None]


def class_of(labels: Mapping[str, str], platform: Platform | None) -> str:
    """The node class that a node with these labels belongs to: of those whose selector fits, the one that asks most; ""
    for none."""
    if platform is None:
        return ""
    fit = [
        one
        for one in platform.spec.node_classes
        if one.selector and all(labels.get(key) == value for key, value in one.selector.items())
    ]
    return max(fit, key=lambda one: len(one.selector)).name if fit else ""


def _speeds(seen: Sequence[ObservedReplica], revision: str) -> Mapping[str, float]:
    """Of each kind of node, how quick a replica there is, relative to all together. Empty until it is known of two."""
    learned: dict[str, ServiceTime] = {}
    for kind in {replica.kind for replica in seen if replica.kind}:
        there = [one for one in seen if one.kind == kind and one.revision == revision]
        time = learned_service_time(one for one in there if one.phase is ReplicaPhase.READY)
        if time is not None and time.samples >= _SURE:
            learned[kind] = time
    whole = learned_service_time(one for one in seen if one.kind in learned and one.revision == revision)
    if len(learned) < 2 or whole is None:
        return {}
    least, most = _SPEEDS
    return {
        kind: round(min(max(whole.predict(_BATCH) / max(time.predict(_BATCH), 1e-6), least), most), 2)
        for kind, time in learned.items()
    }
