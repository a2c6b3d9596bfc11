"""A store on the network, as the hot path may use it: what is asked in one turn of the loop goes out as one command,
nobody waits longer than `answer_s`, and nobody at all while it is down.

`Link` is one server's, whichever services use it; `RemoteStore` one service's view of it; `Wire` speaks its protocol.
"""

import asyncio
import logging
import time
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from functools import partial
from typing import Any, Protocol

from plimsoll.gateway.cache import frame
from plimsoll.policy.caching import Breaker, Use
from plimsoll.ports.cache_store import Entry
from plimsoll.telemetry.metrics import Cell

_log = logging.getLogger(__name__)
Name = tuple[str, bytes]  # a service and a key
Then = Callable[[Entry | None], None]


@dataclass(frozen=True, slots=True)
class RemoteSettings:
    answer_s: float = 0.02  # a lookup that takes longer is a miss: a model is asked instead
    command_s: float = 1.0  # for what no request waits for: storing, probing
    commands: int = 8  # lookups under way at once, each on a connection of its own
    keys: int = 128  # in one command
    largest_bytes: int = 2**20  # of a value: 8 ms on a gigabit line, and what Memcached takes by default
    unsaved_bytes: int = 8 * 2**20  # that wait to be stored; more are let go


class Wire(Protocol):
    """Coroutines raise whatever the client library raises; a cancelled one leaves no answer for the next to read."""

    async def fetch(self, names: list[Name]) -> list[bytes | None]: ...

    async def save(self, values: list[tuple[Name, bytes, float]]) -> None:
        """(name, value, seconds to keep it)."""
        ...

    async def purge(self, service: str) -> None: ...

    async def ping(self) -> None: ...

    async def close(self) -> None: ...


class _Lookups:
    """What one command asks for. Ends once: `thens` is empty from then on."""

    __slots__ = ("due", "names", "patient", "stores", "task", "thens", "timer")

    def __init__(self) -> None:
        self.names: list[Name] = []
        self.stores: list[RemoteStore] = []
        self.thens: list[Then] = []
        self.timer: asyncio.TimerHandle | None = None
        self.due = 0.0
        self.patient = False  # it was given more time, as the loop was late
        self.task: asyncio.Task[None] | None = None


class Link:
    def __init__(
        self,
        wire: Wire,
        where: str,
        settings: RemoteSettings,
        now: Callable[[], float] = time.monotonic,
        wall: Callable[[], float] = time.time,
    ) -> None:
        """`where`: for logs, without a password."""
        self._wire, self._where, self._settings = wire, where, settings
        self._now, self._wall = now, wall
        self._loop = asyncio.get_running_loop()
        self._breaker = Breaker()
        self._asking: _Lookups | None = None  # open until this turn of the loop ends
        self._ready: deque[_Lookups] = deque()
        self._under_way: set[_Lookups] = set()
        self._unsaved: dict[Name, tuple[RemoteStore, bytes, float]] = {}
        self.unsaved_bytes = 0
        self._saver: asyncio.Task[None] | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self.users = 0

    # --- asking -----------------------------------------------------------------------------------------------------

    def get(self, store: "RemoteStore", key: bytes, now: float, then: Then) -> None:
        use = self._breaker.ask(now)
        if use is not Use.YES:
            if use is Use.PROBE:
                self._start(self._probe())
            then(None)
            return
        asking = self._asking
        if asking is None or len(asking.names) >= self._settings.keys:
            if asking is None:
                self._loop.call_soon(self._turn_ends)
            asking = self._asking = _Lookups()
            self._ready.append(asking)
            asking.due = self._loop.time() + self._settings.answer_s
            asking.timer = self._loop.call_at(asking.due, self._overdue, asking)
        asking.names.append((store.service, key))
        asking.stores.append(store)
        asking.thens.append(then)

    def _turn_ends(self) -> None:
        self._asking = None
        self._send()

    def _send(self) -> None:
        while self._ready and len(self._under_way) < self._settings.commands:
            lookups = self._ready.popleft()
            if lookups.thens:
                self._under_way.add(lookups)
                lookups.task = self._start(self._fetch(lookups))
                # Not a `finally` of its own: one that is cancelled before its first step would never come to it.
                lookups.task.add_done_callback(partial(self._ended, lookups))

    def _ended(self, lookups: _Lookups, task: asyncio.Task[None]) -> None:
        self._under_way.discard(lookups)
        self._send()

    async def _fetch(self, lookups: _Lookups) -> None:
        try:
            values = await self._wire.fetch(lookups.names)
        except asyncio.CancelledError:
            raise
        except Exception as error:  # whatever a client library has to say: nobody's request may fail of it
            self._failed(str(error) or type(error).__name__, lookups)
        else:
            self._answer(lookups, values)

    def _answer(self, lookups: _Lookups, values: list[bytes | None]) -> None:
        thens = _end(lookups)
        if not thens:
            return
        now, wall = self._now(), self._wall()
        for then, (_, key), store, value in zip(thens, lookups.names, lookups.stores, values, strict=True):
            entry = None
            if value is not None:
                try:
                    entry = frame.decode(value, key, now, wall)
                except frame.Garbage:
                    store.errors.value += 1
            self._call(then, entry)

    def _overdue(self, lookups: _Lookups) -> None:
        answer_s = self._settings.answer_s
        if not lookups.patient and self._loop.time() - lookups.due > answer_s / 4:
            # It is we who are late: the answer may lie in the socket, which is read after the timers have run.
            lookups.patient = True
            lookups.timer = self._loop.call_later(answer_s, self._overdue, lookups)
            return
        self._failed(f"no answer within {answer_s * 1000:.0f} ms", lookups)

    # --- storing ----------------------------------------------------------------------------------------------------

    def put(self, store: "RemoteStore", key: bytes, entry: Entry, now: float) -> None:
        if not self._breaker.closed:
            return
        value = frame.encode(key, entry, now, self._wall())
        if len(value) > self._settings.largest_bytes:
            return
        if self.unsaved_bytes + len(value) > self._settings.unsaved_bytes:
            return  # it can't keep up: better a miss later than memory now
        name = (store.service, key)
        known = self._unsaved.get(name)
        self.unsaved_bytes += len(value) - (len(known[1]) if known else 0)
        self._unsaved[name] = (store, value, entry.until - now)
        if self._saver is None or self._saver.done():
            self._saver = self._start(self._save())

    async def _save(self) -> None:
        while self._unsaved:
            batch = list(self._unsaved.items())[: self._settings.keys]
            for name, (_, value, _) in batch:
                del self._unsaved[name]
                self.unsaved_bytes -= len(value)
            try:
                async with asyncio.timeout(self._settings.command_s):
                    await self._wire.save([(name, value, keep_s) for name, (_, value, keep_s) in batch])
            except Exception as error:
                for _, (store, _, _) in batch:
                    store.errors.value += 1
                self._failed(str(error) or "storing took too long")
                return

    # --- purging, probing, failing ----------------------------------------------------------------------------------

    def purge(self, store: "RemoteStore") -> None:
        for name in [name for name in self._unsaved if name[0] == store.service]:
            self.unsaved_bytes -= len(self._unsaved.pop(name)[1])
        self._start(self._purge(store))

    async def _purge(self, store: "RemoteStore") -> None:
        try:
            await self._wire.purge(store.service)  # a large Redis takes seconds to look through: no limit
        except Exception as error:
            store.errors.value += 1
            _log.warning(
                "cache not purged at %s: %s; its old answers are not used again, and go when their time is over",
                self._where, error, extra={"service": store.service},
            )  # fmt: skip

    async def _probe(self) -> None:
        try:
            async with asyncio.timeout(self._settings.command_s):
                await self._wire.ping()
        except Exception:
            self._breaker.failed(self._now())
        else:
            if self._breaker.worked():
                _log.info("cache store answers again", extra={"at": self._where})

    def _failed(self, reason: str, lookups: _Lookups | None = None) -> None:
        """Nobody waits any more: neither who asked in `lookups`, nor who asked beside it."""
        if self._breaker.failed(self._now()):
            _log.warning("cache store failed, going on without: %s", reason, extra={"at": self._where})
        waiting = [*self._under_way, *self._ready]
        if lookups is not None and lookups not in self._under_way:
            waiting.append(lookups)
        self._ready.clear()
        self._unsaved.clear()
        self.unsaved_bytes = 0
        for each in waiting:
            if each.task is not None and each.task is not asyncio.current_task():
                each.task.cancel()
            for then, store in zip(_end(each), each.stores, strict=False):  # it may have ended already
                store.errors.value += 1
                self._call(then, None)

    def _call(self, then: Then, entry: Entry | None) -> None:
        try:
            then(entry)
        except Exception as error:  # one request's bug is not the next one's
            self._loop.call_exception_handler({"message": "a cache lookup's answer failed", "exception": error})

    def _start(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        return task

    async def settle(self) -> None:
        while self._tasks:
            await asyncio.wait(set(self._tasks))

    async def close(self) -> None:
        """Whoever still waits gets nothing; what was not stored yet is not stored."""
        waiting = [*self._under_way, *self._ready]
        self._ready.clear()
        self._unsaved.clear()
        for each in waiting:
            for then in _end(each):
                self._call(then, None)
        for task in self._tasks:
            task.cancel()
        await self.settle()
        try:
            async with asyncio.timeout(self._settings.command_s):
                await self._wire.close()
        except Exception as error:
            _log.debug("closing the cache store's connections: %s", error)


def _end(lookups: _Lookups) -> list[Then]:
    thens, lookups.thens = lookups.thens, []
    if lookups.timer is not None:
        lookups.timer.cancel()
        lookups.timer = None
    return thens


class RemoteStore:
    """One service's. `errors` counts lookups and writes that failed; what is not even tried in an outage is none."""

    __slots__ = ("_link", "errors", "service")

    def __init__(self, link: Link, service: str, errors: Cell) -> None:
        self._link, self.service, self.errors = link, service, errors

    def get(self, key: bytes, now: float, then: Then) -> None:
        self._link.get(self, key, now, then)

    def put(self, key: bytes, entry: Entry, now: float) -> None:
        self._link.put(self, key, entry, now)

    def purge(self) -> None:
        self._link.purge(self)

    async def settle(self) -> None:
        await self._link.settle()

    def limit(self, max_bytes: int) -> None:
        """The server's own settings say how much it keeps."""

    @property
    def kept_bytes(self) -> int:
        return 0

    def close(self) -> None:
        """Its lookups under way end as the link's do; the link goes with its last user (`CacheStores`)."""
