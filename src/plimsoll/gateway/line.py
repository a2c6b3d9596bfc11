"""One connection to one controller, made again for as long as we live: snapshots come in, reports go out.

Over a Unix socket, whose folder says who we are; or over TLS, where the controller proves itself by its certificate and
we by a token, our first line. Both files are read anew for each connection: they are rotated while we run.
"""

import asyncio
import json
import logging
import socket
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import Snapshot
from plimsoll.wire.http1 import ClientTlsSettings, TlsAddress, UnixAddress, parse_address

LOG = logging.getLogger(__name__)
_LONGEST_LINE = 64 * 2**20  # a snapshot of ten thousand services has about 5 MB
_UNSENT_BYTES = 4 * 2**20  # a controller that reads nothing is not told more
_CONNECT_S = 5.0
_SILENT_MS = 10_000


@dataclass(frozen=True, slots=True)
class LineSettings:
    """Files for TLS: who signs controllers' certificates, and our token."""

    ca_file: str = ""
    token_file: str = ""
    first_wait_s: float = 0.05
    longest_wait_s: float = 2.0


class Line:
    """`latest`: the controller's newest snapshot; None while there is no connection. `on_news` is called after it
    changed, `on_up` when a connection stands."""

    def __init__(
        self, address: str, settings: LineSettings, on_up: Callable[["Line"], None], on_news: Callable[["Line"], None]
    ) -> None:
        self.address = address
        self._place = parse_address(address)
        self._settings = settings
        self._on_up, self._on_news = on_up, on_news
        self._decode = msgspec.json.Decoder(Snapshot).decode
        self._writer: asyncio.StreamWriter | None = None
        self._wait_s = settings.first_wait_s
        self._trouble = ""
        self._lost = False
        self.latest: Snapshot | None = None

    @property
    def connected(self) -> bool:
        return self._writer is not None

    def send(self, line: bytes) -> None:
        writer = self._writer
        if writer is not None and writer.transport.get_write_buffer_size() < _UNSENT_BYTES:
            with suppress(OSError, RuntimeError):
                writer.write(line)

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    reader, writer = await self._connect()
            except (OSError, HostError) as error:  # TimeoutError, TLS and missing files are among them
                self._say(error)
            else:
                await self._follow(reader, writer)
            await asyncio.sleep(self._wait_s)
            self._wait_s = min(self._wait_s * 2, self._settings.longest_wait_s)

    def _say(self, error: BaseException) -> None:
        """Once an outage. A Unix socket that isn't there is a controller that isn't up yet, which is nothing to say."""
        text = str(error) or "no connection in time"
        if text != self._trouble and not isinstance(self._place, UnixAddress):
            LOG.warning("no stream from the controller at %s: %s", self.address, text)
        self._trouble = text

    async def _connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        place = self._place
        if isinstance(place, UnixAddress):
            return await asyncio.open_unix_connection(place.path, limit=_LONGEST_LINE)
        assert isinstance(place, TlsAddress)
        context, token = await asyncio.to_thread(self._credentials)
        reader, writer = await asyncio.open_connection(
            place.host, place.port, limit=_LONGEST_LINE, ssl=context, server_hostname=place.name
        )
        _notice_silence(writer.get_extra_info("socket"))
        writer.write(json.dumps({"token": token}).encode() + b"\n")
        return reader, writer

    def _credentials(self) -> tuple[ssl.SSLContext, str]:
        settings = self._settings
        context = ClientTlsSettings(settings.ca_file).make()
        try:
            with open(settings.token_file, encoding="ascii") as file:
                return context, file.read().strip()
        except (OSError, ValueError) as error:
            raise HostError(
                f"the token {settings.token_file} can't be read: {error}; mount a projected ServiceAccount token there"
            ) from error

    async def _follow(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        if self._lost:
            LOG.info("the controller's stream is back", extra={"controller": self.address})
        try:
            self._on_up(self)
            async for snapshot in self._snapshots(reader):
                # Only now: one that accepts and hangs up must not be asked 20 times a second.
                self._wait_s, self._trouble = self._settings.first_wait_s, ""
                self.latest = snapshot
                self._on_news(self)
        except (OSError, ValueError) as error:  # ValueError: a line beyond the limit
            self._ended(f"broke: {error}")
        else:
            self._ended("ended")
        finally:
            self._writer, self.latest, self._lost = None, None, True
            writer.close()

    def _ended(self, how: str) -> None:
        if how != self._trouble:
            LOG.warning("the controller's stream %s; serving on from the last snapshot", how)
        self._trouble = how

    async def _snapshots(self, reader: asyncio.StreamReader) -> AsyncIterator[Snapshot]:
        while line := await reader.readline():
            try:
                snapshot = self._decode(line)
            except ValueError as error:  # msgspec's errors are ValueErrors; the next line may be good
                LOG.error("the controller sent a line that is no snapshot: %s; serving on from the last one", error)
                continue
            yield snapshot


def _notice_silence(sock: socket.socket) -> None:
    """We write each second: a node that died without a word is noticed by what it does not acknowledge. Without this
    the kernel tries for a quarter of an hour."""
    if hasattr(socket, "TCP_USER_TIMEOUT"):  # Linux
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, _SILENT_MS)
