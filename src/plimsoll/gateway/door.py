"""The gateway's `Application`: a short list of steps for each request, and what is counted at its end.

Steps of `on_request`: find the service → read deadline, id and priority → identify the tenant → its quota → refuse
what is late → the cache → a replica, or hold it. `Forwarding` carries a request from there to its one ending, and
`Clockwork` has what time brings.
"""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from random import Random
from time import monotonic, time

from plimsoll.core.errors import (
    Expired,
    ModelFailed,
    RequestError,
    Throttled,
)
from plimsoll.core.ids import new_request_id_bytes, request_id_from
from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import Endpoint, ServiceReport, ServiceView, Snapshot
from plimsoll.gateway.asked import read_head
from plimsoll.gateway.attempt import Attempt
from plimsoll.gateway.cache import CacheStores, ServiceCache
from plimsoll.gateway.caching import begin_trip
from plimsoll.gateway.clockwork import Clockwork
from plimsoll.gateway.forwarding import Forwarding
from plimsoll.gateway.pages import door_lines, page
from plimsoll.gateway.record import Record, ServiceRecord
from plimsoll.gateway.replica_tls import ReplicaTls
from plimsoll.gateway.service import Service
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.table import RoutingTable
from plimsoll.gateway.tenants import Directory, KeysPending
from plimsoll.gateway.tries import Tries
from plimsoll.gateway.usage import tokens_in
from plimsoll.telemetry.audit import AuditLog
from plimsoll.telemetry.metrics import Cell
from plimsoll.wire.http1 import Burst, Exchange
from plimsoll.wire.status import refusal

_MOST_PATHS, _LONGEST_PATH = 1024, 256  # remembered; full, the memory starts anew, so that no client can fill it

_SHORT_S = 1.0  # the controller hears at once of a request without a replica, and of more of them each second anyway


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
        self._found: dict[str, Service] = {}
        self._tenants_cells: dict[str, dict[Outcome, Cell]] = {}
        self._records: dict[str, ServiceRecord] = {}
        self.burst = Burst()  # one for both sides: what a turn sends to clients and replicas leaves together
        self._clockwork = Clockwork(self, record.lag)
        self._wheel = self._clockwork.wheel
        self.in_flight = 0
        self.ready = False  # a first snapshot is in effect
        self.draining = False
        self.replica_tls: ReplicaTls | None = None
        self._p99_s: dict[str, float | None] = {}
        self.wall = time
        self.tenants = Directory()
        self._stores: CacheStores | None = None
        self._gateways = 1
        self.audit: AuditLog | None = None
        self.on_short: Callable[[], None] = lambda: None  # sends the controller a report at once

    @property
    def services(self) -> dict[str, Service]:
        return self._services

    def take(self, snapshot: Snapshot) -> None:
        """A new snapshot takes effect. Requests under way are unharmed; what was held is tried at once."""
        for gone in self.tenants.take(snapshot):  # first: a snapshot that can't be taken changes nothing
            self._record.forget_tenant(gone)
        self._tenants_cells.clear()
        self._table = RoutingTable(snapshot)
        self._found.clear()
        self._gateways = snapshot.limits.gateways
        known, self._services = self._services, {}
        p99_s = self._p99_s = {view.name: view.target_s for view in snapshot.services}
        for view in snapshot.services:
            service = known.pop(view.name, None)
            if service is None:
                service = Service(view, self._settings, self._random, self.burst, p99_s, self.replica_tls)
            else:
                service.update(view, p99_s)
            service.fleet.shared = not self.tenants.empty
            service.plain = self.tenants.empty and view.anonymous is not False
            self._use_cache(service)
            self._services[view.name] = service
            self._records[view.name] = self._record.of(service, self._records.get(view.name))
        now = self.now()
        for name, service in known.items():
            service.retire()
            self._use_cache(service)
            del self._records[name]
            self._record.forget(name)
        self.ready = True
        # Only now that everything is in place: whoever is let go may be answered, and ask again, at once.
        self._clockwork.release_all(now)

    def take_replicas(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        """Where one service's replicas are now; nothing else changed. Does nothing for a service that isn't there."""
        service = self._services.get(name)
        if service is None or service.view.endpoints == endpoints:
            return
        service.update(replace(service.view, endpoints=endpoints), self._p99_s)
        self._records[name] = self._record.of(service, self._records.get(name))
        self._clockwork.release(service, self.now())

    def _use_cache(self, service: Service) -> None:
        """Opens, changes or closes a service's cache, as its view has it."""
        cache, view = service.cache, None if service.gone else service.view.cache
        if view is None:
            service.cache = None
            if cache is not None:
                cache.close()
        elif cache is not None:
            cache.update(view)
        else:
            self._stores = self._stores or CacheStores(gateways=self._gateways)
            service.cache = ServiceCache(service.view.name, view, self._stores, self._record.cache(service.view.name))

    def reports(self) -> tuple[ServiceReport, ...]:
        now = self.now()
        return tuple(self._records[name].report(service, now) for name, service in self._services.items())

    def notes(self) -> tuple[str, ...]:
        """What is amiss here, a sentence each."""
        return tuple(self.tenants.problems())

    async def close(self) -> None:
        """After its servers: nothing is in flight any more."""
        self._clockwork.close()
        self.tenants.close()
        if self._stores is not None:
            await self._stores.close()
        for service in self._services.values():
            service.retire()

    # --- wire.http1.Application -------------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> None:
        view = None
        try:
            service = self._found.get(exchange.path)
            if service is None:
                view = self._table.find(exchange.path, exchange.headers)
                if view is None:
                    self._page(exchange)
                    return
                service = self._services[view.name]
                self._remember(exchange.path, service)
            view = service.view
            self._forward(exchange, service)
        except RequestError as error:
            self._refuse_at_door(exchange, error, view)
        except Exception as error:  # a bug of ours must cost one request, not the connection or the gateway
            self._refuse_at_door(exchange, ModelFailed(f"internal error: {type(error).__name__}: {error}"), view)
            self._loop.call_exception_handler({"message": "request failed", "exception": error})

    def _remember(self, path: str, service: Service) -> None:
        """Where a path leads, as long as no host has a say in it and until the next snapshot: saves 0.5 us."""
        if not self._table.by_host and len(path) <= _LONGEST_PATH:
            if len(self._found) >= _MOST_PATHS:
                self._found.clear()
            self._found[path] = service

    def on_gone(self, exchange: Exchange) -> None:
        if isinstance(exchange.context, Forwarding):
            exchange.context.cancel()

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        self._record.refused_at_door(error.outcome, self.now() - arrived)
        status, headers, body = refusal(error)
        return status, headers + door_lines(error.outcome, self._new_id()), body

    # --- steps ------------------------------------------------------------------------------------------------------

    def _forward(self, exchange: Exchange, service: Service) -> None:
        now = self.now()
        request_id, left_s, priority = read_head(exchange.headers)
        arrived, timeout_s = exchange.arrived, service.timeout_s
        deadline = arrived + (timeout_s if left_s is None or left_s > timeout_s else left_s)
        forwarding = exchange.context = Forwarding(
            self,
            exchange,
            service,
            request_id or new_request_id_bytes(self._getrandbits),
            deadline,
            None if left_s is None else arrived + left_s,
        )
        self.in_flight += 1
        service.in_flight += 1
        service.since_s += arrived
        service.retries.record_request(now)
        if service.affinity is not None:
            forwarding.session = service.affinity.key(exchange.headers)
        forwarding.slot = self._wheel.add(forwarding, service.timing.until(arrived, deadline))
        if service.plain:
            if priority < 0:
                forwarding.hop_lines = b"plimsoll-priority: %d\r\n" % priority
            self._admitted(forwarding, now)
        else:
            self._identify(forwarding, priority, now)

    def _identify(self, forwarding: Forwarding, priority: int, now: float) -> None:
        """Who asks, and whether its quota has room. Waits where a token's key has to be fetched first."""
        exchange, service = forwarding.exchange, forwarding.service
        try:
            tenant = self.tenants.identify(exchange.headers, exchange.peer_subjects(), self.wall())
            forwarding.tenant_name = "" if tenant is None else tenant.name
            self.tenants.permit(tenant, service.view)
        except KeysPending as pending:
            pending.future.add_done_callback(partial(self._identify_again, forwarding, priority))
            return
        except RequestError as error:
            forwarding.refuse(error)
            return
        most = 0
        if tenant is not None:
            refused = tenant.quota.admit(now)
            if refused is not None:
                forwarding.refuse(Throttled(refused.reason, retry_after_s=refused.retry_after_s))
                return
            forwarding.tenant = tenant
            forwarding.hop_lines = tenant.hop_lines
            most = tenant.max_priority
        if priority > most:
            priority = most
        if priority:
            forwarding.hop_lines += b"plimsoll-priority: %d\r\n" % priority
        self._admitted(forwarding, now)

    def _identify_again(self, forwarding: Forwarding, priority: int, _: object) -> None:
        if not forwarding.ended:
            self._identify(forwarding, priority, self.now())

    def _admitted(self, forwarding: Forwarding, now: float) -> None:
        forwarding.admitted = True
        service = forwarding.service
        if forwarding.deadline <= now:
            forwarding.refuse(Expired("the deadline had passed when the request came"))
        elif service.cache is None or not begin_trip(forwarding, service.cache, now):
            forwarding.dispatch(now)

    def _page(self, exchange: Exchange) -> None:
        """What the gateway says of itself. Not a request to a service: not counted, as a replica doesn't either."""
        metrics = self._record.render if self._settings.metrics_on_door else None
        status, content_type, body = page(exchange, ready=self.ready and not self.draining, metrics=metrics)
        outcome = Outcome.OK if status == 200 else Outcome.NO_REPLICA
        lines = door_lines(outcome, self._id_of(exchange))
        exchange.respond(status, b"content-type: %b\r\n%b" % (content_type.encode(), lines), body)

    def _refuse_at_door(self, exchange: Exchange, error: RequestError, view: ServiceView | None) -> None:
        """Before it became a Forwarding, or in one that a bug of ours broke."""
        if isinstance(exchange.context, Forwarding):
            exchange.context.refuse(error)
            return
        if exchange.answered:
            return
        now, request_id = self.now(), self._id_of(exchange)
        status = self.answer_error(exchange, error, request_id, view.revision if view is not None else "")
        if view is None:
            self._record.refused_at_door(error.outcome, now - exchange.arrived)
            return
        self._records[view.name].ended(error.outcome, now - exchange.arrived, now, view.revision)
        if self.audit is not None:
            self.audit.note(
                request_id.decode(), "", view.name, view.revision, error.outcome, status, exchange.body, self.wall()
            )

    def _id_of(self, exchange: Exchange) -> bytes:
        known = request_id_from(exchange.header(b"x-request-id"))
        return self._new_id() if known is None else known.encode()

    def _new_id(self) -> bytes:
        return new_request_id_bytes(self._getrandbits)

    # --- forwarding.Host --------------------------------------------------------------------------------------------

    def service_named(self, name: str) -> Service | None:
        return self._services.get(name)

    def watch(self, forwarding: Forwarding, until: float) -> None:
        self._clockwork.watch(forwarding, until)

    def short(self, service: Service, now: float) -> None:
        if now - service.told_at >= _SHORT_S:
            service.told_at = now
            # After this turn of the loop: then the request is held, or gone, and the report says so.
            self._loop.call_soon(self.on_short)

    def hold(self, forwarding: Forwarding, now: float) -> None:
        self._clockwork.hold(forwarding, now)

    def answer_error(self, exchange: Exchange, error: RequestError, request_id: bytes, revision: str) -> int:
        """The status that was answered."""
        status, headers, body = refusal(error)
        if status == 405:
            headers += b"allow: GET, HEAD\r\n"
        if revision:
            headers += b"plimsoll-revision: %b\r\n" % revision.encode()
        exchange.respond(status, headers + door_lines(error.outcome, request_id), body)
        return status

    def _cells_of(self, tenant: str) -> dict[Outcome, Cell] | None:
        """A tenant's counters, remembered until the next snapshot. None: it is gone, and its series ended."""
        if self.tenants.get(tenant) is None:
            return None
        cells = self._tenants_cells[tenant] = self._record.tenant(tenant)
        return cells

    def retried(self, service: Service) -> None:
        record = self._records.get(service.view.name)
        if record is not None:  # else: the service was deleted meanwhile
            record.retried()

    def hedge_later(self, tries: Tries, attempt: Attempt, delay_s: float) -> None:
        self._loop.call_later(delay_s, self._hedge, tries, attempt)

    def _hedge(self, tries: Tries, attempt: Attempt) -> None:
        record = self._records.get(tries.target.name)
        if tries.hedge(attempt) and record is not None:
            record.hedged()

    def ended(self, forwarding: Forwarding, outcome: Outcome) -> None:
        self.in_flight -= 1
        service, exchange, tenant = forwarding.service, forwarding.exchange, forwarding.tenant
        service.in_flight -= 1
        service.since_s = service.since_s - exchange.arrived if service.in_flight else 0.0  # no rounding piles up
        if forwarding.holding_since is not None:
            service.held.cancel(forwarding)
        self._wheel.remove(forwarding, forwarding.slot)
        # The two name each other. Left so, they and their bodies would stay until the collector comes, which our hosts
        # let happen every thousand requests only.
        exchange.context = None
        now = self.now()
        total_s = now - exchange.arrived
        service.busy_s += total_s
        record = self._records.get(service.view.name)
        if record is not None:
            record.ended(outcome, total_s, now, forwarding.revision)
        else:  # its service was deleted, and the service's series with it
            self._record.refused_at_door(outcome, total_s)
        if tenant is not None:
            body = forwarding.body  # of what was computed: answers from the cache and fixed ones cost no tokens
            tenant.quota.ended(now, tokens_in(body) if body and tenant.quota.tokens is not None else 0.0)
        if forwarding.tenant_name:
            cells = self._tenants_cells.get(forwarding.tenant_name) or self._cells_of(forwarding.tenant_name)
            if cells is not None:
                cells[outcome].value += 1
        if self.audit is not None:
            self.audit.note(
                forwarding.request_id.decode(),
                forwarding.tenant_name,
                service.view.name,
                forwarding.revision,
                outcome,
                forwarding.status,
                exchange.body,
                self.wall(),
            )
