"""What came out of a simulation: counts, quantiles, hours, timelines to draw. Memory does not grow with requests."""

from collections.abc import Sequence
from dataclasses import dataclass, field


@dataclass(slots=True)
class Act:
    """A scaling decision that changed the count."""

    at_s: float
    before: int
    after: int
    reason: str


@dataclass(slots=True)
class Timeline:
    """One entry for each `step_s`: what was offered (requests), late or refused ones, replicas wanted and ready at the
    end of the step, p99 in it (None: nothing was answered)."""

    step_s: float
    offered: list[int] = field(default_factory=list)
    missed: list[int] = field(default_factory=list)
    wanted: list[int] = field(default_factory=list)
    ready: list[int] = field(default_factory=list)
    p99_s: list[float | None] = field(default_factory=list)


@dataclass(slots=True)
class ServiceResult:
    """`late`: answered after the p99 budget; `refused`: every request that was not answered (shed, expired, no_replica,
    replica_lost), `outcomes` has them by name. Quantiles (seconds) are of the answered."""

    service: str
    policy: str
    offered: int
    late: int
    refused: int
    outcomes: dict[str, int]
    p50_s: float
    p95_s: float
    p99_s: float
    replica_s: float  # from each replica's start, ready or not, to its end
    spare_s: float
    acts: list[Act]
    timeline: Timeline
    seconds: float
    mean_batch: float = 0.0
    sum_latency_s: float = 0.0

    @property
    def late_share(self) -> float:
        """Of all offered."""
        return self.late / self.offered if self.offered else 0.0

    @property
    def refused_share(self) -> float:
        return self.refused / self.offered if self.offered else 0.0

    @property
    def missed_share(self) -> float:
        """Late or refused: what budgets are judged by."""
        return (self.late + self.refused) / self.offered if self.offered else 0.0


@dataclass(slots=True)
class Result:
    """`node_s` by class, and what they cost; `wall_s`: how long simulating took."""

    services: Sequence[ServiceResult]
    node_s: dict[str, float] = field(default_factory=dict)
    cost: float = 0.0
    energy_wh: float = 0.0
    wall_s: float = 0.0
    events: int = 0
    fast: bool = False  # the fluid model's
