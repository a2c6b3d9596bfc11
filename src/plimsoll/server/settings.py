"""What one replica needs to know, as one value."""

from dataclasses import dataclass, field
from typing import Literal

from plimsoll.models.source import ModelSource
from plimsoll.wire.http1 import HttpSettings


@dataclass(frozen=True, slots=True)
class ReplicaSettings:
    service: str
    revision: str
    replica: str
    listen: str  # `unix:/path` or `tcp:host:port`
    source: ModelSource
    routes: tuple[str, ...] = ()  # paths of the user's own
    isolation: Literal["Thread", "Process"] = "Thread"
    max_batch: int = 64
    linger_s: float = 0.0
    target_s: float | None = None  # the p99 budget; None: the timeout is all there is to aim at
    timeout_s: float = 60.0
    predict_timeout_s: float = 10.0
    load_timeout_s: float = 60.0
    drain_linger_s: float = 0.5  # after SIGTERM everything is still served this long, so that gateways can look away
    drain_s: float = 30.0
    max_queued: int = 20_000  # items; beyond it a request is shed whatever its deadline
    max_body_bytes: int = 512 * 1024 * 1024  # of all requests in hand together
    trusted: bool = (
        True  # is the peer our own gateway (a Unix socket)? Only then are tenant, priority and retry marks read
    )
    trusted_peers: tuple[str, ...] = ()  # names in a client's verified certificate (`DNS:…`) that make it trusted, too
    bulk_bytes: int = (
        128 * 1024
    )  # larger bodies are decoded in the codec process: 128 KiB of numbers hold the lock 0.9 ms
    bulk_items: int = 8192  # larger answers are encoded there
    cpus: tuple[int, ...] = ()
    status: str | None = None  # a second listener for health, `/metrics` (then only there) and the state stream
    http: HttpSettings = field(default_factory=HttpSettings)
