"""What the controller remembers of one service of a cluster between turns. No I/O."""

from dataclasses import dataclass, field

from plimsoll.core.snapshot import ServiceView
from plimsoll.ports.backend import ObservedReplica, ReplicaPhase
from plimsoll.spec import ModelService

_DOWN = frozenset({ReplicaPhase.FAILED, ReplicaPhase.BACKING_OFF})
_RESTARTS_FAILED = 3  # of every replica, and never ready: requests are told at once instead of held


def service_id(namespace: str, name: str) -> str:
    return f"{namespace}/{name}"


@dataclass(slots=True)
class ClusterService:
    """`control.scaling.Scalable`. `name`: NAMESPACE/NAME, as gateways report it. `target`: the workload whose count is
    written, as the operator says; "" before it has said. `count`: what that workload asks for now; None: not known.
    `proved`: the last target of which a replica was seen ready."""

    name: str
    service: ModelService
    target: str = ""
    count: int | None = None
    proved: str = ""
    seen: tuple[ObservedReplica, ...] = ()
    scaled: int | None = None
    spares: int = 0
    spare_ids: frozenset[str] = frozenset()
    replicas: int | None = None  # nobody sets a count for a while here: `spec.replicas` stays until it is removed
    replicas_until: float | None = None
    cache_url: str = field(default="", repr=False)
    view: ServiceView | None = None
    view_of: tuple[object, ...] = field(default=(), repr=False)  # what the view was made from

    @property
    def namespace(self) -> str:
        return self.name.partition("/")[0]

    @property
    def short(self) -> str:
        return self.service.name

    @property
    def by_hand(self) -> int | None:
        return self.service.spec.replicas

    @property
    def wanted(self) -> int:
        if self.by_hand is not None:
            return self.by_hand
        return self.service.min_replicas if self.scaled is None else self.scaled

    @property
    def found(self) -> int:
        """What the workload asks for: a service that sleeps is not woken because a controller starts. Asked for only
        where that is known."""
        return self.service.min_replicas if self.count is None else self.count

    @property
    def serving_id(self) -> str:
        """The revision with the most ready replicas; of equal ones that which is being scaled."""
        ready: dict[str, int] = {self.target: 0}
        for replica in self.seen:
            if replica.phase is ReplicaPhase.READY:
                ready[replica.revision] = ready.get(replica.revision, 0) + 1
        return max(ready, key=lambda revision: (ready[revision], revision == self.target))

    def of(self, revision: str) -> list[ObservedReplica]:
        return [replica for replica in self.seen if replica.revision == revision]

    @property
    def ready(self) -> int:
        return sum(replica.phase is ReplicaPhase.READY for replica in self.seen)

    @property
    def nobody_will_come(self) -> str | None:
        """One line where nothing serves and nothing is going to; None where waiting may help."""
        if self.by_hand == 0:
            return "scaled to 0 replicas"
        replicas = [replica for replica in self.seen if replica.phase is not ReplicaPhase.DRAINING]
        if not replicas or any(
            replica.phase not in _DOWN or replica.ready_at is not None or replica.restarts < _RESTARTS_FAILED
            for replica in replicas
        ):
            return None
        return next(
            (replica.reason for replica in replicas if replica.reason), "its replicas end before they are ready"
        )
