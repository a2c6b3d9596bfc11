"""What one gateway counts: Prometheus families, and each service's last window for reports and `status`."""

from collections.abc import Callable
from math import inf

from plimsoll.core.outcome import ANSWERED, Outcome
from plimsoll.core.snapshot import ServiceReport
from plimsoll.gateway.service import Service
from plimsoll.insight.window import WindowedCounts, WindowedSketch
from plimsoll.telemetry.audit import AuditLog
from plimsoll.telemetry.lag import LagMeter
from plimsoll.telemetry.serving import GatewayMetrics, GatewayServiceMetrics

_RATE_S = 0.5  # a report sent at once after a snapshot covers milliseconds: no base for a rate
_REVISIONS = 8  # kept for each service beyond those in use: who saves a file all day makes hundreds

# What more replicas would have answered. A fallback's answer counts as late, too: the service itself had none.
REFUSED_FOR_CAPACITY = frozenset({Outcome.SHED, Outcome.EXPIRED, Outcome.NO_REPLICA})


class ServiceRecord:
    """One service's. `ended` is the hot path."""

    __slots__ = (
        "_counts", "_ended_before", "_metrics", "_rate", "_reported_at", "_sketch", "by_revision", "ended_total",
        "late_total", "target_s", "window_s",
    )  # fmt: skip

    def __init__(self, metrics: GatewayServiceMetrics, window_s: float) -> None:
        self._metrics = metrics
        self.by_revision: dict[str, GatewayServiceMetrics] = {}
        self.window_s = window_s
        self._sketch = WindowedSketch(window_s)
        self._counts = WindowedCounts(window_s)
        self.ended_total = self.late_total = 0
        self.target_s = inf  # the p99 budget
        self._ended_before = 0
        self._rate = 0.0
        self._reported_at: float | None = None

    def use(self, metrics: GatewayServiceMetrics, by_revision: dict[str, GatewayServiceMetrics]) -> None:
        """A new view: other revisions, the same window."""
        self._metrics = metrics
        self.by_revision |= by_revision

    def unused(self, in_use: set[str]) -> list[str]:
        """Takes out the oldest revisions beyond those that are kept."""
        old = [revision for revision in self.by_revision if revision not in in_use]
        gone = old[: max(0, len(old) - _REVISIONS)]
        for revision in gone:
            del self.by_revision[revision]
        return gone

    def ended(self, outcome: Outcome, total_s: float, now: float, revision: str) -> None:
        metrics = self.by_revision.get(revision) or self._metrics
        metrics.outcomes[outcome].value += 1
        self._counts.observe(outcome, now)
        self.ended_total += 1
        if outcome in ANSWERED:  # refusals take no time: counted as well, they would flatter an overload's tail
            metrics.observe(total_s)
            self._sketch.observe(total_s, now)
            if total_s > self.target_s or outcome is Outcome.DEGRADED:
                self.late_total += 1
        elif outcome in REFUSED_FOR_CAPACITY:
            self.late_total += 1

    def retried(self) -> None:
        self._metrics.retries.value += 1

    def hedged(self) -> None:
        self._metrics.hedges.value += 1

    def report(self, service: Service, now: float) -> ServiceReport:
        seconds = now - self._reported_at if self._reported_at is not None else 1.0
        if seconds >= _RATE_S:
            self._rate = (self.ended_total - self._ended_before) / seconds
            self._reported_at, self._ended_before = now, self.ended_total
        sketch = self._sketch.sketch(now)
        return ServiceReport(
            service=service.view.name,
            requests_per_s=self._rate,
            outcomes=self._counts.totals(now),
            p50_s=sketch.quantile(0.5),
            p95_s=sketch.quantile(0.95),
            p99_s=sketch.quantile(0.99),
            in_flight=service.in_flight,
            held=len(service.held),
            arrived=service.arrived,
            late=self.late_total,
            tenths=service.tenths,
            tenths_squared=service.tenths_squared,
            busy_s=service.busy_s + service.in_flight * now - service.since_s,
        )


class Record:
    def __init__(self, tick_s: float) -> None:
        self._metrics = GatewayMetrics()
        self._lag = LagMeter(tick_s)
        self._door = self._metrics.service("", "")  # what found no service
        self.render = self._metrics.render
        self.cache = self._metrics.cache
        self.tenant = self._metrics.tenant
        self.forget_tenant = self._metrics.forget_tenant

    def count(self, audit: AuditLog) -> None:
        audit.register(self._metrics.metrics)

    def of(self, service: Service, known: ServiceRecord | None) -> ServiceRecord:
        """The record of a service in its present view."""
        view = service.view
        in_use = {view.revision, *(endpoint.revision for endpoint in view.endpoints)}
        by_revision = {revision: self._metrics.service(view.name, revision) for revision in in_use}
        metrics = by_revision[view.revision]
        metrics.held.read = lambda: len(service.held)
        metrics.in_flight.read = lambda: service.in_flight
        self._metrics.endpoints(view.name, lambda: len(service.fleet.ready))
        if known is None or known.window_s != view.window_s:
            record = ServiceRecord(metrics, view.window_s)
            if known is not None:
                record.use(metrics, known.by_revision)
                record.late_total = known.late_total
        else:
            record = known
        record.use(metrics, by_revision)
        record.target_s = inf if view.target_s is None else view.target_s
        for revision in record.unused(in_use):
            self._metrics.forget(view.name, revision)
        return record

    def forget(self, name: str) -> None:
        self._metrics.forget(name)

    def refused_at_door(self, outcome: Outcome, total_s: float) -> None:
        self._door.ended(outcome, total_s)

    def lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def use(self, version: Callable[[], float]) -> None:
        """`version` of the snapshot in effect, asked at each scrape: reports end while the controller is down."""
        self._metrics.snapshot_version.read = version
        self._metrics.loop_lag_seconds.read = self._lag.p99
