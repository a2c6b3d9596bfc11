"""The product's own metric families, bundled by the host that feeds them. `docs/metrics.md` lists each one.

Gateway and replica use the same names: a dashboard for one works for the other. Where both are scraped through the
admin API they carry `gateway=` or `replica=`; sum over one of the two, or each request counts twice.
"""

from collections.abc import Callable

from plimsoll.core.outcome import ANSWERED, Outcome
from plimsoll.telemetry.buckets import SIZE_BOUNDS, BucketHistogram
from plimsoll.telemetry.metrics import Cell, Family, Metrics

_SERVICE = ("service", "revision")


class _Requests:
    """The two families that both hosts have."""

    def __init__(self, metrics: Metrics) -> None:
        self.total = metrics.counter(
            "plimsoll_requests_total", "Requests that ended, by outcome.", (*_SERVICE, "outcome"), unit="requests"
        )
        self.seconds = metrics.histogram(
            "plimsoll_request_seconds",
            "Of answered requests, from the read that completes the head to the last byte handed to the kernel.",
            _SERVICE,
        )
        self.lag = metrics.gauge(
            "plimsoll_loop_lag_seconds",
            "How late the event loop runs its timers, p99 of the last 10 s.",
            unit="seconds",
        )


class ReplicaMetrics:
    """One replica: one service, one revision. `ended` and `batch` are the hot path, 0.9 us together."""

    def __init__(self, service: str, revision: str) -> None:
        self.metrics = Metrics()
        both = _Requests(self.metrics)
        metrics = self.metrics
        self._outcomes = {outcome: both.total.labels(service, revision, str(outcome)) for outcome in Outcome}
        self._observe_total = both.seconds.labels(service, revision).observe
        self.queue_seconds: BucketHistogram = metrics.histogram(
            "plimsoll_queue_seconds", "From joining the replica's queue to the start of its batch.", _SERVICE
        ).labels(service, revision)
        self.compute_seconds: BucketHistogram = metrics.histogram(
            "plimsoll_compute_seconds", "Time in the model's predict of the batch that a request was in.", _SERVICE
        ).labels(service, revision)
        self.batch_size: BucketHistogram = metrics.histogram(
            "plimsoll_batch_size", "Items a batch, one observation a batch.", _SERVICE, unit="items", bounds=SIZE_BOUNDS
        ).labels(service, revision)
        self._observe_queue = self.queue_seconds.observe
        self._observe_compute = self.compute_seconds.observe
        self.queue_depth: Cell = metrics.gauge(
            "plimsoll_queue_depth", "Items that wait in the replica's queue.", _SERVICE, unit="items"
        ).labels(service, revision)
        self.in_flight: Cell = metrics.gauge(
            "plimsoll_in_flight", "Requests that were read and not answered yet.", _SERVICE, unit="requests"
        ).labels(service, revision)
        self.model_load_seconds: Cell = metrics.gauge(
            "plimsoll_model_load_seconds", "What loading and warming up the model took.", _SERVICE, unit="seconds"
        ).labels(service, revision)
        self.loop_lag_seconds: Cell = both.lag.labels()

    def ended(self, outcome: Outcome, total_s: float, queue_s: float, compute_s: float) -> None:
        """One request ended. What was refused before it queued has no queue or compute time (0): not observed there."""
        self._outcomes[outcome].value += 1
        if outcome in ANSWERED:  # a refusal takes next to nothing, and would flatter the quantiles of an overload
            self._observe_total(total_s)
        if compute_s > 0:
            self._observe_compute(compute_s)
            self._observe_queue(queue_s)
        elif queue_s > 0:
            self._observe_queue(queue_s)

    def batch(self, size: int) -> None:
        self.batch_size.observe(size)

    def requests(self) -> int:
        """How many have ended, whatever their outcome."""
        return int(sum(cell.value for cell in self._outcomes.values()))

    def render(self, openmetrics: bool = False) -> tuple[str, bytes]:
        return self.metrics.render(openmetrics)


class GatewayServiceMetrics:
    """A gateway's cells for one service, looked up once and kept with its route."""

    __slots__ = ("hedges", "held", "in_flight", "observe", "outcomes", "retries")

    def __init__(
        self, service: str, revision: str, both: _Requests, retries: Cell, hedges: Cell, held: Cell, in_flight: Cell
    ) -> None:
        self.outcomes = {outcome: both.total.labels(service, revision, str(outcome)) for outcome in Outcome}
        self.observe = both.seconds.labels(service, revision).observe  # seconds, of answers alone
        self.retries, self.hedges, self.held, self.in_flight = retries, hedges, held, in_flight

    def ended(self, outcome: Outcome, total_s: float) -> None:
        """One request ended."""
        self.outcomes[outcome].value += 1
        if outcome in ANSWERED:
            self.observe(total_s)


class CacheMetrics:
    """A gateway's cells for one service's cache. `bytes` is asked at each scrape."""

    __slots__ = ("bytes", "errors", "hits", "misses")

    def __init__(self, hits: Cell, misses: Cell, errors: Cell, kept: Cell) -> None:
        self.hits, self.misses, self.errors, self.bytes = hits, misses, errors, kept


_TENANTS = 500  # with series of their own; the others' requests are summed under one name
_OTHER_TENANTS = "(others)"


class GatewayMetrics:
    """One gateway, all its services. `service("", "")` counts what matched no service."""

    def __init__(self) -> None:
        self.metrics = metrics = Metrics()
        self._both = _Requests(metrics)
        self._retries = metrics.counter(
            "plimsoll_retries_total", "Requests sent to a second replica.", ("service",), unit="requests"
        )
        self._hedges = metrics.counter(
            "plimsoll_hedges_total", "Copies sent because the first replica was slower than usual.", ("service",)
        )
        self._held = metrics.gauge(
            "plimsoll_held_requests", "Requests that wait for a first replica.", ("service",), unit="requests"
        )
        self._in_flight = metrics.gauge(
            "plimsoll_gateway_in_flight", "Requests handed on and not answered yet.", ("service",), unit="requests"
        )
        self._endpoints = metrics.gauge(
            "plimsoll_endpoints", "Ready replicas that the gateway knows.", ("service",), unit="replicas"
        )
        self._cache = (
            metrics.counter(
                "plimsoll_cache_hits_total", "Lookups that found a fresh answer.", ("service",), unit="lookups"
            ),
            metrics.counter(
                "plimsoll_cache_misses_total", "Lookups that found none, or a stale one.", ("service",), unit="lookups"
            ),
            metrics.counter(
                "plimsoll_cache_errors_total", "Lookups and writes that Redis or Memcached failed.", ("service",)
            ),
            metrics.gauge("plimsoll_cache_bytes", "Kept in the gateway's own memory.", ("service",), unit="bytes"),
        )
        self._tenants = metrics.counter(
            "plimsoll_tenant_requests_total",
            "Requests of known tenants that ended, by outcome.",
            ("tenant", "outcome"),
            unit="requests",
        )
        self._tenants_outcomes: dict[str, dict[Outcome, Cell]] = {}
        self.snapshot_version: Cell = metrics.gauge(
            "plimsoll_snapshot_version", "The version of the controller's snapshot in effect."
        ).labels()
        self.loop_lag_seconds: Cell = self._both.lag.labels()
        self._services: dict[tuple[str, str], GatewayServiceMetrics] = {}

    def service(self, name: str, revision: str) -> GatewayServiceMetrics:
        made = self._services.get((name, revision))
        if made is None:
            cells = [family.labels(name) for family in (self._retries, self._hedges, self._held, self._in_flight)]
            made = self._services[name, revision] = GatewayServiceMetrics(name, revision, self._both, *cells)
        return made

    def cache(self, name: str) -> CacheMetrics:
        return CacheMetrics(*(family.labels(name) for family in self._cache))

    def tenant(self, name: str) -> dict[Outcome, Cell]:
        """One tenant's cells: `tenant(name)[outcome].value += 1`. `name`: of a tenant in the snapshot, never a client's
        word for it."""
        made = self._tenants_outcomes.get(name)
        if made is None:
            if len(self._tenants_outcomes) >= _TENANTS and name != _OTHER_TENANTS:
                return self.tenant(_OTHER_TENANTS)
            made = {outcome: self._tenants.labels(name, str(outcome)) for outcome in Outcome}
            self._tenants_outcomes[name] = made
        return made

    def forget_tenant(self, name: str) -> None:
        """The tenant is gone: its series end."""
        self._tenants_outcomes.pop(name, None)
        self._tenants.forget(name)

    def endpoints(self, name: str, read: Callable[[], float]) -> None:
        """`read` is asked at each scrape."""
        self._endpoints.labels(name).read = read

    def forget(self, name: str, revision: str | None = None) -> None:
        """The service is gone, or (where named) only one old revision of it: its series end."""
        both = self._both
        if revision is not None:
            self._services.pop((name, revision), None)
            both.total.forget(name, revision)
            both.seconds.forget(name, revision)
            return
        for key in [key for key in self._services if key[0] == name]:
            del self._services[key]
        mine = (self._retries, self._hedges, self._held, self._in_flight, self._endpoints, *self._cache)
        for family in (both.total, both.seconds, *mine):
            family.forget(name)

    def render(self, openmetrics: bool = False) -> tuple[str, bytes]:
        return self.metrics.render(openmetrics)


class ControllerMetrics:
    """The controller's own."""

    def __init__(self) -> None:
        self.metrics = metrics = Metrics()
        self.replicas: Family[Cell] = metrics.gauge(
            "plimsoll_replicas", "Replicas of a service, by phase.", ("service", "phase"), unit="replicas"
        )
        self.replicas_wanted: Family[Cell] = metrics.gauge(
            "plimsoll_replicas_wanted", "Replicas that should be there.", ("service",), unit="replicas"
        )
        self.restarts: Family[Cell] = metrics.counter(
            "plimsoll_replica_restarts_total", "Replicas started again after they ended.", ("service",), unit="replicas"
        )
        self.revisions: Family[Cell] = metrics.counter(
            "plimsoll_revisions_total", "Revisions made since the controller started.", ("service",), unit="revisions"
        )
        self.reconcile_seconds: BucketHistogram = metrics.histogram(
            "plimsoll_reconcile_seconds", "One turn of the reconcile loop."
        ).labels()

    def render(self, openmetrics: bool = False) -> tuple[str, bytes]:
        return self.metrics.render(openmetrics)
