"""What the controller tells every gateway, and what a gateway tells back. Plain data, versioned, sent whole.

A gateway serves on from its last snapshot while the controller is down, so a snapshot holds all that serving needs.
"""

from dataclasses import dataclass, field
from enum import StrEnum


class EndpointState(StrEnum):
    READY = "ready"
    DRAINING = "draining"  # finishes what it has; new work only where nothing is ready
    SPARE = "spare"  # kept ready for a rise; work only where nothing is ready, before those that drain


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


class CacheBackend(StrEnum):
    MEMORY = "Memory"
    REDIS = "Redis"
    MEMCACHED = "Memcached"


@dataclass(frozen=True, slots=True)
class CacheView:
    """`inputs`: what of a body is the key; empty: all of it. `epoch` counts purges: a new one empties the cache.
    `stale_s`: how much longer than `ttl_s` entries are kept for a StaleCache fallback."""

    ttl_s: float
    max_bytes: int
    per_tenant: bool = True
    inputs: tuple[str, ...] = ()
    backend: CacheBackend = CacheBackend.MEMORY
    url: str = field(default="", repr=False)  # of Redis or Memcached; holds its password
    epoch: int = 0
    stale_s: float = 0.0


class FallbackType(StrEnum):
    STALE_CACHE = "StaleCache"
    SERVICE = "Service"
    STATIC = "Static"


@dataclass(frozen=True, slots=True)
class FallbackView:
    """One step of a service's `fallback` list; which fields count depends on `type`."""

    type: FallbackType
    max_age_s: float = 0.0  # StaleCache: since the answer was stored
    service: str = ""
    body: str = ""
    content_type: str = "application/json"


class AffinityType(StrEnum):
    HEADER = "Header"
    COOKIE = "Cookie"


@dataclass(frozen=True, slots=True)
class AffinityView:
    """What names a session. `name`: of the header, in lower case, or of the cookie."""

    type: AffinityType
    name: str


@dataclass(frozen=True, slots=True)
class JwtView:
    """Who may sign for a tenant, and what a token must say: `claims` must all be there with these values."""

    issuer: str
    audience: str
    jwks_uri: str
    claims: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Allow:
    """Services that a tenant may call: in one of `namespaces` (empty: any) and with all of `labels`."""

    namespaces: tuple[str, ...] = ()
    labels: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class TenantView:
    """One tenant as a gateway needs it. Quotas are the tenant's whole, whatever the number of gateways; None: none."""

    name: str
    key_digests: dict[str, str] = field(default_factory=dict, repr=False)  # API key's name to SHA-256, in hex
    jwt: JwtView | None = None
    subjects: tuple[str, ...] = ()  # of client certificates, RFC 4514 text or a SAN (DNS:…, URI:…)
    allow: tuple[Allow, ...] = ()  # empty: every service
    requests_per_s: float | None = None
    concurrent_requests: int | None = None
    tokens_per_minute: float | None = None
    weight: float = 1.0
    max_priority: int = 0


@dataclass(frozen=True, slots=True)
class LimitsView:
    """How tenants' rates are shared between gateways: through Redis at `url`, else each takes a `gateways`-th."""

    gateways: int = 1
    url: str = field(default="", repr=False)


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
    namespace: str = ""
    labels: dict[str, str] = field(default_factory=dict)
    anonymous: bool | None = None  # None: as long as there is no tenant at all
    cache: CacheView | None = None
    fallback: tuple[FallbackView, ...] = ()
    affinity: AffinityView | None = None
    hedging: bool = False  # a second replica is asked where the first is slower than usual


@dataclass(frozen=True, slots=True)
class Snapshot:
    version: int
    services: tuple[ServiceView, ...] = ()
    tenants: tuple[TenantView, ...] = ()
    limits: LimitsView = field(default_factory=LimitsView)
    host_template: str = ""  # on a cluster, of a service's host: `{name}.{namespace}.infer.example.com`


@dataclass(frozen=True, slots=True)
class ServiceReport:
    """One gateway's counts for one service over its last second, and its latency quantiles over the budget window.

    For scaling, since the gateway began: `arrived` counts requests that wanted a replica (answers from a cache and what
    a quota refused want none), `late` those that ended over the p99 budget or refused for want of capacity, and
    `busy_s` adds up request-seconds inside the gateway: its growth over a time is the mean number of requests in it.
    `tenths` counts tenths of a second, and `tenths_squared` adds up the squares of what arrived in each: how bursty.
    """

    service: str
    requests_per_s: float
    outcomes: dict[str, int]  # over the budget window
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    in_flight: int = 0
    held: int = 0
    arrived: int = 0
    late: int = 0
    busy_s: float = 0.0
    tenths: int = 0
    tenths_squared: int = 0


@dataclass(frozen=True, slots=True)
class GatewayReport:
    """Sent each second, at once with the version when a snapshot has taken effect, and at once when a service's first
    request finds no replica. `notes`: what is amiss there, a line each, for people: the rate limits' Redis does not
    answer, a tenant's signing keys are old. `at`: the gateway's own monotonic clock in seconds; only differences count.
    """

    gateway: str
    version: int
    services: tuple[ServiceReport, ...] = field(default=())
    notes: tuple[str, ...] = ()
    at: float = 0.0
