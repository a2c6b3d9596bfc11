"""One request's way through the gateway: hold → connection → replica → answer, and again where a replica was lost.

It ends exactly once, through `_end`. What to do after a loss is `policy.routing.after_loss`; how long to hold, the
service's view; this file carries that out. A replica that could not be reached is no loss: nothing was sent, so the
request goes elsewhere, or is held, without a word about it.
"""

import logging
from hashlib import blake2b
from typing import Protocol

from plimsoll.core.errors import Expired, NoReplica, ReplicaLost, RequestError
from plimsoll.core.outcome import Outcome
from plimsoll.gateway.heads import Headers, read_answer, request_lines
from plimsoll.gateway.service import Service
from plimsoll.gateway.upstream import Upstream
from plimsoll.policy.routing import GiveUp, after_loss
from plimsoll.telemetry.server_timing import gateway_timing
from plimsoll.wire.deadline import encode_time_left
from plimsoll.wire.http1 import ClientConnection, Exchange

_log = logging.getLogger(__name__)
_AVOID_S = 1.0  # a replica that lost us a request gets no new one for so long while others are there
_LARGEST_SAID = 256 * 2**20  # the longest body that a HEAD's answer may speak of
_OUTCOMES = {outcome.value.encode(): outcome for outcome in Outcome}


class Host(Protocol):
    """What a request needs of the door."""

    def now(self) -> float: ...

    def hold(self, forwarding: "Forwarding", now: float) -> None: ...

    def retried(self, service: Service) -> None: ...

    def answer_error(self, exchange: Exchange, error: RequestError, request_id: bytes, revision: str) -> None: ...

    def ended(self, forwarding: "Forwarding", outcome: Outcome) -> None: ...


class Forwarding:
    __slots__ = (
        "_alone", "_computing", "_connection", "_door", "_head", "_lost_from", "_sent", "_sent_at", "_upstream",
        "client_until", "deadline", "ended", "exchange", "held_s", "holding_since", "request_id", "revision", "service",
        "slot",
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
        self.service = service
        self.request_id = request_id
        self.deadline = deadline
        self.client_until = client_until  # the deadline that its client named
        self.revision = service.view.revision  # of the replica that has it, or had it last
        self.slot = 0
        self.ended = False
        self.held_s = 0.0
        self.holding_since: float | None = None
        self._sent = 0  # how many replicas have had it
        self._alone = False  # a replica died that had it: it shares no batch any more
        self._computing = False
        self._connection: ClientConnection | None = None
        self._upstream: Upstream | None = None
        self._lost_from: Upstream | None = None
        self._head: bytes | None = None
        self._sent_at = 0.0

    # --- the way in -------------------------------------------------------------------------------------------------

    def start(self, now: float) -> bool:
        """Gives it to a replica; False where none is there to take it."""
        upstream = self.service.pick(now, other_than=self._lost_from)
        if upstream is None:
            return False
        self._computing = False
        self._upstream = upstream
        self.revision = upstream.endpoint.revision
        upstream.outstanding += 1
        upstream.acquire(self)
        return True

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
        if not self._sent:
            deadline = now + self.service.view.timeout_s
            self.deadline = deadline if self.client_until is None else min(deadline, self.client_until)

    def on_connection(self, connection: ClientConnection) -> None:
        self._connection = connection
        now = self._door.now()
        self._sent_at = now
        self._sent += 1
        exchange = self.exchange
        if self._head is None:
            self._head = self._build_head()
        alone = b"plimsoll-alone: 1\r\n" if self._alone else b""
        head = self._head + encode_time_left(self.deadline - now) + alone + b"\r\n"
        connection.send(head, exchange.body, self, head_only=exchange.method == "HEAD")

    def _build_head(self) -> bytes:
        exchange = self.exchange
        target = f"{exchange.path}?{exchange.query}" if exchange.query else exchange.path
        return b"%b %b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b" % (
            exchange.method.encode(),
            target.encode("latin-1"),
            exchange.header(b"host") or b"-",
            len(exchange.body),
            self.request_id,
            request_lines(exchange.headers),
        )

    # --- the way out ------------------------------------------------------------------------------------------------

    def on_interim(self, status: int) -> None:
        if status == 102:
            self._computing = True

    def on_response(self, status: int, headers: Headers, body: bytes) -> None:
        upstream, connection = self._upstream, self._connection
        assert upstream is not None
        assert connection is not None
        upstream.outstanding -= 1
        self._connection = self._upstream = None
        upstream.release(connection)
        lines, said, timing = read_answer(headers)
        outcome = _OUTCOMES.get(said) if said is not None else None
        if outcome is Outcome.REPLICA_LOST:
            # Its model process died, or it is about to end: the same as if the connection had broken.
            self._lost(upstream, "the replica lost its model")
            return
        if self.exchange.method == "HEAD":
            body = _as_long_as_said(headers)
        self._answer(status, lines + upstream.revision_line, body, outcome or _outcome_of(status), timing)

    def on_lost(self, reason: str, started: bool) -> None:
        upstream, connection = self._upstream, self._connection
        if upstream is None or connection is None:
            return  # we closed it ourselves: the request has ended
        upstream.outstanding -= 1
        self._connection = self._upstream = None
        upstream.release(connection)
        self._lost(upstream, reason)

    def on_unreachable(self, reason: str) -> None:
        """No connection: nothing was sent, so nothing was computed. Costs the service no retry."""
        upstream, door = self._upstream, self._door
        assert upstream is not None
        upstream.outstanding -= 1
        self._upstream = None
        self._lost_from = upstream
        now = door.now()
        if now >= self.deadline:
            self.refuse(Expired(f"{reason}, and no time was left to try another"))
        elif self.start(now):
            door.retried(self.service)
        else:
            door.hold(self, now)

    # --- losses and ends --------------------------------------------------------------------------------------------

    def _lost(self, upstream: Upstream, reason: str) -> None:
        door, service = self._door, self.service
        now = door.now()
        if upstream.avoid_until <= now:  # the first in a while: one line, however many requests it had
            _log.warning("replica lost: %s", reason, extra=_about(service, upstream))
        upstream.avoid_until = now + _AVOID_S
        decision = after_loss(
            attempt=self._sent,
            started_computing=self._computing,
            time_left_s=self.deadline - now,
            budget_ok=service.retries.try_spend(now),
            retry_allowed=service.view.retry,
            other_replicas=True,  # where no other is ready, it is held until one is
        )
        if isinstance(decision, GiveUp):
            if decision.quarantine:
                digest = self.digest()
                service.quarantine.add(digest, now)
                _log.warning("body quarantined", extra=_about(service, upstream) | {"digest": digest.hex()})
                reason += "; so did the one before it, and requests with this body are refused for a while"
            if decision.outcome is Outcome.EXPIRED:
                self.refuse(Expired(f"{reason}, and no time was left to try another"))
            else:
                self.refuse(ReplicaLost(reason, retry_after_s=1))
            return
        self._alone = decision.alone
        self._lost_from = upstream
        door.retried(service)
        if not self.start(now):
            door.hold(self, now)

    def digest(self) -> bytes:
        return blake2b(self.exchange.body, digest_size=16).digest()

    def expire(self) -> None:
        """Its deadline, or the time it may be held, has passed."""
        if self.holding_since is not None:
            self.refuse(NoReplica("no replica became ready in time", retry_after_s=1))
            return
        if self._upstream is not None:  # it was told the deadline, and had a grace: silent, or stopped
            self._upstream.avoid_until = self._door.now() + _AVOID_S
        self.refuse(Expired("the replica did not answer before the deadline"))

    def cancel(self) -> None:
        """The client left."""
        if not self.ended:
            self._end(Outcome.CANCELLED)

    def refuse(self, error: RequestError) -> None:
        if self.ended:
            return
        exchange = self.exchange
        self._door.answer_error(exchange, error, self.request_id, self.revision)
        self._end(error.outcome)

    def _answer(self, status: int, lines: bytes, body: bytes, outcome: Outcome, timing: bytes) -> None:
        held_s = self.held_s
        where = gateway_timing(self._sent_at - self.exchange.arrived - held_s, timing, held_s)
        self.exchange.respond(
            status,
            b"%bserver-timing: %b\r\nplimsoll-outcome: %b\r\nx-request-id: %b\r\n"
            % (lines, where, outcome.encode(), self.request_id),
            body,
        )
        self._end(outcome)

    def _end(self, outcome: Outcome) -> None:
        self.ended = True
        upstream, connection = self._upstream, self._connection
        self._connection = self._upstream = None
        if upstream is not None:  # a replica still has it, or it waits for a connection
            upstream.outstanding -= 1
            if connection is not None:
                upstream.discard(connection)
            else:
                upstream.give_up(self)
        self._door.ended(self, outcome)


def _about(service: Service, upstream: Upstream) -> dict[str, str]:
    return {"service": service.view.name, "replica": upstream.endpoint.replica}


def _outcome_of(status: int) -> Outcome:
    """For an upstream that doesn't say: any other server behind us."""
    if status < 400:
        return Outcome.OK
    return {401: Outcome.UNAUTHORIZED, 403: Outcome.UNAUTHORIZED, 404: Outcome.NOT_FOUND, 413: Outcome.TOO_LARGE,
            429: Outcome.THROTTLED, 503: Outcome.SHED, 504: Outcome.EXPIRED}.get(
        status, Outcome.INVALID if status < 500 else Outcome.MODEL_ERROR
    )  # fmt: skip


def _as_long_as_said(headers: Headers) -> bytes:
    """For the answer to HEAD: it has no body, and the length that it tells is the one that GET's would have."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) <= _LARGEST_SAID:
            return bytes(int(value))  # the kernel's zero pages, never touched
    return b""
