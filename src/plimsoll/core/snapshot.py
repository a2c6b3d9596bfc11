"""What the controller tells every gateway, and what a gateway tells back. Plain data, versioned, sent whole.

A gateway serves on from its last snapshot while the controller is down, so a snapshot holds all that serving needs.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class EndpointState(StrEnum):
    READY = "ready"
    DRAINING = "draining"  # finishes what it has; new work only where nothing is ready


@dataclass(frozen=True, slots=True)
class Endpoint:
    """`address` is `unix:/path` or `tcp:host:port`."""

    replica: str
    revision: str
    address: str
    state: EndpointState = EndpointState.READY


@dataclass(frozen=True, slots=True)
class Route:
    """A path of the user's own (exact), and the host it holds for (None: any)."""

    path: str
    host: str | None = None


@dataclass(frozen=True, slots=True)
class ServiceView:
    """One service as a gateway needs it. Seconds throughout."""

    name: str
    revision: str
    routes: tuple[Route, ...] = ()
    endpoints: tuple[Endpoint, ...] = ()
    timeout_s: float = 60.0
    target_s: float | None = None  # the p99 budget
    hold_s: float = 30.0  # how long a request without a deadline of its own waits for a first replica
    retry: bool = True
    failed: str | None = None  # why no replica will come: requests are told at once instead of held
    window_s: float = 300.0


@dataclass(frozen=True, slots=True)
class Snapshot:
    version: int
    services: tuple[ServiceView, ...] = ()


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One gateway's counts for one service over its last second, and its latency quantiles over the budget window."""

    service: str
    requests_per_s: float
    outcomes: dict[str, int]  # over the budget window
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    in_flight: int = 0
    held: int = 0


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """Sent each second, and at once with the version when a snapshot has taken effect."""

    gateway: str
    version: int
    services: tuple[ServiceReport, ...] = field(default=())
