"""What a scaler sees and what it says: the words between hosts, which watch and act, and policies, which decide.

A host (`control` live, `sim` in virtual time) makes one `Observation` a second and a service; a policy answers with a
`Decision`. Seconds throughout, on the host's clock; rates a second.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Protocol

from plimsoll.core.service_time import ServiceTime


class ReplicaState(StrEnum):
    """`PENDING`: waits for a node. `SPARE`: started with its model loaded, gets no requests until it is wanted."""

    PENDING = "Pending"
    STARTING = "Starting"
    READY = "Ready"
    SPARE = "Spare"
    DRAINING = "Draining"
    FAILED = "Failed"


@dataclass(slots=True, eq=False)
class ScaledReplica:
    """One replica as a scaler sees it. Hosts keep these and change them; policies only read."""

    id: str
    state: ReplicaState
    asked_at: float  # when it was wanted first
    ready_at: float | None = None  # since when it is ready; None: it never was
    cpu: float | None = None  # the share of its request in use since the last look, 1.0 is all of it; None: no metric
    kind: str = ""  # of `ReplicaKind`; "" where there is one


@dataclass(frozen=True, slots=True)
class ReplicaKind:
    """Where replicas of different price exist: what one costs and does. `speed`: its capacity relative to the learned
    service time's. `most`: how many there can be; None: no bound."""

    name: str
    price_per_hour: float
    speed: float = 1.0
    most: int | None = None


@dataclass(frozen=True, slots=True)
class LeadTime:
    """How long a new replica takes to become useful, as learned: the median and the 90th percentile of its start, and
    of the node's where none is free. `failed`: starts in a row that never got ready."""

    start_s: float
    start_p90_s: float
    node_s: float = 0.0
    node_p90_s: float = 0.0
    failed: int = 0


class Forecast(Protocol):
    """What will arrive, as `insight.forecast` learned it."""

    @property
    def quantiles(self) -> Sequence[float]:
        """Rising, in (0, 1)."""
        ...

    def rates(self, ahead_s: float) -> Sequence[float]:
        """For each of `quantiles`: requests a second to expect at most, with that probability, `ahead_s` from now.
        Never falls from one to the next."""
        ...

    def rate(self, ahead_s: float, quantile: float) -> float:
        """The same at any quantile, between those along a line."""
        ...

    def burstiness(self) -> float:
        """Variance over mean of the counts of a second on the recent window: 1 for Poisson arrivals."""
        ...

    @property
    def level(self) -> float:
        """Requests a second of late."""
        ...


@dataclass(frozen=True, slots=True)
class Observation:
    """One service at `now`.

    `arrived`: requests that came in the `over_s` before `now`, refused and held ones too; None where metrics did not
    arrive: a policy then holds. `waiting`: requests queued or held; `in_flight`: sent to replicas and not answered.
    `late`: of those that ended in `over_s`, how many missed the p99 budget or were refused for want of capacity.
    `concurrency`: mean of requests inside (waiting and computing) over `over_s`, for policies that aim at it.
    `dispersion`: variance over mean of the counts of a tenth of a second within `over_s`, 1 for Poisson arrivals; None:
    not measured. `spare_slots`: replicas for which there is room without a new node; None: no bound is known.
    """

    now: float
    arrived: int | None
    over_s: float
    replicas: Sequence[ScaledReplica]
    wanted: int  # what was decided last
    service_time: ServiceTime
    lead: LeadTime
    forecast: Forecast
    waiting: int = 0
    in_flight: int = 0
    late: int = 0
    concurrency: float = 0.0
    dispersion: float | None = None
    spare_slots: int | None = None
    kinds: tuple[ReplicaKind, ...] = ()

    def count(self, *states: ReplicaState) -> int:
        return sum(1 for replica in self.replicas if replica.state in states)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What the user set: replicas between `least` and `most`; `p99_s` None: no latency budget. `max_batch` as in
    `batching.maxSize`. `zero_after_s`: without a request for so long a service whose `least` is 0 ends its last."""

    least: int
    most: int
    p99_s: float | None = None
    timeout_s: float = 60.0
    max_batch: int | None = None
    zero_after_s: float = 600.0
    down_window_s: float | None = None  # scaleDown.stabilizationWindow; None: the policy's own
    cost_per_hour: float | None = None  # what the service may cost
    cost_per_million: float | None = None  # what a million of its requests may cost
    price_per_hour: float = 0.0  # of one replica
    missed_share: float = 0.01  # that may be late or refused: the p99's hundredth, or the error budget where it is less
    cap_at_cost: bool = False  # budget.cost.whenExceeded: CapReplicas


@dataclass(frozen=True, slots=True)
class Decision:
    """`reason`: one line of words and numbers. `evidence`: plain JSON values that led to it. `spares`: replicas to keep
    started beside `replicas`. `by_kind`: how `replicas` divide where there are kinds; empty: all of the one kind."""

    replicas: int
    reason: str
    evidence: Mapping[str, object] = field(default_factory=dict)
    spares: int = 0
    by_kind: Mapping[str, int] = field(default_factory=dict)


class ScalingPolicy(Protocol):
    """Asked each second. One with a slower period of its own repeats its last decision in between. Never raises on any
    observation; `replicas` is always within the bounds it was made with."""

    name: str

    def decide(self, seen: Observation) -> Decision: ...
