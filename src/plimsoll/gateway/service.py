"""One service as this gateway keeps it from snapshot to snapshot: its replicas and the policies that decide for it."""

import logging
from collections.abc import Mapping
from random import Random
from typing import TYPE_CHECKING, Any

from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import EndpointState, ServiceView
from plimsoll.gateway.affinity import Affinity
from plimsoll.gateway.replica_tls import ReplicaTls
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.admission.hold import HoldQueue
from plimsoll.policy.degradation import FallbackTiming
from plimsoll.policy.routing import Fleet, Health, Hedging, Quarantine, RetryBudget
from plimsoll.wire.http1 import Burst

if TYPE_CHECKING:
    from plimsoll.gateway.cache import ServiceCache

_log = logging.getLogger(__name__)
_NOTHING: Mapping[str, float | None] = {}


class Service:
    """`update` takes the next view; replicas that stay keep their connections and their counts. `p99_s`: every
    service's p99 budget by name, for those of them that are fallbacks."""

    def __init__(
        self,
        view: ServiceView,
        settings: GatewaySettings,
        random: Random,
        burst: Burst | None = None,
        p99_s: Mapping[str, float | None] = _NOTHING,
        tls: ReplicaTls | None = None,
    ) -> None:
        self._burst = burst
        self._tls = tls
        self._settings = settings
        self.upstreams: dict[str, Upstream] = {}
        self.fleet: Fleet[Upstream] = Fleet(random.random)
        self.held: HoldQueue[Any] = HoldQueue(max_count=settings.max_held, max_bytes=settings.max_held_bytes)
        self.retries = RetryBudget()
        self.quarantine = Quarantine()
        self.in_flight = 0
        self.arrived = 0  # requests that wanted a replica of it, since the start
        self.tenths = self.tenths_squared = 0  # looks at it, and the squares of what had come since the last one
        self._arrived_before = 0
        self.since_s = 0.0  # sum of the arrival times of those in flight
        self.busy_s = 0.0  # request-seconds of those that ended
        self.told_at = float("-inf")  # when the controller was told last that somebody finds no replica
        self.gone = False  # deleted: what its replicas have is answered, nobody gets anything new
        self.cache: ServiceCache | None = None
        self.affinity: Affinity | None = None
        self.hedging: Hedging | None = None
        self.plain = True  # nobody has to prove who they are
        self.update(view, p99_s)

    def count_tenth(self) -> None:
        """Called each tenth of a second."""
        came, self._arrived_before = self.arrived - self._arrived_before, self.arrived
        self.tenths += 1
        self.tenths_squared += came * came

    def update(self, view: ServiceView, p99_s: Mapping[str, float | None] = _NOTHING) -> None:
        self.view = view
        self.name = view.name
        self.revision = view.revision
        self.timeout_s = view.timeout_s
        self.timing = FallbackTiming(
            view.name, view.fallback, timeout_s=view.timeout_s, grace_s=self._settings.grace_s, p99_s=p99_s
        )
        known, self.upstreams = self.upstreams, {}
        ready: list[Upstream] = []
        draining: list[Upstream] = []
        spare: list[Upstream] = []
        by_state = {EndpointState.READY: ready, EndpointState.DRAINING: draining, EndpointState.SPARE: spare}
        for endpoint in view.endpoints:
            upstream = known.pop(endpoint.replica, None)
            if upstream is None or upstream.endpoint.address != endpoint.address:
                if upstream is not None:
                    upstream.retire()
                    self.fleet.outliers.forgive(endpoint.replica)  # another process, whatever its name
                upstream = Upstream(
                    endpoint,
                    max_idle=self._settings.max_idle_connections,
                    max_connections=self._settings.max_connections,
                    burst=self._burst,
                    tls=self._tls,
                )
            elif upstream.endpoint != endpoint:
                upstream.describe(endpoint)
                upstream.reach.renewed()
            self.upstreams[endpoint.replica] = upstream
            by_state[endpoint.state].append(upstream)
        for upstream in known.values():
            upstream.retire()
        for upstream in self.upstreams.values():
            upstream.watched = len(ready) > 1
        self.fleet.keep(ready, spare or draining)
        self.fleet.target_s = view.target_s
        self.affinity = None if view.affinity is None else Affinity(view.affinity)
        self.hedging = (self.hedging or Hedging()) if view.hedging else None

    def responded(self, upstream: Upstream, outcome: Outcome, seconds: float, now: float) -> None:
        """`upstream`, one of several, answered with `outcome`, or lost the request, `seconds` after it was sent."""
        outliers = self.fleet.outliers
        if outliers.observe(upstream.name, outcome, seconds, now):
            for change in outliers.changes():
                about = {"service": self.name, "replica": change.replica}
                if change.health is Health.EJECTED:
                    _log.warning("replica out for %.3g s: %s", change.for_s, change.reason, extra=about)
                else:
                    _log.info("replica in again: %s", change.reason, extra=about)
        if self.hedging is not None:
            self.hedging.observe(outcome, seconds)

    def probe(self, upstream: Upstream) -> None:
        """`upstream` is silent, and is asked whether it lives."""
        upstream.probe(lambda: self.fleet.alive(upstream, upstream.clock()))

    def retire(self) -> None:
        self.gone = True
        for upstream in self.upstreams.values():
            upstream.retire()
        self.upstreams = {}
        self.fleet.keep(())
