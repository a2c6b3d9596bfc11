"""One try at one replica: from the wait for a connection to the replica's answer, or its loss.

A request has one attempt as a rule, two where the first is overdue or hedged, and one after another where replicas are
lost. An attempt tells its request what became of it exactly once, and nothing after `drop`.
"""

from typing import Protocol

from plimsoll.gateway.heads import Headers
from plimsoll.gateway.upstream import Upstream
from plimsoll.wire.http1 import ClientConnection


class Owner(Protocol):
    """The request that tries."""

    def send(self, attempt: "Attempt", connection: ClientConnection, now: float) -> None: ...

    def answered(self, attempt: "Attempt", status: int, headers: Headers, body: bytes, now: float) -> None: ...

    def lost(self, attempt: "Attempt", reason: str) -> None: ...

    def unreachable(self, attempt: "Attempt", reason: str) -> None: ...

    def second(self, attempt: "Attempt", now: float) -> bool: ...


class Attempt:
    """`computing`: the replica said that it began with this request, alone in its batch."""

    __slots__ = ("_connection", "_over", "_owner", "computing", "expected_s", "sent_at", "upstream")

    def __init__(self, owner: Owner, upstream: Upstream) -> None:
        self._owner = owner
        self._connection: ClientConnection | None = None
        self._over = False
        self.upstream = upstream
        self.computing = False
        self.sent_at = 0.0
        self.expected_s = 0.0

    @property
    def owner(self) -> Owner:
        return self._owner

    def begin(self, now: float) -> None:
        upstream = self.upstream
        load = upstream.load
        if upstream.watched:
            self.expected_s = load.expected_s(now)
        load.sent(now)
        connection = upstream.idle_connection()
        if connection is None:
            upstream.acquire(self)
        else:
            self._connection = connection
            self._owner.send(self, connection, now)

    def drop(self, now: float) -> None:
        """Nobody waits for it any more. An answer under way is not read to its end: closing tells the replica."""
        if self._over:
            return
        self._over = True
        upstream, connection = self.upstream, self._connection
        upstream.end(self, now)
        if connection is not None:
            self._connection = None
            upstream.discard(connection)
        else:
            upstream.give_up(self)

    def _end(self, now: float) -> None:
        self._over = True
        connection = self._connection
        self._connection = None
        self.upstream.end(self, now)
        if connection is not None:
            self.upstream.release(connection)

    # --- upstream.Waiter --------------------------------------------------------------------------------------------

    def on_connection(self, connection: ClientConnection) -> None:
        self._connection = connection
        self._owner.send(self, connection, self.upstream.clock())

    def on_unreachable(self, reason: str) -> None:
        self._end(self.upstream.clock())
        self._owner.unreachable(self, reason)

    # --- wire.http1.Receiver ----------------------------------------------------------------------------------------

    def on_interim(self, status: int) -> None:
        if status == 102:
            self.computing = True

    def on_response(self, status: int, headers: Headers, body: bytes) -> None:
        upstream, connection = self.upstream, self._connection
        now = upstream.clock()
        self._over, self._connection = True, None
        upstream.end(self, now, answered=True)
        assert connection is not None
        upstream.release(connection)
        self._owner.answered(self, status, headers, body, now)

    def on_lost(self, reason: str, started: bool) -> None:
        if self._over:
            return  # we closed it ourselves
        self._end(self.upstream.clock())
        self._owner.lost(self, reason)
