"""What one request gets instead of its answer: carries out its `FallbackPlan`, and keeps the first failure."""

from typing import Protocol

from plimsoll.core.errors import RequestError
from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import FallbackType, FallbackView
from plimsoll.gateway.answer import Answer
from plimsoll.gateway.cache import Hit, protocol_of
from plimsoll.gateway.service import Service
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.degradation import FallbackPlan
from plimsoll.policy.routing import Overloaded
from plimsoll.wire.http1 import Exchange

Failure = RequestError | Answer  # what a request ends with where nothing takes its place
DEGRADED_BY = b"plimsoll-degraded-by: %b\r\n"  # StaleCache, Static or Service/NAME


class Owner(Protocol):
    """The request."""

    service: Service
    target: Service
    deadline: float

    def stale(self, now: float) -> Hit | None: ...

    def digest(self) -> bytes: ...

    def service_named(self, name: str) -> Service | None: ...

    def turn_to(self, target: Service, upstream: Upstream, now: float, until: float) -> None: ...

    def missed(self, target: Service, now: float) -> None: ...

    def answer(self, answer: Answer) -> None: ...


class Fallbacks:
    """`failure`: what became of the service that was asked, not of its fallbacks."""

    __slots__ = ("_owner", "_plan", "failure")

    def __init__(self, owner: Owner, failure: Failure) -> None:
        self._owner = owner
        self._plan = FallbackPlan(owner.service.view.fallback)
        self.failure = failure

    def take_over(self, now: float) -> bool:
        """False: there is nothing left to try."""
        owner, plan = self._owner, self._plan
        if owner.target is not owner.service:
            plan.first(owner.target.view.fallback)
        stale = owner.stale(now)
        age_s = None if stale is None else stale.age_s
        while (step := plan.next(stale_age_s=age_s, time_left_s=owner.deadline - now)) is not None:
            if step.type is not FallbackType.SERVICE:
                owner.answer(_made(step, stale))
                return True
            target = owner.service_named(step.service)
            if target is None:
                continue
            upstream = self._replica_of(target, now)
            if upstream is not None:
                owner.turn_to(target, upstream, now, self._until(target, now))
                return True
            plan.first(target.view.fallback)
        return False

    def _replica_of(self, target: Service, now: float) -> Upstream | None:
        """None: nobody can take it, or it ended replicas there, too."""
        if target.quarantine and target.quarantine.holds(self._owner.digest(), now):
            return None
        chosen = target.fleet.route(now, now, self._owner.deadline)
        if chosen is None:
            self._owner.missed(target, now)
        return None if isinstance(chosen, Overloaded) else chosen

    def _until(self, target: Service, now: float) -> float:
        """How long `target` may take."""
        owner = self._owner
        return owner.service.timing.until_with((*target.view.fallback, *self._plan.left), now, owner.deadline)


def infers(exchange: Exchange) -> bool:
    """Else it asks whether the service is ready, or what it takes: for it nobody else can answer."""
    return exchange.method == "POST" and protocol_of(exchange.path) is not None


def _made(step: FallbackView, stale: Hit | None) -> Answer:
    if step.type is FallbackType.STATIC:
        lines, body = b"content-type: %b\r\n" % step.content_type.encode(), step.body.encode()
    else:
        assert stale is not None  # the plan was told its age
        lines, body = b"%bage: %d\r\n" % (stale.lines, stale.age_s), stale.body
    return Answer(200, lines + DEGRADED_BY % step.type.encode(), body, Outcome.DEGRADED)
