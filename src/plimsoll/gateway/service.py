"""One service as this gateway keeps it from snapshot to snapshot: its replicas, who is held, what was counted."""

from random import Random
from typing import Any

from plimsoll.core.snapshot import EndpointState, ServiceView
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.admission.hold import HoldQueue
from plimsoll.policy.routing import Quarantine, RetryBudget, TwoChoices
from plimsoll.wire.http1 import Burst


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
        self._choose = TwoChoices(random.randrange)
        self.update(view)

    def update(self, view: ServiceView) -> None:
        self.view = view
        known, self.upstreams = self.upstreams, {}
        self.ready, self.draining = [], []
        for endpoint in view.endpoints:
            upstream = known.pop(endpoint.replica, None)
            if upstream is None or upstream.endpoint.address != endpoint.address:
                if upstream is not None:
                    upstream.retire()
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

    def pick(self, now: float, *, other_than: Upstream | None = None) -> Upstream | None:
        """The less loaded of two, from the first of these groups that has anybody: ready replicas; ready ones that
        lately failed; draining ones; `other_than`, which lost the request. None: nobody can be reached."""
        ready = self.ready
        if len(ready) == 1:
            only = ready[0]
            if only is not other_than and only.down_until <= now:
                return only
        others = [upstream for upstream in ready if upstream is not other_than and upstream.down_until <= now]
        if not others:
            others = [up for up in self.draining if up is not other_than and up.down_until <= now]
            if not others:
                return self._again(other_than, now)
        candidates = [upstream for upstream in others if upstream.avoid_until <= now] or others
        return candidates[self._choose.pick([upstream.outstanding for upstream in candidates])]

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
