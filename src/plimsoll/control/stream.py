"""The stream between the controller and its gateways: snapshots one way, reports the other.

One Unix socket (mode 0600), newline-delimited JSON of `core.snapshot`'s dataclasses. A gateway gets the newest snapshot
when it connects and after each change; one that reads slowly gets only the newest when it reads again, never a queue of
old ones. Its reports carry the version that it has in effect, which is the acknowledgement.
"""

import asyncio
import contextlib
import logging
import os
from collections.abc import Callable
from pathlib import Path

import msgspec

from plimsoll.control.reports import ReportBook
from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import GatewayReport, Snapshot

LOG = logging.getLogger(__name__)

# A report has about 300 bytes a service; a thousand services fit three times.
_LONGEST_LINE = 1 << 20
_WRITE_BUFFER = 1 << 16  # above it `drain` waits, and newer snapshots replace older ones


class SnapshotServer:
    """`publish` is synchronous and never waits for a gateway."""

    def __init__(self, path: Path, *, on_report: Callable[[GatewayReport], None] | None = None) -> None:
        self.path = path
        self.reports = ReportBook()
        self.snapshot = Snapshot(version=0)
        self._on_report = on_report
        self._line = _encode(self.snapshot)
        self._news = asyncio.Event()  # replaced each time: whoever waits on the old one wakes
        self._server: asyncio.Server | None = None
        self._connections: set[asyncio.Task[None]] = set()

    async def start(self) -> None:
        """Raises HostError where the socket can't be bound."""
        self.path.unlink(missing_ok=True)
        try:
            self._server = await asyncio.start_unix_server(self._serve, path=str(self.path), limit=_LONGEST_LINE)
        except OSError as error:
            raise HostError(f"{self.path}: cannot listen for gateways: {error}") from error
        os.chmod(self.path, 0o600)  # the run folder is 0700: nobody else could connect in between

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
        if self._server is not None:
            self._server.close()
        for task in tuple(self._connections):
            task.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)
        self.path.unlink(missing_ok=True)

    def _wake(self) -> None:
        self._news.set()
        self._news = asyncio.Event()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._connections.add(task)
        sender = asyncio.ensure_future(self._send(writer))
        names: set[str] = set()
        try:
            await self._receive(reader, names)
        except (OSError, ValueError, msgspec.MsgspecError) as error:
            LOG.warning("a gateway's stream ended: %s", error)
        except asyncio.CancelledError:
            pass  # `close` ends the stream; the streams protocol would log it as an error
        finally:
            sender.cancel()
            writer.close()
            self._connections.discard(task)
            for name in names:
                self.reports.forget(name)
            self._wake()

    async def _receive(self, reader: asyncio.StreamReader, names: set[str]) -> None:
        decoder = msgspec.json.Decoder(GatewayReport)
        while line := await reader.readline():
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
