"""What scaling needs of a service's state, and of where its replicas find room: a laptop and a cluster have both."""

from collections.abc import Sequence
from typing import Protocol

from plimsoll.core.scaling import ReplicaKind
from plimsoll.ports.backend import ObservedReplica
from plimsoll.spec import ModelService


class Scalable(Protocol):
    """`scaled`: what its scaler decided last, None where nothing scales it; `spares`: replicas to keep ready beside
    those. Scaling sets both. `replicas`: a count set by hand for a while, until `replicas_until`. `seen`: its replicas
    now; `spare_ids`: those of them that are spares."""

    service: ModelService
    seen: tuple[ObservedReplica, ...]
    scaled: int | None
    spares: int
    spare_ids: frozenset[str]
    replicas: int | None
    replicas_until: float | None

    @property
    def name(self) -> str:
        """What reports call it."""
        ...

    @property
    def wanted(self) -> int: ...

    @property
    def by_hand(self) -> int | None:
        """A count that goes before any policy's. None: there is none."""
        ...

    @property
    def serving_id(self) -> str:
        """The revision that answers."""
        ...

    @property
    def found(self) -> int:
        """How many there are when scaling begins: another controller may have started them."""
        ...

    def of(self, revision: str) -> list[ObservedReplica]: ...


class Places(Protocol):
    """Where replicas find room."""

    def spare_slots(self, state: Scalable) -> int | None:
        """For how many more there is room without a new node. None: no bound is known."""
        ...

    def node_lead_s(self, state: Scalable) -> tuple[float, float]:
        """Median and 90th percentile of what a replica waits for a node."""
        ...

    def kinds(self, state: Scalable) -> Sequence[ReplicaKind]:
        """Empty where all cost and do the same."""
        ...

    def look(self, states: Sequence[Scalable], now: float) -> None:
        """Each turn, before anything is asked."""
        ...
