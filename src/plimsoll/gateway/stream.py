"""The gateway's end of the controller's stream: snapshots in, reports out, reconnecting for as long as we live."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from contextlib import suppress

import msgspec

from plimsoll.core.snapshot import GatewayReport, Snapshot
from plimsoll.wire.http1 import UnixAddress, parse_address

LOG = logging.getLogger(__name__)
_LONGEST_LINE = 64 * 2**20  # a snapshot of ten thousand services has about 5 MB
_FIRST_WAIT_S, _LONGEST_WAIT_S = 0.05, 2.0
_REPORT_S = 1.0


class ControlStream:
    """`take` applies a snapshot; `report` makes a report. While the controller is down the last snapshot stays."""

    def __init__(self, address: str, take: Callable[[Snapshot], None], report: Callable[[], GatewayReport]) -> None:
        place = parse_address(address)
        if not isinstance(place, UnixAddress):
            raise ValueError(f"{address}: the control stream is a Unix socket: unix:/path")
        self._path = place.path
        self._take = take
        self._report = report
        self._decode = msgspec.json.Decoder(Snapshot).decode
        self._encode = msgspec.json.Encoder().encode
        self.connected = False
        self._writer: asyncio.StreamWriter | None = None

    def tell(self) -> None:
        """A report now, before the next second's. Nothing while the controller is away."""
        if self._writer is not None:
            with suppress(OSError):
                self._send(self._writer)

    async def run(self) -> None:
        """Until cancelled."""
        wait_s = _FIRST_WAIT_S
        lost = False
        while True:
            try:
                reader, writer = await asyncio.open_unix_connection(self._path, limit=_LONGEST_LINE)
            except OSError:
                await asyncio.sleep(wait_s)
                wait_s = min(wait_s * 2, _LONGEST_WAIT_S)
                continue
            self.connected, self._writer = True, writer
            if lost:
                LOG.info("the controller's stream is back")
            reporting = asyncio.create_task(self._report_each_second(writer))
            try:
                async for snapshot in self._snapshots(reader):
                    wait_s = (
                        _FIRST_WAIT_S  # only now: one that accepts and hangs up must not be asked 20 times a second
                    )
                    self._take_and_tell(snapshot, writer)
            except (OSError, ValueError) as error:  # ValueError: a line beyond the limit
                LOG.warning("the controller's stream broke: %s; serving on from the last snapshot", error)
            else:
                LOG.warning("the controller's stream ended; serving on from the last snapshot")
            finally:
                lost = True
                self.connected, self._writer = False, None
                reporting.cancel()
                writer.close()
            await asyncio.sleep(wait_s)
            wait_s = min(wait_s * 2, _LONGEST_WAIT_S)

    async def _snapshots(self, reader: asyncio.StreamReader) -> AsyncIterator[Snapshot]:
        while line := await reader.readline():
            try:
                snapshot = self._decode(line)
            except ValueError as error:  # msgspec's errors are ValueErrors; the next line may be good
                LOG.error("the controller sent a line that is no snapshot: %s; serving on from the last one", error)
                continue
            yield snapshot

    def _take_and_tell(self, snapshot: Snapshot, writer: asyncio.StreamWriter) -> None:
        try:
            self._take(snapshot)
        except Exception:  # the stream must live: the next snapshot may be the remedy
            LOG.exception("snapshot %d did not take effect", snapshot.version)
            return
        self._send(writer)

    async def _report_each_second(self, writer: asyncio.StreamWriter) -> None:
        with suppress(OSError):
            while True:
                await asyncio.sleep(_REPORT_S)
                self._send(writer)
                await writer.drain()

    def _send(self, writer: asyncio.StreamWriter) -> None:
        writer.write(self._encode(self._report()) + b"\n")
