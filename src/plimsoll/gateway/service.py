"""One service as this gateway keeps it from snapshot to snapshot: its replicas, who is held, what was counted."""

from random import Random
from typing import Any

from plimsoll.core.snapshot import EndpointState, ServiceView
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.admission.hold import HoldQueue
from plimsoll.policy.routing import Quarantine, RetryBudget, TwoChoices


class Service:
    """`update` takes the next view; replicas that stay keep their connections and their counts."""

    def __init__(self, view: ServiceView, settings: GatewaySettings, random: Random) -> None:
        self.view = view
        self._settings = settings
        self.upstreams: dict[str, Upstream] = {}
        self.ready: list[Upstream] = []
        self.draining: list[Upstream] = []
        self.held: HoldQueue[Any] = HoldQueue(max_count=settings.max_held, max_bytes=settings.max_held_bytes)
        self.retries = RetryBudget()
        self.quarantine = Quarantine()
        self.in_flight = 0
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
                )
            upstream.endpoint = endpoint
            self.upstreams[endpoint.replica] = upstream
            (self.ready if endpoint.state is EndpointState.READY else self.draining).append(upstream)
        for upstream in known.values():
            upstream.retire()

    def pick(self, now: float, *, other_than: Upstream | None = None) -> Upstream | None:
        """The less loaded of two ready replicas; a draining one where nothing else is there; None: nobody."""
        candidates = self.ready
        if len(candidates) == 1 and candidates[0] is not other_than:
            return candidates[0]
        candidates = _preferred(self.ready, now, other_than) or _preferred(self.draining, now, other_than)
        if not candidates:
            return None
        return candidates[self._choose.pick([upstream.outstanding for upstream in candidates])]

    def retire(self) -> None:
        for upstream in self.upstreams.values():
            upstream.retire()


def _preferred(upstreams: list[Upstream], now: float, other_than: Upstream | None) -> list[Upstream]:
    """Without the one that just failed us, and without those to be avoided as long as others are there."""
    others = [upstream for upstream in upstreams if upstream is not other_than]
    return [upstream for upstream in others if upstream.avoid_until <= now] or others
