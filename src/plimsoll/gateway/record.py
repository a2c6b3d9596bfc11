"""What one gateway counts: Prometheus families, and each service's last window for reports and `status`."""

from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import ServiceReport
from plimsoll.gateway.service import Service
from plimsoll.insight.window import WindowedCounts, WindowedSketch
from plimsoll.telemetry.lag import LagMeter
from plimsoll.telemetry.serving import GatewayMetrics, GatewayServiceMetrics


class ServiceRecord:
    """One service's. `ended` is the hot path."""

    __slots__ = ("_counts", "_ended_before", "_metrics", "_reported_at", "_sketch", "ended_total", "window_s")

    def __init__(self, metrics: GatewayServiceMetrics, window_s: float) -> None:
        self._metrics = metrics
        self.window_s = window_s
        self._sketch = WindowedSketch(window_s)
        self._counts = WindowedCounts(window_s)
        self.ended_total = 0
        self._ended_before = 0
        self._reported_at: float | None = None

    def use(self, metrics: GatewayServiceMetrics) -> None:
        """A new revision: other labels, the same window."""
        self._metrics = metrics

    def ended(self, outcome: Outcome, total_s: float, now: float) -> None:
        self._metrics.ended(outcome, total_s)
        self._counts.observe(outcome, now)
        self.ended_total += 1
        if outcome is not Outcome.CANCELLED:
            self._sketch.observe(total_s, now)

    def retried(self) -> None:
        self._metrics.retries.value += 1

    def report(self, service: Service, now: float) -> ServiceReport:
        seconds = now - self._reported_at if self._reported_at is not None else 1.0
        rate = (self.ended_total - self._ended_before) / max(seconds, 0.001)
        self._reported_at, self._ended_before = now, self.ended_total
        sketch = self._sketch.sketch(now)
        self._metrics.held.value = len(service.held)
        self._metrics.in_flight.value = service.in_flight
        return ServiceReport(
            service=service.view.name,
            requests_per_s=rate,
            outcomes=self._counts.totals(now),
            p50_s=sketch.quantile(0.5),
            p95_s=sketch.quantile(0.95),
            p99_s=sketch.quantile(0.99),
            in_flight=service.in_flight,
            held=len(service.held),
        )


class Record:
    def __init__(self, tick_s: float) -> None:
        self._metrics = GatewayMetrics()
        self._lag = LagMeter(tick_s)
        self._door = self._metrics.service("", "")  # what found no service
        self.render = self._metrics.render

    def of(self, service: Service, known: ServiceRecord | None) -> ServiceRecord:
        """The record of a service in its present revision."""
        view = service.view
        metrics = self._metrics.service(view.name, view.revision)
        self._metrics.endpoints(view.name, lambda: len(service.ready))
        if known is None or known.window_s != view.window_s:
            return ServiceRecord(metrics, view.window_s)
        known.use(metrics)
        return known

    def forget(self, name: str) -> None:
        self._metrics.forget(name)

    def refused_at_door(self, outcome: Outcome, total_s: float) -> None:
        self._door.ended(outcome, total_s)

    def lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def snapshot(self, version: int) -> None:
        self._metrics.snapshot_version.value = version
        self._metrics.loop_lag_seconds.value = self._lag.p99()
