"""A request's tries at the replicas of one service: sending, second copies, answers, losses, another try.

The decisions are policies' (`Fleet` for where to go, `after_loss` after a loss, `Hedging` for copies); this file
carries them out. A replica that could not be reached is no loss: nothing was sent, so the request goes elsewhere, or is
held, without a word about it.
"""

import logging
from abc import ABC, abstractmethod
from hashlib import blake2b

from plimsoll.core.errors import Expired, ReplicaLost, RequestError
from plimsoll.core.outcome import Outcome
from plimsoll.gateway.answer import Answer, as_long_as_said, outcome_of
from plimsoll.gateway.attempt import Attempt
from plimsoll.gateway.fallbacks import Failure
from plimsoll.gateway.heads import Headers, path_at, read_answer, request_head
from plimsoll.gateway.host import Host
from plimsoll.gateway.service import Service
from plimsoll.gateway.tenants import Tenant
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.degradation import DEGRADES
from plimsoll.policy.routing import GiveUp, after_loss
from plimsoll.wire.deadline import encode_time_left
from plimsoll.wire.http1 import ClientConnection, Exchange

_log = logging.getLogger(__name__)
_OK = Outcome.OK  # looking it up in its class costs 55 ns
_OUTCOMES: dict[bytes | None, Outcome] = {outcome.value.encode(): outcome for outcome in Outcome}


class Tries(ABC):
    """The part of `Forwarding` that deals with replicas; the rest of it is what they lead to. `service`: the one that
    was asked. `target`: whose replicas are tried, another one only as its fallback."""

    __slots__ = (
        "_alone", "_attempts", "_door", "_failed", "_head", "_lost_from", "_sent", "body", "deadline", "ended",
        "exchange", "hop_lines", "request_id", "revision", "sent_at", "service", "session", "since", "target",
        "tenant",
    )  # fmt: skip

    # `Forwarding` fills these in, in one go: a call for a part of them would cost 0.2 us a request.
    _door: Host
    exchange: Exchange
    service: Service
    target: Service
    request_id: bytes
    deadline: float
    revision: str  # of the replica that has it, or had it last
    tenant: Tenant | None  # whose quota it counts against
    hop_lines: bytes  # tenant and priority, for the replica
    session: bytes | None
    since: float  # from then on its target counts: it did not wait for others before
    ended: bool
    sent_at: float
    body: bytes  # of the replica's answer that was passed on
    _sent: int  # how many replicas have had it
    _alone: bool  # a replica died that had it: it shares no batch any more
    _attempts: list[Attempt]
    _lost_from: Upstream | None
    _failed: Answer | None  # of a copy, while another was out
    _head: bytes | None

    # --- what they lead to: Forwarding's ----------------------------------------------------------------------------

    @abstractmethod
    def answer(self, answer: Answer) -> None: ...

    @abstractmethod
    def fail(self, failure: Failure) -> None:
        """No replica of the target will give an answer."""

    @abstractmethod
    def refuse(self, error: RequestError) -> None: ...

    @abstractmethod
    def stranded(self, now: float) -> None:
        """None of them can be reached."""

    # --- the way in -------------------------------------------------------------------------------------------------

    def start(self, now: float) -> bool:
        """Gives it to a replica; False where none is there to take it."""
        if self.target.quarantine.known and self.convicted(now):
            return True
        upstream = self.target.fleet.pick(now, other_than=self._lost_from, session=self.session)
        if upstream is None:
            return False
        self.try_at(upstream, now)
        return True

    def convicted(self, now: float) -> bool:
        """Refuses it where its body is known to end replicas: also found out meanwhile, by another with this body."""
        if not self.target.quarantine.holds(self.digest(), now):
            return False
        reason = "requests with this body ended two replicas in a row; they are refused for a while"
        self.refuse(ReplicaLost(reason, retry_after_s=60))
        return True

    def digest(self) -> bytes:
        return blake2b(self.exchange.body, digest_size=16).digest()

    def try_at(self, upstream: Upstream, now: float) -> None:
        self.revision = upstream.revision
        attempt = Attempt(self, upstream)
        self._attempts.append(attempt)
        attempt.begin(now)

    def send(self, attempt: Attempt, connection: ClientConnection, now: float) -> None:
        self.sent_at = attempt.sent_at = now
        self._sent += 1
        exchange, head = self.exchange, self._head
        if head is None:
            path, asked, target = exchange.path, self.service, self.target
            if target is not asked:
                path = path_at(path, asked.name, target.name)
            head = request_head(exchange, self.request_id, self.hop_lines, self.tenant is not None, path)
            self._head = head
        alone = b"plimsoll-alone: 1\r\n\r\n" if self._alone else b"\r\n"
        deadline, upstream = self.deadline, attempt.upstream
        if upstream.watched:
            upstream.overdue.sent(attempt, attempt.expected_s, now, deadline)
        head_only = exchange.method == "HEAD"
        connection.send(head + encode_time_left(deadline - now) + alone, exchange.body, attempt, head_only=head_only)
        hedging = self.target.hedging
        if hedging is not None and self._sent == 1:
            hedging.sent(now)
            delay_s = hedging.delay_s(now)
            if delay_s is not None:
                self._door.hedge_later(self, attempt, delay_s)

    # --- second copies ----------------------------------------------------------------------------------------------

    def second(self, attempt: Attempt, now: float) -> bool:
        """Sends it to another replica too, because `attempt` takes too long: the first answer wins. False where
        nobody else is there, or it was done before, or too much was sent again already."""
        if not self._only(attempt) or self.deadline <= now:
            return False
        upstream = self.target.fleet.other(attempt.upstream, now)
        if upstream is None or not self.target.retries.try_spend(now):
            return False
        self.try_at(upstream, now)
        return True

    def hedge(self, attempt: Attempt) -> bool:
        """`attempt` takes longer than usual: a copy to another replica, where one is free. Whether it was sent."""
        hedging = self.target.hedging
        if hedging is None or not self._only(attempt):
            return False
        now, target_s = self._door.now(), self.target.view.target_s
        other = self.target.fleet.other(attempt.upstream, now)
        if other is None:
            return False
        until = self.deadline if target_s is None else min(self.deadline, self.since + target_s)
        if not hedging.allowed(other.load, until - now, now):
            return False
        self.try_at(other, now)
        return True

    def _only(self, attempt: Attempt) -> bool:
        return not self.ended and self._failed is None and self._attempts == [attempt]

    # --- the way out: Attempt's calls -------------------------------------------------------------------------------

    def answered(self, attempt: Attempt, status: int, headers: Headers, body: bytes, now: float) -> None:
        lines, said, timing, load = read_answer(headers)
        outcome = _OUTCOMES.get(said) or outcome_of(status)
        if outcome is Outcome.REPLICA_LOST:
            # Its model process died, or it is about to end: the same as if the connection had broken.
            self.lost(attempt, "the replica lost its model")
            return
        self._attempts.remove(attempt)
        upstream, target, seconds = attempt.upstream, self.target, now - attempt.sent_at
        upstream.answered(load, outcome, seconds, now)
        if upstream.watched:
            target.responded(upstream, outcome, seconds, now)
        if self.exchange.method == "HEAD":
            body = as_long_as_said(headers)
        answer = Answer(status, lines, body, outcome, timing, upstream.revision_line)
        # What a fallback refuses is not what the client got wrong: it asked for something else.
        if outcome is _OK or (outcome not in DEGRADES and target is self.service):
            self.body = body
            self.answer(answer)
        elif self._attempts:  # another replica has it, too, and may do better
            self._failed = answer
        else:
            self.fail(answer)

    def lost(self, attempt: Attempt, reason: str) -> None:
        self._attempts.remove(attempt)
        target, upstream, failed = self.target, attempt.upstream, self._failed
        now = self._door.now()
        if upstream.reach.lost(now):  # one line, however many requests it had
            _log.warning("replica lost: %s", reason, extra=_about(target, upstream))
        if upstream.watched:
            target.responded(upstream, Outcome.REPLICA_LOST, now - attempt.sent_at, now)
        if self._attempts:
            self._alone = True
            return
        decision = after_loss(
            attempt=self._sent,
            started_computing=attempt.computing,
            time_left_s=self.deadline - now,
            budget_ok=failed is not None or target.retries.try_spend(now),
            retry_allowed=target.view.retry,
            other_replicas=True,  # where no other is ready, it is held until one is
            failed_elsewhere=failed is not None,
        )
        if isinstance(decision, GiveUp):
            self._given_up(decision, upstream, reason, now)
            return
        self._alone = decision.alone
        self._lost_from = upstream
        self._door.retried(target)
        if not self.start(now):
            self.stranded(now)

    def _given_up(self, decision: GiveUp, upstream: Upstream, reason: str, now: float) -> None:
        if decision.quarantine:
            digest = self.digest()
            self.target.quarantine.add(digest, now)
            _log.warning("body quarantined", extra=_about(self.target, upstream) | {"digest": digest.hex()})
            reason += "; so did the one before it, and requests with this body are refused for a while"
            self.refuse(ReplicaLost(reason, retry_after_s=1))
        elif self._failed is not None:
            self.fail(self._failed)
        elif decision.outcome is Outcome.EXPIRED:
            self.refuse(Expired(f"{reason}, and no time was left to try another"))
        else:
            self.refuse(ReplicaLost(reason, retry_after_s=1))

    def unreachable(self, attempt: Attempt, reason: str) -> None:
        """No connection: nothing was sent, so nothing was computed. Costs the service no retry."""
        self._attempts.remove(attempt)
        if self._attempts:
            return
        if self._failed is not None:
            self.fail(self._failed)
            return
        self._lost_from = attempt.upstream
        now = self._door.now()
        if now >= self.deadline:
            self.refuse(Expired(f"{reason}, and no time was left to try another"))
        elif self.start(now):
            self._door.retried(self.target)
        else:
            self.stranded(now)

    def drop_attempts(self, now: float) -> None:
        for attempt in self._attempts:
            attempt.drop(now)
        self._attempts.clear()


def _about(service: Service, upstream: Upstream) -> dict[str, str]:
    return {"service": service.name, "replica": upstream.name}
