"""Where replicas run. Declarative: `apply` what should be, `observe` what is; the backend works towards it.

`tests/contracts/test_backends.py` runs one suite over `backends/fake`, `backends/local` and Kubernetes.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Protocol

from plimsoll.core.service_time import ServiceTime


class ReplicaPhase(StrEnum):
    STARTING = "starting"
    READY = "ready"
    DRAINING = "draining"  # told to stop: finishes what it has
    FAILED = "failed"  # ended without being told, or never got ready; `reason` says why
    BACKING_OFF = "backing_off"  # failed, and will be started again at `retry_at`


@dataclass(frozen=True, slots=True)
class ReplicaTemplate:
    """All that a replica of one revision needs to start. JSON-able through `args`."""

    service: str
    revision: str
    args: Mapping[str, Any]  # what the replica's entry point gets
    cpus: float = 1.0
    memory_limit: int | None = None  # bytes
    startup_s: float = 60.0  # not ready by then: failed
    drain_s: float = 30.0  # longest wait for requests in flight, then killed
    silent_s: float | None = None  # a ready one that gives no sign of life for so long is killed; None: only told
    preload: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class DesiredReplicas:
    template: ReplicaTemplate
    count: int


@dataclass(frozen=True, slots=True)
class ObservedReplica:
    """`load` is the replica's last own report: in_flight, queued, loop_lag_p99_s, rss_bytes. `cpu`: the share of its
    template's `cpus` that it used lately, 1.0 is all of it; None: not known. Where nodes come and go, `placed_at`: when
    it had got one, None before; `pending`: why it has none yet, "" where it has one, or needs none; `kind`: what sort
    of node it is on, "" where that makes no difference."""

    id: str
    service: str
    revision: str
    phase: ReplicaPhase
    address: str = ""  # `unix:/path` or `tcp:host:port`, once ready
    pid: int | None = None
    started_at: float = 0.0
    ready_at: float | None = None
    restarts: int = 0
    reason: str = ""
    log_tail: tuple[str, ...] = ()
    retry_at: float | None = None
    load: Mapping[str, float] = field(default_factory=dict)
    service_time: ServiceTime | None = None
    cpu: float | None = None
    placed_at: float | None = None
    pending: str = ""
    kind: str = ""


class Backend(Protocol):
    async def start(self) -> None: ...

    async def apply(self, desired: tuple[DesiredReplicas, ...]) -> None:
        """Replaces the whole wish: a revision that is not in it drains away. Returns at once; work goes on behind."""
        ...

    def observe(self) -> tuple[ObservedReplica, ...]:
        """What is now, in a stable order. Cheap, no I/O."""
        ...

    async def changed(self) -> None:
        """Returns when `observe` would tell something new since the last call of `observe`."""
        ...

    def logs(self, service: str, *, replica: str | None = None, lines: int = 100) -> list[str]:
        """The last lines, each prefixed by its replica's id, also of replicas that have ended."""
        ...

    async def close(self) -> None:
        """Drains and stops everything; leaves no process behind."""
        ...
