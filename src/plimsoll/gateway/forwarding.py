"""One request's way through the gateway: cache → replica → answer, and again where a replica was lost or is overdue.

It ends exactly once, through `_end`. The decisions are policies' (`after_loss` after a loss, `FallbackPlan` for what to
answer instead, `Service.pick` for where to go); this file carries them out. A replica that could not be reached is no
loss: nothing was sent, so the request goes elsewhere, or is held, without a word about it.
"""

import logging
from hashlib import blake2b

from plimsoll.core.errors import Expired, NoReplica, ReplicaLost, RequestError, Shed
from plimsoll.core.outcome import Outcome
from plimsoll.gateway.answer import Answer, as_long_as_said, outcome_of
from plimsoll.gateway.attempt import Attempt
from plimsoll.gateway.cache import Hit
from plimsoll.gateway.caching import CacheTrip
from plimsoll.gateway.fallbacks import DEGRADED_BY, Failure, Fallbacks, infers
from plimsoll.gateway.heads import Headers, path_at, read_answer, request_head
from plimsoll.gateway.host import Host
from plimsoll.gateway.service import Service
from plimsoll.gateway.tenants import Tenant
from plimsoll.gateway.upstream import Upstream, revision_line
from plimsoll.policy.degradation import DEGRADES
from plimsoll.policy.routing import GiveUp, after_loss
from plimsoll.telemetry.server_timing import gateway_timing
from plimsoll.wire.deadline import encode_time_left
from plimsoll.wire.http1 import ClientConnection, Exchange

_log = logging.getLogger(__name__)
_AVOID_S = 1.0  # a replica that lost us a request gets no new one for so long while others are there
_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}


class Forwarding:
    """`service`: the one that was asked. `target`: whose replicas are tried, another one only as its fallback."""

    __slots__ = (
        "_alone", "_attempts", "_door", "_fallbacks", "_head", "_lost_from", "_sent", "admitted", "body",
        "client_until", "deadline", "ended", "exchange", "held_s", "holding_since", "hop_lines", "request_id",
        "revision", "sent_at", "service", "session", "since", "slot", "status", "target", "tenant", "tenant_name",
        "trip",
    )  # fmt: skip

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
        self.client_until = client_until  # the deadline that its client named
        self.revision = service.view.revision  # of the replica that has it, or had it last
        self.tenant: Tenant | None = None  # whose quota it counts against
        self.tenant_name = ""
        self.admitted = False  # known who asks, within its quota: before that no fallback answers either
        self.hop_lines = b""  # tenant and priority, for the replica
        self.session: bytes | None = None
        self.trip: CacheTrip | None = None
        self.slot = 0
        self.ended = False
        self.since = exchange.arrived  # from then on its target counts: it did not wait for others before
        self.held_s = 0.0
        self.holding_since: float | None = None
        self.sent_at = 0.0
        self.status, self.body = 0, b""  # of the answer that was sent
        self._sent = 0  # how many replicas have had it
        self._alone = False  # a replica died that had it: it shares no batch any more
        self._attempts: list[Attempt] = []
        self._lost_from: Upstream | None = None
        self._head: bytes | None = None
        self._fallbacks: Fallbacks | None = None

    def now(self) -> float:
        return self._door.now()

    # --- the way in -------------------------------------------------------------------------------------------------

    def dispatch(self, now: float) -> None:
        """To a replica; else to the fallback, or held. Refused where the best replica's queue is too long already."""
        if self._convicted(now):
            return
        target = self.target
        upstream = target.pick(now, other_than=self._lost_from, session=self.session)
        if upstream is None:
            self._stranded(now)
            return
        if not upstream.has_room():
            self.refuse(Shed("as many requests as its replicas can take are under way", retry_after_s=1))
            return
        target_s = target.view.target_s
        if target_s is not None and not target.tenants_share_it and not self._sent:
            aim = min(self.deadline, self.since + target_s)
            over_s = target.too_long_s(upstream, aim - now, now)
            if over_s:
                self.refuse(Shed("every replica's queue is longer than its budget", retry_after_s=over_s))
                return
        self._try(upstream, now)

    def start(self, now: float) -> bool:
        """Gives it to a replica; False where none is there to take it."""
        if self._convicted(now):
            return True
        upstream = self.target.pick(now, other_than=self._lost_from, session=self.session)
        if upstream is None:
            return False
        self._try(upstream, now)
        return True

    def restart(self, now: float) -> bool:
        """`start` after it was held, unless one that asks the same was let go just before: then it waits for that."""
        return (self.trip is not None and not self._sent and not self.trip.again()) or self.start(now)

    def _convicted(self, now: float) -> bool:
        """Refuses it where its body is known to end replicas: also found out meanwhile, by another with this body."""
        quarantine = self.target.quarantine
        if not quarantine or not quarantine.holds(self.digest(), now):
            return False
        reason = "requests with this body ended two replicas in a row; they are refused for a while"
        self.refuse(ReplicaLost(reason, retry_after_s=60))
        return True

    def second(self, attempt: Attempt, now: float) -> bool:
        """Sends it to another replica too, because `attempt` takes too long: the first answer wins. False where
        nobody else is there, or it was done before, or too much was sent again already."""
        if self.ended or len(self._attempts) != 1 or self.deadline <= now:
            return False
        upstream = self.target.other(attempt.upstream, now)
        if upstream is None or not self.target.retries.try_spend(now):
            return False
        self._try(upstream, now)
        return True

    def _try(self, upstream: Upstream, now: float) -> None:
        self.revision = upstream.endpoint.revision
        attempt = Attempt(self, upstream)
        self._attempts.append(attempt)
        attempt.begin(now)

    def hold_until(self) -> float:
        """How long it may wait for a replica: its client's deadline, else as long as the service lets it wait; what a
        replica has had already, until its deadline."""
        if self._sent:
            return self.deadline
        return self.exchange.arrived + self.service.view.hold_s if self.client_until is None else self.client_until

    def resume(self, now: float) -> None:
        """Held no longer. The service's timeout starts when there is somebody to answer; a client's own goes on."""
        assert self.holding_since is not None
        self.held_s += now - self.holding_since
        self.holding_since = None
        self.since = now
        if not self._sent:
            deadline = now + self.service.view.timeout_s
            self.deadline = deadline if self.client_until is None else min(deadline, self.client_until)

    def send(self, attempt: Attempt, connection: ClientConnection, now: float) -> None:
        self.sent_at = attempt.sent_at = now
        self._sent += 1
        exchange = self.exchange
        if self._head is None:
            path, asked, target = exchange.path, self.service, self.target
            if target is not asked:
                path = path_at(path, asked.view.name, target.view.name)
            self._head = request_head(exchange, self.request_id, self.hop_lines, self.tenant is not None, path)
        alone = b"plimsoll-alone: 1\r\n" if self._alone else b""
        head = self._head + encode_time_left(self.deadline - now) + alone + b"\r\n"
        attempt.upstream.sent(attempt, self.deadline, now)
        connection.send(head, exchange.body, attempt, head_only=exchange.method == "HEAD")
        hedging = self.target.hedging
        if hedging is not None and self._sent == 1:
            hedging.sent(now)
            delay_s = hedging.delay_s(now)
            if delay_s is not None:
                self._door.hedge_later(self, attempt, delay_s)

    def hedge(self, attempt: Attempt) -> bool:
        """`attempt` takes longer than usual: a copy to another replica, where one is free. Whether it was sent."""
        hedging = self.target.hedging
        if hedging is None or self.ended or self._attempts != [attempt]:
            return False
        now, target_s = self._door.now(), self.target.view.target_s
        other = self.target.other(attempt.upstream, now)
        if other is None:
            return False
        until = self.deadline if target_s is None else min(self.deadline, self.since + target_s)
        if not hedging.allowed(other.load, until - now, now):
            return False
        self._try(other, now)
        return True

    # --- the way out: Attempt's calls -------------------------------------------------------------------------------

    def answered(self, attempt: Attempt, status: int, headers: Headers, body: bytes, now: float) -> None:
        lines, said, timing, load = read_answer(headers)
        outcome = (_OUTCOMES.get(said) if said is not None else None) or outcome_of(status)
        if outcome is Outcome.REPLICA_LOST:
            # Its model process died, or it is about to end: the same as if the connection had broken.
            self.lost(attempt, "the replica lost its model")
            return
        self._attempts.remove(attempt)
        upstream, target = attempt.upstream, self.target
        upstream.answered(load, outcome, now - attempt.sent_at, now)
        if upstream.watched:
            target.responded(upstream, outcome, now - attempt.sent_at, now)
        if self.exchange.method == "HEAD":
            body = as_long_as_said(headers)
        answer = Answer(status, lines, body, outcome, timing, upstream.revision_line)
        # What a fallback refuses is not what the client got wrong: it asked for something else.
        if outcome in DEGRADES or (outcome is not Outcome.OK and target is not self.service):
            if not self._attempts:  # else another replica has it, too, and may do better
                self._fail(answer)
        else:
            self.answer(answer)

    def lost(self, attempt: Attempt, reason: str) -> None:
        self._attempts.remove(attempt)
        door, target, upstream = self._door, self.target, attempt.upstream
        now = door.now()
        if upstream.avoid_until <= now:  # the first in a while: one line, however many requests it had
            _log.warning("replica lost: %s", reason, extra=_about(target, upstream))
        upstream.avoid_until = now + _AVOID_S
        if upstream.watched:
            target.responded(upstream, Outcome.REPLICA_LOST, now - attempt.sent_at, now)
        if self._attempts:
            self._alone = True
            return
        decision = after_loss(
            attempt=self._sent,
            started_computing=attempt.computing,
            time_left_s=self.deadline - now,
            budget_ok=target.retries.try_spend(now),
            retry_allowed=target.view.retry,
            other_replicas=True,  # where no other is ready, it is held until one is
        )
        if isinstance(decision, GiveUp):
            if decision.quarantine:
                digest = self.digest()
                target.quarantine.add(digest, now)
                _log.warning("body quarantined", extra=_about(target, upstream) | {"digest": digest.hex()})
                reason += "; so did the one before it, and requests with this body are refused for a while"
            if decision.outcome is Outcome.EXPIRED:
                self.refuse(Expired(f"{reason}, and no time was left to try another"))
            else:
                self.refuse(ReplicaLost(reason, retry_after_s=1))
            return
        self._alone = decision.alone
        self._lost_from = upstream
        door.retried(target)
        if not self.start(now):
            self._stranded(now)

    def unreachable(self, attempt: Attempt, reason: str) -> None:
        """No connection: nothing was sent, so nothing was computed. Costs the service no retry."""
        self._attempts.remove(attempt)
        if self._attempts:
            return
        door = self._door
        self._lost_from = attempt.upstream
        now = door.now()
        if now >= self.deadline:
            self.refuse(Expired(f"{reason}, and no time was left to try another"))
        elif self.start(now):
            door.retried(self.target)
        else:
            self._stranded(now)

    # --- instead of the answer --------------------------------------------------------------------------------------

    def stale(self, now: float) -> Hit | None:
        return None if self.trip is None else self.trip.stale_at(now)

    def service_named(self, name: str) -> Service | None:
        return self._door.service_named(name)

    def _stranded(self, now: float) -> None:
        """No replica is there to take it: its fallback does, else it is held until one can."""
        nobody = NoReplica("no replica is ready", retry_after_s=1)
        if self.target is not self.service:
            self._fail(nobody)
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

    def turn_to(self, target: Service, upstream: Upstream, now: float, until: float) -> None:
        """To a fallback service's replica, which may take until then."""
        self._drop_attempts(now)
        self.target = target
        self._head, self._lost_from, self._sent, self._alone = None, None, 0, False
        if self.holding_since is not None:
            self.service.held.cancel(self)
            self.holding_since = None
        if self.trip is not None and self._fallbacks is not None:  # who waits for it must not wait for the other one
            self.trip.ended(self._fallbacks.failure.outcome)
        self._door.watch(self, until)
        self._try(upstream, now)

    def _fail(self, failure: Failure) -> None:
        if self._degrade(failure):
            return
        first = failure if self._fallbacks is None else self._fallbacks.failure
        if isinstance(first, Answer):
            self.answer(first)
        else:
            self._refuse(first)

    # --- ends -------------------------------------------------------------------------------------------------------

    def digest(self) -> bytes:
        return blake2b(self.exchange.body, digest_size=16).digest()

    def expire(self) -> None:
        """Its deadline, or the time it may be held, has passed."""
        if self.holding_since is not None:
            self.refuse(NoReplica("no replica became ready in time", retry_after_s=1))
            return
        now = self._door.now()
        if now < self.deadline and self.target is self.service:  # it is time for the fallback
            if not self._degrade(Expired("the replica did not answer in time for a fallback")):
                self._fallbacks = None  # they have nothing to give, and the answer may still come
                self._door.watch(self, self.deadline + self.service.patience_for(()))
            return
        if now >= self.deadline:  # it was told the deadline, and had a grace: silent, or stopped
            for attempt in self._attempts:
                attempt.upstream.avoid_until = now + _AVOID_S
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
            self._fail(error)
            return
        self._refuse(error)

    def _refuse(self, error: RequestError) -> None:
        self.status = self._door.answer_error(self.exchange, error, self.request_id, self.revision)
        self._end(error.outcome)

    def answer_cached(self, lines: bytes, body: bytes, age_s: float, revision: str) -> None:
        self.revision = revision
        self.answer(Answer(200, b"%bage: %d\r\n" % (lines, age_s), body, Outcome.CACHED, b"", revision_line(revision)))

    def answer(self, answer: Answer) -> None:
        outcome, held_s = answer.outcome, self.held_s
        if outcome is Outcome.OK and self.target is not self.service:
            outcome = Outcome.DEGRADED
            answer.lines += DEGRADED_BY % f"Service/{self.target.view.name}".encode()
        until = self.sent_at or self._door.now()
        where = gateway_timing(until - self.exchange.arrived - held_s, answer.timing, held_s)
        self.exchange.respond(
            answer.status,
            b"%b%bserver-timing: %b\r\nplimsoll-outcome: %b\r\nx-request-id: %b\r\n"
            % (answer.lines, answer.revision_line, where, outcome.encode(), self.request_id),
            answer.body,
        )
        self.status, self.body = answer.status, answer.body
        trip = self.trip
        if trip is not None and outcome is not Outcome.CACHED:
            trip.answered(answer, outcome)
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.ended = True
        if self._attempts:
            self._drop_attempts(self._door.now())
        self._door.ended(self, outcome)
        trip, self.trip, self._fallbacks = self.trip, None, None  # they name us: no rings are left to the collector
        if trip is not None:
            trip.ended(outcome)

    def _drop_attempts(self, now: float) -> None:
        for attempt in self._attempts:
            attempt.drop(now)
        self._attempts.clear()


def _about(service: Service, upstream: Upstream) -> dict[str, str]:
    return {"service": service.view.name, "replica": upstream.endpoint.replica}
