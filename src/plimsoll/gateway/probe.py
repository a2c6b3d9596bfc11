"""A sign of life from a replica that fell silent: one request of ours, so that no client's has to find out.

It has a connection of its own, which no request waits for and which is counted with none. A stopped process still takes
connections, as its kernel does that; so the question waits there, and is answered in the moment the process goes on.
When to ask is `policy.routing.Overdue`'s decision.
"""

import asyncio
from collections.abc import Callable

from plimsoll.gateway.heads import Headers
from plimsoll.wire.http1 import ClientConnection, ClientTls

_LONGEST_S = 20.0  # a little more than between two probes: the next one takes the place of this
_ASK = b"GET /v2/health/live HTTP/1.1\r\nhost: -\r\ncontent-length: 0\r\n\r\n"


class Probe:
    """`on_alive` is called at most once, and never after `cancel`. Whatever else happens is no sign of life."""

    __slots__ = ("_on_alive", "_over", "_task")

    def __init__(self, address: str, on_alive: Callable[[], None], tls: ClientTls | None = None) -> None:
        loop = asyncio.get_running_loop()
        self._on_alive = on_alive
        self._over: asyncio.Future[bool] = loop.create_future()
        self._task = loop.create_task(self._ask(address, tls))

    def cancel(self) -> None:
        self._task.cancel()

    async def _ask(self, address: str, tls: ClientTls | None) -> None:
        try:
            async with asyncio.timeout(_LONGEST_S):
                alive = await self._answer(address, tls)
        except Exception:  # nobody listens, or the address is none
            return
        if alive:
            self._on_alive()

    async def _answer(self, address: str, tls: ClientTls | None) -> bool:
        connection = await ClientConnection.connect(address, tls=tls)
        try:
            connection.send(_ASK, b"", self)
            return await self._over
        finally:
            connection.close()

    # --- wire.http1.Receiver ----------------------------------------------------------------------------------------

    def on_interim(self, status: int) -> None:
        pass

    def on_response(self, status: int, headers: Headers, body: bytes) -> None:
        """Any word of another server's will do, but not that something behind it is down."""
        self._end(status < 500)

    def on_lost(self, reason: str, started: bool) -> None:
        self._end(False)

    def _end(self, alive: bool) -> None:
        if not self._over.done():
            self._over.set_result(alive)
