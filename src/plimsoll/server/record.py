"""What one replica counts of itself, in one place: metrics, loop lag, utilisation."""

from plimsoll.core.outcome import Outcome
from plimsoll.telemetry.lag import LagMeter
from plimsoll.telemetry.serving import ReplicaMetrics

_SMOOTHING = 0.5  # of the newest second in the utilisation


class Record:
    """`ended` and `batch` are the hot path."""

    def __init__(self, service: str, revision: str, tick_s: float) -> None:
        self._metrics = ReplicaMetrics(service, revision)
        self._lag = LagMeter(tick_s)
        self.ended = self._metrics.ended
        self.render = self._metrics.render
        self.rss_bytes = 0
        self.utilization = 0.0  # the share of time in which the model was busy: saturation, as the design calls it
        self._busy_s = 0.0
        self._since: float | None = None

    @property
    def requests(self) -> int:
        return self._metrics.requests()

    def refused(self, outcome: Outcome, total_s: float) -> None:
        self.ended(outcome, total_s, 0.0, 0.0)

    def loaded(self, seconds: float) -> None:
        self._metrics.model_load_seconds.value = seconds

    def batch(self, size: int, seconds: float) -> None:
        self._metrics.batch(size)
        self._busy_s += seconds

    def lag(self, seconds: float) -> None:
        self._lag.observe(seconds)

    def lag_p99(self) -> float:
        p99 = self._lag.p99()
        self._metrics.loop_lag_seconds.value = p99
        return p99

    def depth(self, queued: int, in_flight: int) -> None:
        self._metrics.queue_depth.value = queued
        self._metrics.in_flight.value = in_flight

    def utilize(self, now: float) -> None:
        """Called each second."""
        if self._since is not None and now > self._since:
            newest = min(self._busy_s / (now - self._since), 1.0)
            self.utilization += _SMOOTHING * (newest - self.utilization)
        self._since, self._busy_s = now, 0.0
