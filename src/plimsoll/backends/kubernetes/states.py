"""What replicas say of themselves, straight from their pods: one connection each, a JSON line a second.

The line is what a local replica writes into its status pipe (docs/processes.md). A bare protocol each, no task and no
stream: a controller holds thousands.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any, cast

from plimsoll.backends.kubernetes.names import STATE_PATH

_LONGEST = 1 << 20
_WAITS_S = (0.2, 0.5, 1.0, 2.0, 5.0)
_CONNECT_S = 3.0

OnEvent = Callable[[dict[str, Any]], None]


class StateLine:
    """Calls `on_event` for each line, and connects again until `close`. `on_lost()`: nothing is heard any more."""

    def __init__(self, host: str, port: int, on_event: OnEvent, on_lost: Callable[[], None] = lambda: None) -> None:
        self.address = (host, port)
        self._on_event, self._on_lost = on_event, on_lost
        self._loop = asyncio.get_running_loop()
        self._transport: asyncio.BaseTransport | None = None
        self._timer: asyncio.TimerHandle | None = None
        self._connecting: asyncio.Task[None] | None = None
        self._failures = 0
        self._closed = False
        self._connect()

    def close(self) -> None:
        self._closed = True
        for one in (self._timer, self._connecting):
            if one is not None:
                one.cancel()
        if self._transport is not None:
            self._transport.close()

    def _connect(self) -> None:
        self._connecting = self._loop.create_task(self._try())

    async def _try(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                self._transport, _ = await self._loop.create_connection(lambda: _Lines(self), *self.address)
        except (OSError, TimeoutError):
            self.lost()
        finally:
            self._connecting = None

    def heard(self, line: bytes) -> None:
        self._failures = 0
        try:
            event = json.loads(line)
        except ValueError:
            return  # of somebody else: its next may be better, and silence is noticed elsewhere
        if isinstance(event, dict) and isinstance(event.get("event"), str):
            self._on_event(event)

    def lost(self) -> None:
        had, self._transport = self._transport is not None, None
        if self._closed:
            return
        self._timer = self._loop.call_later(_WAITS_S[min(self._failures, len(_WAITS_S) - 1)], self._connect)
        self._failures += 1
        if had:
            self._on_lost()


class _Lines(asyncio.Protocol):
    """The answer has no length: it ends with the connection (RFC 9112 section 6.3)."""

    __slots__ = ("_buffer", "_in_body", "_owner", "_transport")

    def __init__(self, owner: StateLine) -> None:
        self._owner = owner
        self._buffer = b""
        self._in_body = False
        self._transport: asyncio.Transport | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport = cast(asyncio.Transport, transport)  # uvloop's are no subclass of it
        host, port = self._owner.address
        name = f"[{host}]" if ":" in host else host
        transport.write(f"GET {STATE_PATH} HTTP/1.1\r\nhost: {name}:{port}\r\n\r\n".encode())

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        if not self._in_body:
            head, end, rest = self._buffer.partition(b"\r\n\r\n")
            if not end:
                return self._bound()
            if head.split(b"\r\n", 1)[0].split()[1:2] != [b"200"]:
                return self._hang_up()
            self._in_body, self._buffer = True, rest
        *lines, self._buffer = self._buffer.split(b"\n")
        for line in lines:
            if line:
                self._owner.heard(line)
        return self._bound()

    def connection_lost(self, error: Exception | None) -> None:
        self._owner.lost()

    def _bound(self) -> None:
        if len(self._buffer) > _LONGEST:
            self._hang_up()

    def _hang_up(self) -> None:
        if self._transport is not None:
            self._transport.abort()
