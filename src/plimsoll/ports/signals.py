"""What autoscalers are told: one service's wanted count, and the raw figures behind it. The controller publishes after
each turn; whoever serves it to an HPA, to KEDA or to people decides what is too old to be told."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Protocol


@dataclass(frozen=True, slots=True)
class PodSignal:
    """One replica's own figures by the metric's name: `requests_per_second`, `queue_length`, `concurrency`."""

    pod: str
    values: Mapping[str, float]
    at: float


@dataclass(frozen=True, slots=True)
class ServiceSignal:
    """`desired`: replicas; None before anything was decided. `current`: how many the workload asks for now. `values`:
    by the metric's name. Times on the host's clock: `desired_at` when the count was last stood by, `values_at` when
    traffic was last heard of. `holding`: why the count stays although nothing is heard; "" while all is well."""

    namespace: str
    name: str
    desired: int | None
    desired_at: float
    current: int | None = None
    labels: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, float] = field(default_factory=dict)
    values_at: float | None = None
    pods: Sequence[PodSignal] = ()
    holding: str = ""


class SignalSink(Protocol):
    def publish(self, signals: Sequence[ServiceSignal]) -> None:
        """Replaces all that was published before."""
        ...
