"""The stream between the controller and its gateways: snapshots one way, reports the other.

Newline-delimited JSON of `core.snapshot`'s dataclasses, over a Unix socket (mode 0600), or over TCP and TLS: there a
gateway's first line is `{"token": "…"}`, and it hears nothing before `check` has said yes. A gateway gets the newest
snapshot when it connects and after each change; one that reads slowly gets only the newest when it reads again, never a
queue of old ones. Its reports carry the version that it has in effect, which is the acknowledgement.
"""

import asyncio
import contextlib
import logging
import os
import ssl
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path

import msgspec

from plimsoll.control.reports import ReportBook
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot

LOG = logging.getLogger(__name__)

# A report has about 300 bytes a service; a thousand services fit three times.
_LONGEST_LINE = 1 << 20
_WRITE_BUFFER = 1 << 16  # above it `drain` waits, and newer snapshots replace older ones

_TOKEN_LINE = 1 << 14  # a projected ServiceAccount token has about 1 kB
_UNKNOWN_MOST = 64  # connections whose token is not checked yet: each costs a question to the API server

TokenCheck = Callable[[str], Awaitable[bool]]


class _Greeting(msgspec.Struct):
    token: str


@dataclass(frozen=True, slots=True)
class TcpListen:
    """`context`: asked at each new connection, so that a rotated certificate holds for the next. `check`: whether the
    token is a gateway's; what it raises refuses. `silent_s`: gateways report each second; one that says nothing for so
    long is gone, even where its node died without a word."""

    host: str
    port: int
    context: Callable[[], ssl.SSLContext]
    check: TokenCheck
    greeting_s: float = 10.0
    silent_s: float = 15.0


class SnapshotServer:
    """`publish` is synchronous and never waits for a gateway. `path` None: no Unix socket. `port`: where TCP listens,
    after `start`."""

    def __init__(
        self,
        path: Path | None,
        *,
        on_report: Callable[[GatewayReport], None] | None = None,
        tcp: TcpListen | None = None,
    ) -> None:
        self.path = path
        self.port = 0
        self._tcp = tcp
        self._unknown = 0
        self.reports = ReportBook()
        self.snapshot = Snapshot(version=0)
        self._on_report = on_report
        self._line = _encode(self.snapshot)
        self._news = asyncio.Event()  # replaced each time: whoever waits on the old one wakes
        self._servers: list[asyncio.Server] = []
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises HostError where the socket can't be bound."""
        if self.path is not None:
            self.path.unlink(missing_ok=True)
            try:
                server = await asyncio.start_unix_server(self._serve, path=str(self.path), limit=_LONGEST_LINE)
            except OSError as error:
                raise HostError(f"{self.path}: cannot listen for gateways: {error}") from error
            self._servers.append(server)
            os.chmod(self.path, 0o600)  # the run folder is 0700: nobody else could connect in between
        if self._tcp is not None:
            await self._listen(self._tcp)

    async def _listen(self, tcp: TcpListen) -> None:
        outer = tcp.context()
        outer.sni_callback = _newest(tcp.context)
        try:
            server = await asyncio.start_server(
                self._greet,
                tcp.host,
                tcp.port,
                limit=_LONGEST_LINE,
                ssl=outer,
                ssl_handshake_timeout=tcp.greeting_s,
                ssl_shutdown_timeout=1.0,
            )
        except OSError as error:
            raise HostError(f"{tcp.host}:{tcp.port}: cannot listen for gateways: {error}") from error
        self._servers.append(server)
        self.port = server.sockets[0].getsockname()[1]

    def publish(self, snapshot: Snapshot) -> None:
        self.snapshot = snapshot
        self._line = _encode(snapshot)
        self._wake()

    async def acked(self, version: int, timeout_s: float, *, gateways: int = 1) -> bool:
        """True once at least `gateways` of them are connected and each has `version` or a newer one in effect."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while not self.has_acked(version, gateways=gateways):
                    await self._news.wait()
                return True
        return False

    def has_acked(self, version: int, *, gateways: int = 0) -> bool:
        lowest = self.reports.lowest_version()
        return len(self.reports.gateways) >= gateways and (lowest is None or lowest >= version)

    async def close(self) -> None:
        for server in self._servers:
            server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        if self.path is not None:
            self.path.unlink(missing_ok=True)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _greet(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Over TCP: who it is, before anything is told."""
        tcp, task = self._tcp, asyncio.current_task()
        assert tcp is not None
        assert task is not None
        self._connections.add(task)
        self._unknown += 1
        known = False
        try:
            if self._unknown <= _UNKNOWN_MOST:
                async with asyncio.timeout(tcp.greeting_s):
                    known = await _is_known(reader, tcp.check)
        except asyncio.CancelledError:
            pass
        except Exception as error:  # TimeoutError too; a question that can't be asked is no yes
            LOG.warning("a gateway's token could not be checked: %s", _said(error))
        finally:
            self._unknown -= 1
            self._connections.discard(task)
        if known:
            await self._serve(reader, writer, silent_s=tcp.silent_s)
        else:
            writer.close()

    async def _serve(
        self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, silent_s: float | None = None
    ) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        sender = asyncio.ensure_future(self._send(writer))
        names: set[str] = set()
        try:
            await self._receive(reader, names, silent_s)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            LOG.warning("a gateway's stream ended: %s", _said(error))
        except asyncio.CancelledError:
            pass  # `close` ends the stream; the streams protocol would log it as an error
        finally:
            sender.cancel()
            writer.close()
            self._connections.discard(task)
            for name in names:
                self.reports.forget(name)
            self._wake()

    async def _receive(self, reader: asyncio.StreamReader, names: set[str], silent_s: float | None) -> None:
        decoder = msgspec.json.Decoder(GatewayReport)
        while True:
            async with asyncio.timeout(silent_s):  # wait_for of 3.11 loses a cancel that comes with a line
                line = await reader.readline()
            if not line:
                return
            report = decoder.decode(line)
            names.add(report.gateway)
            self.reports.take(report)
            if self._on_report is not None:
                self._on_report(report)
            self._wake()

    async def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.transport.set_write_buffer_limits(high=_WRITE_BUFFER)
        sent: bytes | None = None
        with contextlib.suppress(OSError):
            while True:
                news = self._news
                if sent is not self._line:
                    sent = self._line
                    writer.write(sent)
                    await writer.drain()
                elif news is self._news:
                    await news.wait()


def _encode(snapshot: Snapshot) -> bytes:
    return msgspec.json.encode(snapshot) + b"\n"


async def _is_known(reader: asyncio.StreamReader, check: TokenCheck) -> bool:
    line = await reader.readline()
    if len(line) > _TOKEN_LINE:
        raise ValueError("its first line is too long")
    if not line:
        return False  # a port that is probed
    try:
        token = msgspec.json.decode(line, type=_Greeting).token
    except msgspec.MsgspecError:
        raise ValueError('its first line is no {"token": "…"}') from None  # without the line: it may hold one
    if not await check(token):
        LOG.warning("a stream was refused: its token is not a gateway's")
        return False
    return True


def _newest(context: Callable[[], ssl.SSLContext]) -> Callable[[ssl.SSLObject, str | None, ssl.SSLContext], None]:
    def choose(connection: ssl.SSLObject, name: str | None, first: ssl.SSLContext) -> None:
        connection.context = context()

    return choose


def _said(error: BaseException) -> str:
    return "nothing was heard from it" if isinstance(error, TimeoutError) else str(error) or type(error).__name__
