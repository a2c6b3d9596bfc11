"""One service as this gateway keeps it from snapshot to snapshot: its replicas, who is held, what was counted."""

import logging
from collections.abc import Iterator
from random import Random
from typing import TYPE_CHECKING, Any

from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import EndpointState, FallbackView, ServiceView
from plimsoll.gateway.affinity import Affinity
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.admission.hold import HoldQueue
from plimsoll.policy.degradation import reserve_s
from plimsoll.policy.routing import Health, Hedging, LeastWait, Outliers, Quarantine, Rendezvous, RetryBudget
from plimsoll.wire.http1 import Burst

if TYPE_CHECKING:
    from plimsoll.gateway.attempt import Attempt
    from plimsoll.gateway.cache import ServiceCache

_log = logging.getLogger(__name__)
_ANSWER_S = 0.04  # before its deadline a request turns to its fallback: a slot of the deadline wheel, and a tick


class Service:
    """`update` takes the next view; replicas that stay keep their connections and their counts."""

    def __init__(
        self, view: ServiceView, settings: GatewaySettings, random: Random, burst: Burst | None = None
    ) -> None:
        self._burst = burst
        self.view = view
        self._settings = settings
        self.upstreams: dict[str, Upstream] = {}
        self.ready: list[Upstream] = []
        self.draining: list[Upstream] = []
        self.held: HoldQueue[Any] = HoldQueue(max_count=settings.max_held, max_bytes=settings.max_held_bytes)
        self.retries = RetryBudget()
        self.quarantine = Quarantine()
        self.in_flight = 0
        self.gone = False  # deleted: what its replicas have is answered, nobody gets anything new
        self.cache: ServiceCache | None = None
        self.affinity: Affinity | None = None
        self.hedging: Hedging | None = None
        self.outliers = Outliers()
        self.plain = True  # nobody has to prove who they are
        # Then only the replica knows whose turn is next, and the length of its queue tells us nothing.
        self.tenants_share_it = False
        self._choose = LeastWait(random.random)
        self._rendezvous = Rendezvous(())
        self.update(view)

    def update(self, view: ServiceView) -> None:
        self.view = view
        self.timeout_s = view.timeout_s
        self.patience_s = self.patience_for(view.fallback)
        known, self.upstreams = self.upstreams, {}
        self.ready, self.draining = [], []
        for endpoint in view.endpoints:
            upstream = known.pop(endpoint.replica, None)
            if upstream is None or upstream.endpoint.address != endpoint.address:
                if upstream is not None:
                    upstream.retire()
                    self.outliers.forgive(endpoint.replica)  # another process, whatever its name
                upstream = Upstream(
                    endpoint,
                    max_idle=self._settings.max_idle_connections,
                    max_connections=self._settings.max_connections,
                    burst=self._burst,
                )
            elif upstream.endpoint != endpoint:
                upstream.describe(endpoint)
                upstream.down_until = 0.0  # a word from the controller about it: worth a try
            self.upstreams[endpoint.replica] = upstream
            (self.ready if endpoint.state is EndpointState.READY else self.draining).append(upstream)
        for upstream in known.values():
            upstream.retire()
        for upstream in self.upstreams.values():
            upstream.watched = len(self.ready) > 1
        self.outliers.keep(upstream.endpoint.replica for upstream in self.ready)
        self._rendezvous = Rendezvous(upstream.endpoint.replica for upstream in self.ready)
        self.affinity = None if view.affinity is None else Affinity(view.affinity)
        self.hedging = (self.hedging or Hedging()) if view.hedging else None

    def patience_for(self, fallback: tuple[FallbackView, ...]) -> float:
        """How long after its deadline a request without an answer is ended; before it, where it has a fallback."""
        if not fallback:
            return self._settings.grace_s
        return -min(reserve_s(fallback, self.view.target_s or 0.0, _ANSWER_S), self.view.timeout_s / 2)

    # --- which replica ----------------------------------------------------------------------------------------------

    def pick(self, now: float, *, other_than: Upstream | None = None, session: bytes | None = None) -> Upstream | None:
        """The one with the shorter predicted wait of two (or its session's), from the first of these groups that has
        anybody: ready replicas; ready ones that lately failed or are overdue; draining ones; `other_than`, which lost
        the request. None: nobody can be reached."""
        ready = self.ready
        count = len(ready)
        if count == 1:
            only = ready[0]
            if only is not other_than and only.down_until <= now:
                return only
        elif count and session is None and other_than is None and self.outliers.quiet:
            # Nearly always: two, and nothing against either of them. The others needn't be looked at.
            first, second = self._choose.pair(count)
            one, other = ready[first], ready[second]
            if one.is_well(now) and other.is_well(now):
                return one if self._choose.first_is_better(one.load, other.load, now) else other
        others = [upstream for upstream in ready if upstream is not other_than and upstream.down_until <= now]
        if not others:
            others = [up for up in self.draining if up is not other_than and up.down_until <= now]
            if not others:
                return self._again(other_than, now)
        candidates = self._well(others, now) or [up for up in others if not up.overdue.suspect(now)] or others
        if session is not None:
            return self._of_session(session, candidates, now)
        return candidates[self._choose.pick([upstream.load for upstream in candidates], now)]

    def other(self, than: Upstream, now: float) -> Upstream | None:
        """For a second copy of a request that `than` has."""
        others = [upstream for upstream in self.ready if upstream is not than and upstream.down_until <= now]
        candidates = self._well(others, now)
        return candidates[self._choose.pick([up.load for up in candidates], now)] if candidates else None

    def _well(self, upstreams: list[Upstream], now: float) -> list[Upstream]:
        outliers = self.outliers
        well = [upstream for upstream in upstreams if upstream.is_well(now)]
        if outliers.quiet:
            return well
        return [up for up in well if outliers.usable(up.endpoint.replica, now, up.outstanding)]

    def _of_session(self, session: bytes, candidates: list[Upstream], now: float) -> Upstream:
        ready, target_s = self.ready, self.view.target_s
        best = self._rendezvous.best(session, lambda index: ready[index] in candidates)
        if best is not None:
            wait_s = ready[best].load.predicted_wait(now)
            if wait_s is None or target_s is None or wait_s < target_s:
                return ready[best]
        return candidates[self._choose.pick([upstream.load for upstream in candidates], now)]

    def too_long_s(self, upstream: Upstream, left_s: float, now: float) -> float:
        """By how much a new request would wait longer than `left_s`, at `upstream` and at every other; 0: somewhere
        it wouldn't, or nobody knows."""
        wait_s = upstream.load.predicted_wait(now)
        if wait_s is None or wait_s <= left_s:
            return 0.0
        waits = [up.load.predicted_wait(now) for up in self.ready]
        return max(min(0.0 if wait is None else wait for wait in waits) - left_s, 0.0) if waits else 0.0

    def responded(self, upstream: Upstream, outcome: Outcome, seconds: float, now: float) -> None:
        """`upstream`, one of several, answered with `outcome`, or lost the request, `seconds` after it was sent."""
        if self.outliers.observe(upstream.endpoint.replica, outcome, seconds, now):
            for change in self.outliers.changes():
                about = {"service": self.view.name, "replica": change.replica}
                if change.health is Health.EJECTED:
                    _log.warning("replica out for %.3g s: %s", change.for_s, change.reason, extra=about)
                else:
                    _log.info("replica in again: %s", change.reason, extra=about)
        if self.hedging is not None:
            self.hedging.observe(seconds, now)

    def overdue(self, now: float) -> "Iterator[Attempt]":
        """Attempts that take too long and may be made a second time elsewhere, each once."""
        if len(self.ready) < 2 or not self.view.retry:
            return
        for upstream in self.ready:
            yield from upstream.overdue.overdue(now)

    def _again(self, upstream: Upstream | None, now: float) -> Upstream | None:
        if upstream is None or upstream.gone or upstream.down_until > now:
            return None
        return upstream

    def reachable(self, now: float) -> bool:
        """Whether `pick` would find somebody."""
        return any(upstream.down_until <= now for upstream in self.upstreams.values())

    def retire(self) -> None:
        self.gone = True
        for upstream in self.upstreams.values():
            upstream.retire()
        self.upstreams, self.ready, self.draining = {}, [], []
