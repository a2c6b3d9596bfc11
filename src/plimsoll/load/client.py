"""Sends requests when a schedule says so, over as many connections as that takes.

A request that is due goes out on an idle connection, the one used last (so that few are kept warm), or waits for a new
one; with `connections` open it waits for one to come free. All that waiting counts: latency runs from the moment the
schedule named. Each request ends exactly once: by an answer, by its connection's loss, by the sweep that finds it
overdue, or by `stop`.
"""

import asyncio
from bisect import bisect_right
from collections import deque
from dataclasses import dataclass
from time import monotonic
from typing import Final

from plimsoll.core.errors import HostError
from plimsoll.core.outcome import Outcome
from plimsoll.insight.traffic import Arrivals
from plimsoll.load.alarm import new_alarm
from plimsoll.load.connect import connect
from plimsoll.load.outcomes import (
    ACCEPTED,
    CONNECT_FAILED,
    CONNECT_REFUSED,
    CONNECT_TIMEOUT,
    CONNECTION_LOST,
    HUNG,
    UNSENT,
    outcome_of,
)
from plimsoll.load.tally import Tally
from plimsoll.load.target import Target
from plimsoll.telemetry.server_timing import parse
from plimsoll.wire.http1 import Burst, ClientConnection

_TURN: Final = 64  # requests begun before answers are read again
_SWEEP_S: Final = 0.1
_PAUSE_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class LoadSettings:
    """`timeout_s`: without an answer for so long, a request is hung; without a connection, unsent. `deadline_s`: what
    comes later is no goodput."""

    connections: int = 1024
    timeout_s: float = 30.0
    deadline_s: float = 30.0
    connect_timeout_s: float = 5.0


class _Lane:
    """One connection and the request on it (a Receiver)."""

    __slots__ = ("_client", "busy", "connection", "intended", "overdue", "sent")

    def __init__(self, client: "OpenLoopClient", connection: ClientConnection) -> None:
        self._client = client
        self.connection = connection
        self.intended = 0.0
        self.sent = 0.0
        self.busy = False
        self.overdue = False

    def on_interim(self, status: int) -> None:
        pass

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        self._client.answered(self, status, headers, body)

    def on_lost(self, reason: str, started: bool) -> None:
        self._client.lost(self, reason)

    def on_closed(self, connection: ClientConnection) -> None:
        self._client.gone(self)


class OpenLoopClient:
    """`start`, await `done`; `stop` ends it early. `address`: `tcp:host:port`, resolved."""

    def __init__(self, target: Target, address: str, arrivals: Arrivals, settings: LoadSettings, tally: Tally) -> None:
        self._head, self._body = target.head, target.body
        self._tls, self._host = target.tls, target.host
        self._address = address
        self._arrivals = arrivals
        self._settings = settings
        self._tally = tally
        self._loop = asyncio.get_running_loop()
        self._burst = Burst()
        self._lanes: set[_Lane] = set()
        self._idle: list[_Lane] = []
        self._waiting: deque[float] = deque()  # when they should have been sent
        self._connecting: set[asyncio.Task[None]] = set()
        self._alarm = new_alarm(self._send_due)
        self._sweeper: asyncio.TimerHandle | None = None
        self._offering = False
        self._closed = False
        self._failing = False  # no connection is open, and the last attempt failed
        self._pausing = False
        self.in_flight = 0
        self.started = 0.0
        self.offered_until = 0.0
        self.done: asyncio.Future[None] = self._loop.create_future()
        self.last_failure = ""  # why a connection failed last

    @property
    def waiting(self) -> int:
        return len(self._waiting)

    def start(self) -> None:
        self.started = monotonic()
        self._offering = True
        self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)
        self._send_due()

    def stop_offering(self) -> None:
        """Nothing more is begun; `done` follows when all that was begun has ended."""
        if self._offering:
            self._offering = False
            self.offered_until = monotonic()
            self._alarm.clear()
        self._look_if_done()

    def close(self) -> None:
        """What has not ended is `cancelled`. Idempotent."""
        if self._closed:
            return
        self.stop_offering()
        self._closed = True
        cut_off = [lane.intended for lane in self._lanes if lane.busy]
        self._failed(Outcome.CANCELLED.value, *cut_off, *self._waiting)
        self.in_flight = 0
        self._waiting.clear()
        if self._sweeper is not None:
            self._sweeper.cancel()
        self._alarm.close()
        for task in self._connecting:
            task.cancel()
        for lane in tuple(self._lanes):
            lane.busy = False
            lane.connection.close()
        if not self.done.done():
            self.done.set_result(None)

    # Sending

    def _send_due(self) -> None:
        if not self._offering:
            return
        now, started = monotonic(), self.started
        for at in self._arrivals.take(now - started, _TURN):
            self._begin(started + at, now)
        following = self._arrivals.next
        if following is None:
            self._offering = False
            self.offered_until = monotonic()
            self._look_if_done()
        else:
            self._alarm.set(started + following)

    def _begin(self, intended: float, now: float) -> None:
        lag = now - intended
        self._tally.sent(lag)
        if self._idle:
            self._send(self._idle.pop(), intended)
        elif lag > self._settings.timeout_s:
            self._failed(UNSENT, intended)
        else:
            self._waiting.append(intended)
            self._connect()

    def _send(self, lane: _Lane, intended: float) -> None:
        lane.intended = intended
        lane.sent = monotonic()
        lane.busy = True
        self.in_flight += 1
        lane.connection.send(self._head, self._body, lane)

    def _connect(self) -> None:
        """One more connection, unless those under way are enough for all who wait."""
        connecting = len(self._connecting)
        most = 1 if self._failing else self._settings.connections - len(self._lanes)
        if not self._pausing and connecting < min(len(self._waiting), most):
            task = self._loop.create_task(self._open())
            self._connecting.add(task)
            task.add_done_callback(self._opened)

    async def _open(self) -> None:
        failure, reason = "", ""
        try:
            connection = await asyncio.wait_for(
                connect(self._address, tls=self._tls, server_name=self._host, burst=self._burst),
                self._settings.connect_timeout_s,
            )
        except TimeoutError:
            failure, reason = CONNECT_TIMEOUT, f"no connection within {self._settings.connect_timeout_s:g} s"
        except ConnectionRefusedError as error:
            failure, reason = CONNECT_REFUSED, error.strerror or str(error)
        except (OSError, HostError) as error:
            failure, reason = CONNECT_FAILED, str(error)
        if failure:
            self.last_failure = reason
            self._no_connection(failure)
            return
        if self._closed:
            connection.close()
            return
        self._failing = self._pausing = False
        lane = _Lane(self, connection)
        connection.on_closed = lane.on_closed
        self._lanes.add(lane)
        self._use(lane)

    def _no_connection(self, failure: str) -> None:
        """With other connections open it is one request's failure. With none it is that of all who wait: a failed
        attempt costs 0.25 ms, and one for each request would make this client late at 4,000/s. Until one succeeds
        there is one attempt at a time, and 5 ms between two."""
        count = min(len(self._waiting), 1)
        if not self._lanes:
            self._failing = self._pausing = True
            # A timeout is shared only by those who have waited as long.
            until = monotonic() - (self._settings.connect_timeout_s if failure == CONNECT_TIMEOUT else 0.0)
            count = max(count, bisect_right(self._waiting, until))
        self._failed(failure, *(self._waiting.popleft() for _ in range(count)))

    def _opened(self, task: asyncio.Task[None]) -> None:
        self._connecting.discard(task)
        if not self._closed:
            if not task.cancelled() and task.exception() is not None:  # a bug of ours: told, never swallowed
                self._loop.call_exception_handler({"message": "connecting failed", "exception": task.exception()})
                self._no_connection(CONNECT_FAILED)
            if self._failing:
                self._loop.call_later(_PAUSE_S, self._try_again)
            else:
                self._connect()
            self._look_if_done()

    def _try_again(self) -> None:
        self._pausing = False
        if not self._closed:
            self._connect()

    def _use(self, lane: _Lane) -> None:
        """A connection is free."""
        if not lane.connection.idle:
            self._connect()  # it ended with its answer: who waits needs another one
        elif self._waiting:
            self._send(lane, self._waiting.popleft())
        else:
            self._idle.append(lane)

    # Endings

    def answered(self, lane: _Lane, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if not lane.busy:
            return
        now = monotonic()
        lane.busy = False
        self.in_flight -= 1
        told: bytes | None = None
        queue_s = compute_s = -1.0
        for name, value in headers:
            if name == b"plimsoll-outcome":
                told = value
            elif name == b"server-timing":
                seconds = parse(value)
                queue_s, compute_s = seconds.get("queue", -1.0), seconds.get("compute", -1.0)
        outcome = outcome_of(status, told)
        intended = lane.intended
        self._tally.answered(outcome, now - intended, intended - self.started, queue_s, compute_s)
        if outcome not in ACCEPTED and outcome not in self._tally.refusals_seen:
            self._tally.refusals_seen[outcome] = f"{status} {body[:200].decode('utf-8', 'replace')}"
        self._use(lane)
        if not self._offering:
            self._look_if_done()

    def lost(self, lane: _Lane, reason: str) -> None:
        if not lane.busy:
            return
        lane.busy = False
        self.in_flight -= 1
        self._failed(HUNG if lane.overdue else CONNECTION_LOST, lane.intended)
        if not lane.overdue:
            self.last_failure = reason
        self._look_if_done()

    def gone(self, lane: _Lane) -> None:
        self._lanes.discard(lane)
        if lane in self._idle:
            self._idle.remove(lane)
        if not self._closed:
            self._connect()

    def _sweep(self) -> None:
        now = monotonic()
        oldest = now - self._settings.timeout_s
        for lane in tuple(self._lanes):
            if lane.busy and lane.sent < oldest and not lane.overdue:
                lane.overdue = True
                lane.connection.close()  # a late answer must not become the next request's; on_lost follows
        while self._waiting and self._waiting[0] < oldest:
            self._failed(UNSENT, self._waiting.popleft())
        self._look_if_done()
        if not self._closed:
            self._sweeper = self._loop.call_later(_SWEEP_S, self._sweep)

    def _failed(self, outcome: str, *intended: float) -> None:
        self._tally.failed(outcome, (at - self.started for at in intended))

    def _look_if_done(self) -> None:
        if not self._offering and not self.in_flight and not self._waiting and not self.done.done():
            self.done.set_result(None)
