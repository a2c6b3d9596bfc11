"""One gateway process, put together: the door behind its listeners, and the stream from the controller."""

import asyncio
import logging
import os
import socket
from collections.abc import Callable, Iterable, Mapping
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from random import Random
from time import monotonic

from plimsoll.core.errors import HostError, NotFound, RequestError
from plimsoll.core.snapshot import Endpoint, GatewayReport, Snapshot
from plimsoll.gateway.clockwork import TICK_S
from plimsoll.gateway.door import Door
from plimsoll.gateway.pages import page
from plimsoll.gateway.record import Record
from plimsoll.gateway.replica_tls import ReplicaTls
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.stream import ControlStream
from plimsoll.gateway.watched import WatchedReplicas
from plimsoll.telemetry.audit import AuditLog
from plimsoll.wire.http1 import Exchange, HttpServer, HttpSettings
from plimsoll.wire.status import refusal

_FIRST_SNAPSHOT_S = 1.0
_FILES_S = 1.0  # between two looks for a certificate
_STATUS_PATHS = frozenset({"/metrics", "/v2/health/live", "/v2/health/ready"})
_log = logging.getLogger(__name__)


class Gateway:
    """`fds`: listening sockets that were opened for us, by the address in `listen` that each stands for."""

    def __init__(
        self, settings: GatewaySettings, *, fds: Mapping[str, int] | None = None, random: Random | None = None
    ) -> None:
        self._settings = settings
        self._fds = fds or {}
        self._record = Record(TICK_S)
        self.door = Door(settings, self._record, random)
        self.audit = AuditLog(Path(settings.audit), gateway=settings.name) if settings.audit else None
        if self.audit is not None:
            self._record.count(self.audit)
            self.door.audit = self.audit
        self._servers: list[HttpServer] = []
        self._status: HttpServer | None = None
        self._version = 0
        self.watched = WatchedReplicas() if settings.watched else None
        self._snapshot: Snapshot | None = None
        self.troubles: Callable[[], Iterable[str]] = tuple  # what else is amiss, a line each
        self._replica_tls = ReplicaTls(settings.replica_tls) if settings.replica_tls is not None else None
        self.door.replica_tls = self._replica_tls
        self._stream = ControlStream(
            settings.control,
            self._take,
            self.report,
            ca_file=settings.control_ca,
            token_file=settings.control_token,
        )
        self.door.on_short = self._stream.tell
        self._streaming: asyncio.Task[None] | None = None
        self._tasks: list[asyncio.Task[None]] = []
        self._known = asyncio.Event()
        self._record.use(lambda: self._version)

    async def start(self) -> list[str]:
        """The addresses that clients can reach, once the first snapshot is here (or a second has passed without: a
        gateway that starts while the controller is down answers 404 until it is back). Raises HostError."""
        self._streaming = asyncio.create_task(self._stream.run())
        if self._replica_tls is not None:
            self._tasks.append(asyncio.create_task(self._replica_tls.run()))
        with suppress(TimeoutError):
            await asyncio.wait_for(self._known.wait(), _FIRST_SNAPSHOT_S)
        try:
            if self.audit is not None:
                self.audit.start()
            addresses = await self._listen()
        except BaseException:
            await self.close()
            raise
        _log.info("gateway ready", extra={"listen": ",".join(addresses), "snapshot": self._version})
        return addresses

    async def _listen(self) -> list[str]:
        addresses = []
        for address in self._settings.listen:
            server = HttpServer(self.door, self._settings.http, clock=monotonic, burst=self.door.burst)
            self._servers.append(server)
            addresses.append(await server.start(self._opened(address) or address))
        if self._settings.tls_listen:
            self._tasks.append(asyncio.create_task(self._listen_tls()))
        if self._settings.metrics is not None:
            self._status = HttpServer(StatusPages(self._record, lambda: self.ready), HttpSettings())
            await self._status.start(self._settings.metrics)
        return addresses

    async def _listen_tls(self) -> None:
        """HTTPS, from the moment its files are there: a Secret may be made, or mended, while we run. Where there are
        none nobody may have asked for it; where they can't be used somebody did."""
        settings, said = self._settings, ""
        files = settings.tls.files[:2] if settings.tls is not None else ()
        server = HttpServer(self.door, replace(settings.http, tls=settings.tls), clock=monotonic, burst=self.door.burst)
        self._servers.append(server)
        for address in settings.tls_listen:
            while not self.door.draining:
                try:
                    bound = await server.start(address)
                except HostError as error:
                    wanted = settings.tls is None or any(map(os.path.exists, files))
                    words = str(error) if wanted else f"{' and '.join(files)} are not there (they may come)"
                    if words != said:
                        _log.log(logging.WARNING if wanted else logging.INFO, "no HTTPS yet: %s", words)
                    said = words
                    await asyncio.sleep(_FILES_S)
                else:
                    _log.info("listening for HTTPS", extra={"listen": bound})
                    break

    def _opened(self, address: str) -> socket.socket | None:
        fd = self._fds.get(address)
        return None if fd is None else socket.socket(fileno=fd)

    async def drain(self) -> None:
        """Says that it is not ready, serves on for `drain_linger_s` while whoever sends clients here looks away (each
        answer asks its client to connect anew), then stops accepting, answers what is here, ends."""
        _log.info("draining", extra={"in_flight": self.door.in_flight})
        settings = self._settings
        self.door.draining = True
        if settings.drain_linger_s:
            for server in self._servers:
                server.retire()
            await asyncio.sleep(settings.drain_linger_s)
        await asyncio.gather(*(server.close(settings.drain_s) for server in self._servers))
        await self.close()
        _log.info("drained")

    async def close(self) -> None:
        for task in (self._streaming, *self._tasks):
            if task is not None:
                task.cancel()
                with suppress(asyncio.CancelledError):
                    await task
        await asyncio.gather(*(server.close(0) for server in self._servers))
        await self.door.close()
        if self._status is not None:
            await self._status.close(0)
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)  # the last records wait for the disk

    @property
    def ready(self) -> bool:
        """A snapshot is in effect, where its replicas come from was looked at, and it is not about to end."""
        return self.door.ready and not self.door.draining and (self.watched is None or self.watched.synced)

    def replicas(self, name: str, endpoints: tuple[Endpoint, ...]) -> None:
        """On a cluster: where the replicas of the service `NAMESPACE/NAME` are now."""
        assert self.watched is not None
        self.watched.put(name, endpoints)
        if self.watched.synced:
            self.door.take_replicas(name, self.watched.of(name))

    def replicas_known(self) -> None:
        """Every service's replicas have been told once: from now on they alone count."""
        assert self.watched is not None
        if not self.watched.synced:
            self.watched.synced = True
            if self._snapshot is not None:
                self.door.take(self.watched.applied_to(self._snapshot))

    def report(self) -> GatewayReport:
        notes = (*self.door.notes(), *self.troubles())
        return GatewayReport(self._settings.name, self._version, self.door.reports(), notes, monotonic())

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot.version:  # 0: a controller that has just begun and knows nothing yet; what we know stays
            if self.watched is not None:
                self._snapshot, snapshot = snapshot, self.watched.applied_to(snapshot)
            self.door.take(snapshot)
            self._version = snapshot.version
            ready = sum(len(service.endpoints) for service in snapshot.services)
            counts = {"version": snapshot.version, "services": len(snapshot.services), "endpoints": ready}
            _log.info("snapshot taken", extra=counts)
        self._known.set()


class StatusPages:
    """`/metrics` and health on a socket of their own, for the controller, or a cluster's probes."""

    def __init__(self, record: Record, ready: Callable[[], bool]) -> None:
        self._record, self._ready = record, ready

    def on_request(self, exchange: Exchange) -> None:
        try:
            if exchange.path not in _STATUS_PATHS:
                raise NotFound("only /metrics and health are here")
            status, content_type, body = page(exchange, ready=self._ready(), metrics=self._record.render)
        except RequestError as error:
            exchange.respond(*refusal(error))
            return
        exchange.respond(status, b"content-type: %b\r\n" % content_type.encode(), body)

    def on_gone(self, exchange: Exchange) -> None:
        pass

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        return refusal(error)
