"""Clients in a closed loop: each has one request under way, and sends the next as soon as it is answered."""

import asyncio
import itertools
from time import monotonic

from plimsoll.core.errors import HostError, UserError
from plimsoll.load import Target
from plimsoll.load.connect import connect
from plimsoll.wire.http1 import ClientConnection

_STOP_S = 30.0  # for answers that are still on their way


class _Caller:
    """One connection and the request on it (a Receiver)."""

    __slots__ = ("_callers", "_sent", "busy", "connection", "path")

    def __init__(self, callers: "Callers", connection: ClientConnection) -> None:
        self._callers, self.connection = callers, connection
        self._sent = 0.0
        self.busy = False
        self.path = ""

    def send(self) -> None:
        target = next(self._callers.targets)
        self.busy, self._sent, self.path = True, monotonic(), target.url.removeprefix("http://localhost")
        self.connection.send(target.head, target.body, self)

    def on_interim(self, status: int) -> None:
        pass

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self.busy = False
        self._callers.answered(self, status, body, monotonic() - self._sent)

    def on_lost(self, reason: str, started: bool) -> None:
        self.busy = False
        self._callers.lost(reason)


class Callers:
    """`targets` are sent in turn. Any answer but 200 is a failure, which `check` raises: a model that refuses its own
    example isn't measured by it."""

    def __init__(self, targets: list[Target]) -> None:
        self.targets = itertools.cycle(targets)
        self._address = targets[0].address
        self._callers: list[_Caller] = []
        self._running = False
        self._latencies: list[float] = []
        self._failure: Exception | None = None
        self._answered = asyncio.Event()

    @property
    def count(self) -> int:
        return len(self._callers)

    async def once(self) -> None:
        """One request, answered. Raises UserError, HostError."""
        await self.grow(1)
        self._callers[0].send()
        await self._answered.wait()
        self.close()
        self.check()

    async def grow(self, count: int) -> None:
        while len(self._callers) < count:
            self._callers.append(_Caller(self, await connect(self._address)))

    def start(self) -> None:
        self._running = True
        for caller in self._callers:
            caller.send()

    async def stop(self) -> None:
        """Returns when the last answer is here."""
        self._running = False
        until = monotonic() + _STOP_S
        while any(caller.busy for caller in self._callers) and monotonic() < until:
            self._answered.clear()
            try:
                await asyncio.wait_for(self._answered.wait(), 1.0)
            except TimeoutError:
                continue
        self.check()

    def take(self) -> list[float]:
        """Latencies in seconds since the last call."""
        taken, self._latencies = self._latencies, []
        return taken

    def check(self) -> None:
        if self._failure is not None:
            raise self._failure

    def close(self) -> None:
        self._running = False
        for caller in self._callers:
            caller.connection.close()

    def answered(self, caller: _Caller, status: int, body: bytes, seconds: float) -> None:
        self._answered.set()
        self._latencies.append(seconds)
        if status != 200:
            text = " ".join(body.decode("utf-8", "replace").split())[:200]
            self._failure = UserError(f"the service's own example is answered with {status} at {caller.path}: {text}")
            self._running = False
        elif self._running:
            caller.send()

    def lost(self, reason: str) -> None:
        self._answered.set()
        if self._running or self._failure is None:
            self._failure = self._failure or HostError(f"the replica went away: {reason}")
        self._running = False
