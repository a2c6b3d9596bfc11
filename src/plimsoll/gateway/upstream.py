"""One replica as this gateway sees it: its connections, and what `policy.routing.Fleet` asks of it."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import TYPE_CHECKING, Protocol

from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import Endpoint
from plimsoll.gateway.probe import Probe
from plimsoll.gateway.replica_tls import ReplicaTls
from plimsoll.policy.admission import ConcurrencyLimit
from plimsoll.policy.routing import Overdue, Reach, ReplicaLoad
from plimsoll.wire.http1 import Burst, ClientConnection, ClientTls

if TYPE_CHECKING:
    from plimsoll.gateway.attempt import Attempt

_log = logging.getLogger(__name__)
_OVERLOADED = frozenset({Outcome.SHED, Outcome.EXPIRED})
_CONNECT_S = 1.5  # an address that swallows packets must not keep requests; one lost SYN is sent again after 1 s
_CONNECTING = 32  # attempts at once: a burst of thousands would overrun the replica's backlog


class Waiter(Protocol):
    """Somebody who wants a connection."""

    def on_connection(self, connection: ClientConnection) -> None: ...

    def on_unreachable(self, reason: str) -> None: ...


class Upstream:
    """`load` counts requests given to it and not yet ended, those that wait for a connection too. `watched`: whether
    there are others, so that it matters when it is overdue."""

    __slots__ = (
        "_burst", "_connecting", "_idle", "_load", "_max_connections", "_max_idle", "_open", "_probe", "_tasks", "_tls",
        "_unused", "_waiting", "clock", "endpoint", "gone", "limit", "load", "name", "overdue", "reach", "revision",
        "revision_line", "watched",
    )  # fmt: skip

    def __init__(
        self,
        endpoint: Endpoint,
        *,
        max_idle: int,
        max_connections: int,
        burst: Burst | None = None,
        tls: ReplicaTls | None = None,
    ) -> None:
        self._burst = burst
        self._tls = tls
        self.clock = monotonic
        self.load = ReplicaLoad()
        self.overdue: Overdue[Attempt] = Overdue()
        self.limit: ConcurrencyLimit | None = None
        self.watched = False
        self._load = (b"", 0.0, 0.0)  # the last report as it came, and read
        self.reach = Reach()
        self.gone = False  # no longer in the snapshot: what it has is finished, nothing is kept
        self._probe: Probe | None = None
        self._idle: list[ClientConnection] = []
        self._unused = 0  # how many of `_idle`, from the bottom, nobody has used since the last `trim`
        self._open = 0
        self._connecting = 0
        self._waiting: deque[Waiter] = deque()
        self._max_idle = max_idle
        self._max_connections = max_connections
        self._tasks: set[asyncio.Task[None]] = set()
        self.describe(endpoint)

    def describe(self, endpoint: Endpoint) -> None:
        """What the newest snapshot says of it; the address stays."""
        self.endpoint = endpoint
        self.name = endpoint.replica
        self.revision = endpoint.revision
        self.revision_line = revision_line(endpoint.revision)

    # --- requests ---------------------------------------------------------------------------------------------------

    @property
    def outstanding(self) -> int:
        return self.load.outstanding

    def end(self, attempt: "Attempt", now: float, *, answered: bool = False) -> None:
        self.load.ended(now, now - attempt.sent_at if answered else None)
        if self.watched or len(self.overdue):  # it may have been watched when this one was sent
            self.overdue.ended(attempt, now, answered=answered)

    def answered(self, load: bytes, outcome: Outcome, seconds: float, now: float) -> None:
        """`load`: the value of its `endpoint-load-metrics`, empty where it says nothing; `seconds`: since it was sent.

        One that never says how busy it is (another server than ours) gets a bound that finds itself."""
        if load:
            if load == self._load[0] or self._read(load):
                _, wait_s, item_s = self._load
                self.load.report(wait_s, item_s, now)
            self.limit = None
            return
        if self.limit is None:
            self.limit = ConcurrencyLimit()
        self.limit.observe(seconds, self.outstanding + 1, outcome not in _OVERLOADED, now)

    def _read(self, load: bytes) -> bool:
        """Of ORCA's text form the end: what a newcomer would wait, and what one more item costs. False: it is another
        server's, and says neither."""
        _, _, values = load.partition(b"named_metrics.wait_ms=")
        wait, _, item = values.partition(b",named_metrics.item_ms=")
        try:
            self._load = (load, float(wait) / 1000, float(item) / 1000)
        except ValueError:
            return False
        return True

    # --- signs of life ----------------------------------------------------------------------------------------------

    def probe(self, on_alive: Callable[[], None]) -> None:
        """Asks it for one; the one before is given up."""
        _log.warning("replica is silent: it gets no request until it shows life", extra={"replica": self.name})
        if self._probe is not None:
            self._probe.cancel()
        self._probe = Probe(self.endpoint.address, on_alive, self._shown())

    def _shown(self) -> ClientTls | None:
        return None if self._tls is None else self._tls.current

    # --- connections ------------------------------------------------------------------------------------------------

    def idle_connection(self) -> ClientConnection | None:
        """One that is open and free; None: `acquire` one."""
        idle = self._idle
        while idle:
            connection = idle.pop()  # the last used is the least likely to have been closed meanwhile
            if len(idle) < self._unused:
                self._unused = len(idle)
            if not connection.closed:
                return connection
            self._open -= 1
        return None

    def acquire(self, waiter: Waiter) -> None:
        """Leads to exactly one call of `waiter`, later."""
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

    def trim(self) -> None:
        """Closes what nobody has used since the last call. Called more often than a replica closes idle connections:
        a request sent into a connection that is just being closed would look like a loss."""
        idle = self._idle
        for connection in idle[: self._unused]:
            connection.close()
        kept = [connection for connection in idle[self._unused :] if not connection.closed]
        self._open -= len(idle) - len(kept)
        self._idle = kept
        self._unused = len(kept)

    def retire(self) -> None:
        self.gone = True
        self.watched = False  # what becomes of its requests says nothing about one that has its name now
        for connection in self._idle:
            connection.close()
        self._open -= len(self._idle)
        self._idle.clear()
        self._unused = 0
        if self._probe is not None:
            self._probe.cancel()
            self._probe = None

    def _connect_if_short(self) -> None:
        """One connection for each that waits, as far as the limits go."""
        while (
            self._connecting < len(self._waiting)
            and self._connecting < _CONNECTING
            and self._open + self._connecting < self._max_connections
        ):
            self._connecting += 1
            task = asyncio.get_running_loop().create_task(self._connect())
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)

    async def _connect(self) -> None:
        try:
            async with asyncio.timeout(_CONNECT_S):
                address = self.endpoint.address
                connection = await ClientConnection.connect(address, burst=self._burst, tls=self._shown())
        except Exception as error:  # also an address that is none: whoever waits must hear
            self._connecting -= 1
            self._unreachable(error)
            return
        self._connecting -= 1
        self._open += 1
        if self.reach.reached():
            _log.info("replica reachable again", extra={"replica": self.name})
        self.release(connection)
        self._connect_if_short()

    def _unreachable(self, error: Exception) -> None:
        if isinstance(error, BlockingIOError) and self._open:
            return  # its backlog is full, it lives: the connections there are will come free
        # Everybody who waits learns at once: the next connection would be refused as this one was.
        if self.reach.unreachable(self.clock()) and not self.gone:  # once an outage
            _log.warning("replica unreachable: %s", _why(error), extra={"replica": self.name})
        reason = f"replica {self.name} does not answer: {_why(error)}"
        waiting, self._waiting = self._waiting, deque()
        for waiter in waiting:
            waiter.on_unreachable(reason)


def revision_line(revision: str) -> bytes:
    return b"plimsoll-revision: %b\r\n" % revision.encode()


def _why(error: Exception) -> str:
    if isinstance(error, TimeoutError):
        return f"no connection within {_CONNECT_S:g} s"
    return (error.strerror if isinstance(error, OSError) else None) or str(error)
