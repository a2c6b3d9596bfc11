"""One request's way through the gateway: cache → replica or wait → answer, its own or a fallback's.

It ends exactly once, through `_end`. The decisions are policies' (`Fleet.route` for where to go or whether to,
`FallbackPlan` for what to answer instead and `FallbackTiming` for when, `hold_until` for how long to wait); this file
carries them out. What it does with replicas is in `tries`.
"""

from plimsoll.core.errors import Expired, NoReplica, RequestError, Shed
from plimsoll.core.outcome import Outcome
from plimsoll.gateway.answer import Answer
from plimsoll.gateway.cache import Hit
from plimsoll.gateway.caching import CacheTrip
from plimsoll.gateway.fallbacks import DEGRADED_BY, Failure, Fallbacks, infers
from plimsoll.gateway.host import Host
from plimsoll.gateway.service import Service
from plimsoll.gateway.tries import Tries
from plimsoll.gateway.upstream import Upstream, revision_line
from plimsoll.policy.admission import deadline_after, hold_until
from plimsoll.policy.degradation import DEGRADES
from plimsoll.policy.routing import Overloaded
from plimsoll.telemetry.server_timing import gateway_timing
from plimsoll.wire.http1 import Exchange

_OK, _CACHED = Outcome.OK, Outcome.CACHED


class Forwarding(Tries):
    __slots__ = (
        "_fallbacks", "admitted", "client_until", "held_s", "holding_since", "slot", "status", "tenant_name", "trip",
    )  # fmt: skip

    tenant_name: str
    admitted: bool  # known who asks, within its quota: before that no fallback answers either
    trip: CacheTrip | None
    slot: int
    held_s: float
    holding_since: float | None
    status: int  # of the answer that was sent
    _fallbacks: Fallbacks | None

    def __init__(
        self,
        door: Host,
        exchange: Exchange,
        service: Service,
        request_id: bytes,
        deadline: float,
        client_until: float | None,
    ) -> None:
        self._door = door
        self.exchange = exchange
        self.service = self.target = service
        self.request_id = request_id
        self.deadline = deadline
        self.revision = service.revision
        self.tenant = self.session = self.trip = self._fallbacks = None
        self.hop_lines = self.body = b""
        self.since = exchange.arrived
        self.ended = self.admitted = self._alone = False
        self._sent = self.slot = self.status = 0
        self.sent_at = self.held_s = 0.0
        self._attempts = []
        self._lost_from = self._failed = self._head = self.holding_since = None
        self.tenant_name = ""
        self.client_until = client_until  # the deadline that its client named

    def now(self) -> float:
        return self._door.now()

    # --- the way in -------------------------------------------------------------------------------------------------

    def dispatch(self, now: float) -> None:
        """To a replica; else to the fallback, or held. Refused where the best replica's queue is too long already."""
        target = self.target
        target.arrived += 1
        if target.quarantine.known and self.convicted(now):
            return
        chosen = target.fleet.route(now, self.since, self.deadline, self.session)
        if chosen is None:
            self.stranded(now)
        elif isinstance(chosen, Overloaded):
            self.refuse(Shed(chosen.reason, retry_after_s=chosen.retry_after_s))
        else:
            self.try_at(chosen, now)

    def restart(self, now: float) -> bool:
        """`start` after it was held, unless one that asks the same was let go just before: then it waits for that."""
        return (self.trip is not None and not self._sent and not self.trip.again()) or self.start(now)

    def hold_until(self) -> float:
        arrived, hold_s = self.exchange.arrived, self.service.view.hold_s
        return hold_until(arrived, self.deadline, self.client_until, hold_s, sent=self._sent > 0)

    def resume(self, now: float) -> None:
        """Held no longer."""
        assert self.holding_since is not None
        self.held_s += now - self.holding_since
        self.holding_since = None
        self.since = now
        timeout_s = self.service.timeout_s
        self.deadline = deadline_after(now, self.deadline, self.client_until, timeout_s, sent=self._sent > 0)

    # --- instead of the answer --------------------------------------------------------------------------------------

    def stale(self, now: float) -> Hit | None:
        return None if self.trip is None else self.trip.stale_at(now)

    def service_named(self, name: str) -> Service | None:
        return self._door.service_named(name)

    def stranded(self, now: float) -> None:
        """No replica is there to take it: its fallback does, else it is held until one can."""
        self._door.short(self.target, now)
        nobody = NoReplica("no replica is ready", retry_after_s=1)
        if self.target is not self.service:
            self.fail(nobody)
        elif self.service.gone or not self._degrade(nobody):
            self._fallbacks = None  # should what comes after the wait fail, they are asked again
            self._door.hold(self, now)

    def _degrade(self, failure: Failure) -> bool:
        """Whether the fallback has taken over."""
        if not self.admitted or not self.service.view.fallback or not infers(self.exchange):
            return False
        if self._fallbacks is None:
            self._fallbacks = Fallbacks(self, failure)
        return self._fallbacks.take_over(self._door.now())

    def missed(self, target: Service, now: float) -> None:
        """A fallback service has no replica that could take it."""
        target.arrived += 1
        self._door.short(target, now)

    def turn_to(self, target: Service, upstream: Upstream, now: float, until: float) -> None:
        """To a fallback service's replica, which may take until then."""
        self.drop_attempts(now)
        self.target = target
        target.arrived += 1
        self._head, self._lost_from, self._failed, self._sent, self._alone = None, None, None, 0, False
        if self.holding_since is not None:
            self.service.held.cancel(self)
            self.holding_since = None
        if self.trip is not None and self._fallbacks is not None:  # who waits for it must not wait for the other one
            self.trip.ended(self._fallbacks.failure.outcome)
        self._door.watch(self, until)
        self.try_at(upstream, now)

    def fail(self, failure: Failure) -> None:
        if self._degrade(failure):
            return
        first = failure if self._fallbacks is None else self._fallbacks.failure
        if isinstance(first, Answer):
            self.answer(first)
        else:
            self._refuse(first)

    # --- ends -------------------------------------------------------------------------------------------------------

    def expire(self) -> None:
        """Its deadline, or the time it may be held, has passed."""
        if self.holding_since is not None:
            self.refuse(NoReplica("no replica became ready in time", retry_after_s=1))
            return
        now = self._door.now()
        if now < self.deadline and self.target is self.service:  # it is time for the fallback
            if not self._degrade(Expired("the replica did not answer in time for a fallback")):
                self._fallbacks = None  # they have nothing to give, and the answer may still come
                self._door.watch(self, self.service.timing.until_with((), now, self.deadline))
            return
        if now >= self.deadline:  # it was told the deadline, and had a grace: silent, or stopped
            for attempt in self._attempts:
                attempt.upstream.reach.lost(now)
        who = "the replica did not answer" if self.admitted else "the key that signed the token could not be fetched"
        self.refuse(Expired(f"{who} before the deadline"))

    def cancel(self) -> None:
        """The client left."""
        if not self.ended:
            self._end(Outcome.CANCELLED)

    def refuse(self, error: RequestError) -> None:
        if self.ended:
            return
        if error.outcome in DEGRADES and not self.service.gone:
            self.fail(error)
            return
        self._refuse(error)

    def _refuse(self, error: RequestError) -> None:
        self.status = self._door.answer_error(self.exchange, error, self.request_id, self.revision)
        self._end(error.outcome)

    def answer_cached(self, lines: bytes, body: bytes, age_s: float, revision: str) -> None:
        self.revision = revision
        self.answer(Answer(200, b"%bage: %d\r\n" % (lines, age_s), body, _CACHED, b"", revision_line(revision)))

    def answer(self, answer: Answer) -> None:
        outcome, held_s = answer.outcome, self.held_s
        if outcome is _OK and self.target is not self.service:
            outcome = Outcome.DEGRADED
            answer.lines += DEGRADED_BY % f"Service/{self.target.name}".encode()
        until = self.sent_at or self._door.now()
        where = gateway_timing(until - self.exchange.arrived - held_s, answer.timing, held_s)
        self.status = answer.status
        self.exchange.respond(
            answer.status,
            b"%b%bserver-timing: %b\r\nplimsoll-outcome: %b\r\nx-request-id: %b\r\n"
            % (answer.lines, answer.revision_line, where, outcome.encode(), self.request_id),
            answer.body,
        )
        trip = self.trip
        if trip is not None and outcome is not _CACHED:
            trip.answered(answer, outcome)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.ended = True
        if self._attempts:
            self.drop_attempts(self._door.now())
        self._door.ended(self, outcome)
        trip, self.trip, self._fallbacks = self.trip, None, None  # they name us: no rings are left to the collector
        if trip is not None:
            trip.ended(outcome)
