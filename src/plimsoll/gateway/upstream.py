"""One replica as this gateway sees it: its connections, and how much of ours it has in hand."""

import asyncio
from collections import deque
from typing import Protocol

from plimsoll.core.snapshot import Endpoint
from plimsoll.wire.http1 import ClientConnection


class Waiter(Protocol):
    """Somebody who wants a connection."""

    def on_connection(self, connection: ClientConnection) -> None: ...

    def on_unreachable(self, reason: str) -> None: ...


class Upstream:
    """`outstanding` counts requests given to it and not yet ended, those that wait for a connection too."""

    __slots__ = (
        "_connecting", "_idle", "_max_connections", "_max_idle", "_open", "_tasks", "_waiting",
        "avoid_until", "endpoint", "gone", "outstanding",
    )  # fmt: skip

    def __init__(self, endpoint: Endpoint, *, max_idle: int, max_connections: int) -> None:
        self.endpoint = endpoint
        self.outstanding = 0
        # A replica that just died has nothing outstanding, so it would look like the best choice of all.
        self.avoid_until = 0.0
        self.gone = False  # no longer in the snapshot: what it has is finished, nothing is kept
        self._idle: list[ClientConnection] = []
        self._open = 0
        self._connecting = 0
        self._waiting: deque[Waiter] = deque()
        self._max_idle = max_idle
        self._max_connections = max_connections
        self._tasks: set[asyncio.Task[None]] = set()

    def acquire(self, waiter: Waiter) -> None:
        """Leads to exactly one call of `waiter`, at once where a connection is idle."""
        idle = self._idle
        while idle:
            connection = idle.pop()  # the last used is the least likely to have been closed meanwhile
            if not connection.closed:
                waiter.on_connection(connection)
                return
            self._open -= 1
        self._waiting.append(waiter)
        self._connect_if_short()

    def give_up(self, waiter: Waiter) -> None:
        """Stop waiting: its client left or its deadline passed. `waiter` hears no more."""
        self._waiting.remove(waiter)

    def release(self, connection: ClientConnection) -> None:
        """After a complete answer, or broken."""
        if connection.closed:
            self._open -= 1
            self._connect_if_short()
        elif self._waiting:
            self._waiting.popleft().on_connection(connection)
        elif self.gone or len(self._idle) >= self._max_idle:
            self._open -= 1
            connection.close()
        else:
            self._idle.append(connection)

    def discard(self, connection: ClientConnection) -> None:
        """An answer is still under way on it that nobody wants: closing tells the replica to stop."""
        connection.close()
        self._open -= 1
        self._connect_if_short()

    def retire(self) -> None:
        self.gone = True
        for connection in self._idle:
            connection.close()
        self._open -= len(self._idle)
        self._idle.clear()

    def _connect_if_short(self) -> None:
        """One connection for each that waits, as far as `max_connections` goes."""
        while self._connecting < len(self._waiting) and self._open + self._connecting < self._max_connections:
            self._connecting += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            connection = await ClientConnection.connect(self.endpoint.address)
        except OSError as error:
            self._connecting -= 1
            # Everybody who waits learns at once: the next connection would be refused as this one was.
            waiting, self._waiting = self._waiting, deque()
            for waiter in waiting:
                waiter.on_unreachable(f"replica {self.endpoint.replica} does not answer: {error.strerror or error}")
            return
        self._connecting -= 1
        self._open += 1
        self.release(connection)
