"""The gateway's `Application`: a short list of steps for each request, and the clockwork around them.

Steps of `on_request`: find the service → read deadline and id → refuse what is quarantined → give it to a replica, or
hold it. `Forwarding` carries a request from there to its one ending.
"""

import asyncio
from random import Random
from time import monotonic

from plimsoll import __version__
from plimsoll.core.errors import Invalid, ModelFailed, NoReplica, NotFound, ReplicaLost, RequestError, Shed
from plimsoll.core.ids import new_request_id, request_id_from
from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import ServiceReport, Snapshot
from plimsoll.gateway.deadlines import DeadlineWheel
from plimsoll.gateway.forwarding import Forwarding
from plimsoll.gateway.record import Record, ServiceRecord
from plimsoll.gateway.service import Service
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.table import RoutingTable
from plimsoll.telemetry.metrics import wants_openmetrics
from plimsoll.wire import deadline as wire_deadline
from plimsoll.wire import oip
from plimsoll.wire.http1 import Exchange
from plimsoll.wire.status import refusal

_DEADLINES = frozenset(wire_deadline.HEADERS)
TICK_S = 0.02


class Door:
    def __init__(self, settings: GatewaySettings, record: Record, random: Random | None = None) -> None:
        self._settings = settings
        self._record = record
        self._random = random or Random()
        self._getrandbits = self._random.getrandbits
        self._loop = asyncio.get_running_loop()
        self.now = monotonic  # uvloop's own clock moves in steps of a millisecond
        self._table = RoutingTable(Snapshot(0))
        self._services: dict[str, Service] = {}
        self._records: dict[str, ServiceRecord] = {}
        self._wheel: DeadlineWheel[Forwarding] = DeadlineWheel()
        self._due = self.now() + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)
        self.in_flight = 0

    @property
    def services(self) -> dict[str, Service]:
        return self._services

    def take(self, snapshot: Snapshot) -> None:
        """A new snapshot takes effect. Requests under way are unharmed; what was held is tried at once."""
        self._table = RoutingTable(snapshot)
        known, self._services = self._services, {}
        for view in snapshot.services:
            service = known.pop(view.name, None)
            if service is None:
                service = Service(view, self._settings, self._random)
            else:
                service.update(view)
            self._services[view.name] = service
            self._records[view.name] = self._record.of(service, self._records.get(view.name))
            self._release(service)
        for name, service in known.items():
            service.retire()
            del self._records[name]
            self._record.forget(name)
            for forwarding in service.held.release(self.now()):
                forwarding.refuse(NotFound(f"{service.view.name} was deleted"))

    def reports(self) -> tuple[ServiceReport, ...]:
        now = self.now()
        return tuple(self._records[name].report(service, now) for name, service in self._services.items())

    def close(self) -> None:
        self._timer.cancel()
        for service in self._services.values():
            service.retire()

    # --- wire.http1.Application -------------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> None:
        try:
            view = self._table.find(exchange.path, exchange.header(b"host"))
            if view is None:
                self._page(exchange)
            else:
                self._forward(exchange, self._services[view.name])
        except RequestError as error:
            self._refuse_at_door(exchange, error)
        except Exception as error:  # a bug of ours must cost one request, not the connection or the gateway
            self._refuse_at_door(exchange, ModelFailed(f"internal error: {type(error).__name__}: {error}"))
            self._loop.call_exception_handler({"message": "request failed", "exception": error})

    def on_gone(self, exchange: Exchange) -> None:
        if isinstance(exchange.context, Forwarding):
            exchange.context.cancel()

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        self._record.refused_at_door(error.outcome, self.now() - arrived)
        status, headers, body = refusal(error)
        return status, headers + _door_lines(error.outcome, new_request_id(self._getrandbits).encode()), body

    # --- steps ------------------------------------------------------------------------------------------------------

    def _forward(self, exchange: Exchange, service: Service) -> None:
        left_s: float | None = None
        request_id: str | None = None
        for name, value in exchange.headers:
            if name == b"x-request-id":
                request_id = request_id_from(value)
            elif name in _DEADLINES and (left_s is None or name == wire_deadline.DEADLINE):
                left_s = wire_deadline.time_left(name, value)
        now = self.now()
        view = service.view
        timeout_s = view.timeout_s if left_s is None or left_s > view.timeout_s else left_s
        deadline = exchange.arrived + timeout_s
        forwarding = Forwarding(
            self, exchange, service, (request_id or new_request_id(self._getrandbits)).encode(), deadline
        )
        forwarding.fresh = left_s is None
        exchange.context = forwarding
        self.in_flight += 1
        service.in_flight += 1
        service.retries.record_request(now)
        if service.quarantine and service.quarantine.holds(forwarding.digest(), now):
            reason = "requests with this body ended two replicas in a row; they are refused for a while"
            forwarding.refuse(ReplicaLost(reason, retry_after_s=60))
            return
        forwarding.slot = self._wheel.add(forwarding, deadline + self._settings.grace_s)
        if not forwarding.start(now):
            # Its own deadline where the client named one, else as long as the service lets a request wait.
            until = exchange.arrived + (view.hold_s if left_s is None else left_s)
            self._hold(forwarding, now, until)

    def _hold(self, forwarding: Forwarding, now: float, until: float) -> None:
        service = forwarding.service
        if service.view.failed is not None:
            forwarding.refuse(NoReplica(service.view.failed, retry_after_s=5))
        elif not service.held.push(forwarding, len(forwarding.exchange.body), until, now):
            forwarding.refuse(Shed("too many requests wait for a first replica", retry_after_s=1))
        else:
            forwarding.holding_since = now
            self._wheel.remove(forwarding, forwarding.slot)

    def hold(self, forwarding: Forwarding, now: float) -> None:
        """After a loss, when no replica is left: until its deadline."""
        self._hold(forwarding, now, forwarding.deadline)

    def _release(self, service: Service) -> None:
        """Gives what is held to replicas that became ready; refuses it where none will come."""
        held = service.held
        if not len(held) or not (service.ready or service.view.failed is not None):
            return
        now = self.now()
        for forwarding in held.release(now):
            if service.view.failed is not None and not service.ready:
                forwarding.holding_since = None
                forwarding.refuse(NoReplica(service.view.failed, retry_after_s=5))
                continue
            assert forwarding.holding_since is not None
            waited = now - forwarding.holding_since
            forwarding.held_s += waited
            forwarding.holding_since = None
            if forwarding.fresh:
                # The service's timeout starts when there is somebody to answer; a client's own deadline went on.
                forwarding.deadline = now + service.view.timeout_s
            forwarding.slot = self._wheel.add(forwarding, forwarding.deadline + self._settings.grace_s)
            if not forwarding.start(now):
                self.hold(forwarding, now)

    def _page(self, exchange: Exchange) -> None:
        path = exchange.path
        if path == "/metrics" and self._settings.metrics_on_door:
            _only_get(exchange)
            content_type, body = self._record.render(wants_openmetrics(exchange.header(b"accept")))
            exchange.respond(200, b"content-type: %b\r\n" % content_type.encode(), body)
            return
        page = _PAGES.get(path)
        if page is None:
            raise NotFound(f"no service answers {path[:200]}")
        _only_get(exchange)
        exchange.respond(200, b"content-type: application/json\r\n" + _DOOR_TIMING, page)

    def _refuse_at_door(self, exchange: Exchange, error: RequestError) -> None:
        """Before it became a Forwarding, or in one that a bug of ours broke."""
        if isinstance(exchange.context, Forwarding):
            exchange.context.refuse(error)
            return
        request_id = request_id_from(exchange.header(b"x-request-id")) or new_request_id(self._getrandbits)
        self.answer_error(exchange, error, request_id.encode(), None)
        self._record.refused_at_door(error.outcome, self.now() - exchange.arrived)

    # --- forwarding.Host --------------------------------------------------------------------------------------------

    def answer_error(self, exchange: Exchange, error: RequestError, request_id: bytes, service: Service | None) -> None:
        status, headers, body = refusal(error)
        if status == 405:
            headers += b"allow: GET, HEAD\r\n"
        if service is not None:
            headers += b"plimsoll-revision: %b\r\n" % service.view.revision.encode()
        exchange.respond(status, headers + _door_lines(error.outcome, request_id), body)

    def retried(self, service: Service) -> None:
        self._records[service.view.name].retried()

    def ended(self, forwarding: Forwarding, outcome: Outcome) -> None:
        self.in_flight -= 1
        service = forwarding.service
        service.in_flight -= 1
        if forwarding.holding_since is not None:
            service.held.cancel(forwarding)
        self._wheel.remove(forwarding, forwarding.slot)
        now = self.now()
        record = self._records.get(service.view.name)
        if record is not None:
            record.ended(outcome, now - forwarding.exchange.arrived, now)

    # --- clockwork --------------------------------------------------------------------------------------------------

    def _tick(self) -> None:
        now = self.now()
        self._record.lag(now - self._due)
        self._due = now + TICK_S
        self._timer = self._loop.call_at(self._due, self._tick)
        for forwarding in self._wheel.overdue(now):
            if not forwarding.ended:
                forwarding.expire()
        for service in self._services.values():
            for forwarding in service.held.expire(now):
                forwarding.expire()


_PAGES = {
    "/v2": oip.server_metadata(__version__),
    "/v2/health/live": oip.live_body(),
    "/v2/health/ready": oip.server_ready_body(True),
}
_DOOR_TIMING = b"server-timing: gateway;dur=0.0\r\n"


def _door_lines(outcome: Outcome, request_id: bytes) -> bytes:
    return b"%bplimsoll-outcome: %b\r\nx-request-id: %b\r\n" % (_DOOR_TIMING, outcome.encode(), request_id)


def _only_get(exchange: Exchange) -> None:
    if exchange.method not in {"GET", "HEAD"}:
        raise Invalid(f"{exchange.path} wants GET, not {exchange.method}", status=405)
