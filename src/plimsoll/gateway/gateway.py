"""One gateway process, put together: the door behind its listeners, and the stream from the controller."""

import asyncio
import logging
import socket
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from random import Random
from time import monotonic

from plimsoll.core.errors import NotFound, RequestError
from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.gateway.clockwork import TICK_S
from plimsoll.gateway.door import Door
from plimsoll.gateway.record import Record
from plimsoll.gateway.settings import GatewaySettings
from plimsoll.gateway.stream import ControlStream
from plimsoll.telemetry.audit import AuditLog
from plimsoll.telemetry.metrics import wants_openmetrics
from plimsoll.wire.http1 import Exchange, HttpServer, HttpSettings
from plimsoll.wire.status import refusal

_FIRST_SNAPSHOT_S = 1.0
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
        self._version = 0
        self._stream = ControlStream(settings.control, self._take, self.report)
        self.door.on_short = self._stream.tell
        self._streaming: asyncio.Task[None] | None = None
        self._known = asyncio.Event()
        self._record.use(lambda: self._version)

    async def start(self) -> list[str]:
        """The addresses that clients can reach, once the first snapshot is here (or a second has passed without: a
        gateway that starts while the controller is down answers 404 until it is back). Raises HostError."""
        self._streaming = asyncio.create_task(self._stream.run())
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
        if self._settings.metrics is not None:
            server = HttpServer(MetricsPage(self._record), HttpSettings())
            self._servers.append(server)
            await server.start(self._settings.metrics)
        return addresses

    def _opened(self, address: str) -> socket.socket | None:
        fd = self._fds.get(address)
        return None if fd is None else socket.socket(fileno=fd)

    async def drain(self) -> None:
        """Stops accepting, answers what is here, ends."""
        _log.info("draining", extra={"in_flight": self.door.in_flight})
        settings = self._settings
        await asyncio.sleep(settings.drain_linger_s)
        await asyncio.gather(*(server.close(settings.drain_s) for server in self._servers))
        await self.close()

    async def close(self) -> None:
        if self._streaming is not None:
            self._streaming.cancel()
            with suppress(asyncio.CancelledError):
                await self._streaming
        await asyncio.gather(*(server.close(0) for server in self._servers))
        await self.door.close()
        if self.audit is not None:
            await asyncio.to_thread(self.audit.close)  # the last records wait for the disk

    def report(self) -> GatewayReport:
        return GatewayReport(self._settings.name, self._version, self.door.reports(), self.door.notes(), monotonic())

    def _take(self, snapshot: Snapshot) -> None:
        if snapshot.version:  # 0: a controller that has just begun and knows nothing yet; what we know stays
            self.door.take(snapshot)
            self._version = snapshot.version
            ready = sum(len(service.endpoints) for service in snapshot.services)
            counts = {"version": snapshot.version, "services": len(snapshot.services), "endpoints": ready}
            _log.info("snapshot taken", extra=counts)
        self._known.set()


class MetricsPage:
    """`/metrics` on a socket of its own, for the controller to collect."""

    def __init__(self, record: Record) -> None:
        self._record = record

    def on_request(self, exchange: Exchange) -> None:
        if exchange.path != "/metrics":
            status, headers, body = refusal(NotFound("only /metrics is here"))
            exchange.respond(status, headers, body)
            return
        content_type, body = self._record.render(wants_openmetrics(exchange.header(b"accept")))
        exchange.respond(200, b"content-type: %b\r\n" % content_type.encode(), body)

    def on_gone(self, exchange: Exchange) -> None:
        pass

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        return refusal(error)
