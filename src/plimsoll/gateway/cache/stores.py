"""All stores of one gateway: services that name one server share its connections, and memory is shared out."""

import asyncio
import logging
from collections.abc import Callable
from urllib.parse import urlsplit

from plimsoll.core.errors import HostError
from plimsoll.core.snapshot import CacheBackend, CacheView
from plimsoll.core.units import format_bytes
from plimsoll.gateway.cache.memory import MemoryStore
from plimsoll.gateway.cache.memory_room import SHARE, memory_limit, shares
from plimsoll.gateway.cache.remote import Link, RemoteSettings, RemoteStore, Wire
from plimsoll.ports.cache_store import CacheStore, Entry
from plimsoll.telemetry.metrics import Cell

_log = logging.getLogger(__name__)


class NoStore:
    """Where none can be had: always a miss."""

    __slots__ = ()
    kept_bytes = 0

    def get(self, key: bytes, now: float, then: Callable[[Entry | None], None]) -> None:
        then(None)

    def put(self, key: bytes, entry: Entry, now: float) -> None: ...

    def purge(self) -> None: ...

    async def settle(self) -> None: ...

    def limit(self, max_bytes: int) -> None: ...

    def close(self) -> None: ...


def require(backend: CacheBackend) -> None:
    """Raises HostError with the pip line where the backend's package is missing: for whoever reads a service file."""
    if backend is CacheBackend.REDIS:
        import plimsoll.gateway.cache.redis  # noqa: F401 # raises it


class CacheStores:
    """`room_bytes`: for all caches in memory together; None: half of what the machine, or the control group, has,
    divided by `gateways` on it."""

    def __init__(
        self, settings: RemoteSettings | None = None, *, room_bytes: int | None = None, gateways: int = 1
    ) -> None:
        self._settings = settings or RemoteSettings()
        self._room_bytes = int(memory_limit() * SHARE / max(gateways, 1)) if room_bytes is None else room_bytes
        self._in_memory: list[MemoryStore] = []
        self._links: dict[tuple[CacheBackend, str], Link] = {}
        self._link_of: dict[int, tuple[CacheBackend, str]] = {}
        self._closing: set[asyncio.Task[None]] = set()
        self._said_short = False

    def open(self, service: str, view: CacheView, errors: Cell) -> CacheStore:
        """Never raises: what can't be had is said in the log, and is a cache that has nothing."""
        if view.backend is CacheBackend.MEMORY:
            memory = MemoryStore(view.max_bytes)
            self._in_memory.append(memory)
            self._share_out()
            return memory
        at = (view.backend, view.url)
        link = self._links.get(at)
        if link is None:
            try:
                wire = _wire(view.backend, view.url, self._settings)
            except (HostError, ValueError) as error:
                reason = error if isinstance(error, HostError) else f"{where(view.url)} is no URL of {view.backend}"
                _log.error("no cache: %s", reason, extra={"service": service})
                errors.value += 1
                return NoStore()
            link = self._links[at] = Link(wire, where(view.url), self._settings)
        link.users += 1
        store = RemoteStore(link, service, errors)
        self._link_of[id(store)] = at
        return store

    def resize(self, store: CacheStore, max_bytes: int) -> None:
        if isinstance(store, MemoryStore):
            store.wanted_bytes = max_bytes
            self._share_out()

    def release(self, store: CacheStore) -> None:
        """Its service has gone, or uses another one. The last user of a server closes its connections."""
        store.close()
        if isinstance(store, MemoryStore):
            self._in_memory.remove(store)
            self._share_out()
            return
        at = self._link_of.pop(id(store), None)
        if at is None:
            return
        link = self._links[at]
        link.users -= 1
        if not link.users:
            del self._links[at]
            task = asyncio.get_running_loop().create_task(link.close())
            self._closing.add(task)
            task.add_done_callback(self._closing.discard)

    async def close(self) -> None:
        """All of them, and what they had open."""
        links, self._links = list(self._links.values()), {}
        self._link_of.clear()
        for memory in self._in_memory:
            memory.close()
        self._in_memory.clear()
        await asyncio.gather(*(link.close() for link in links), *self._closing)

    def _share_out(self) -> None:
        wanted = [memory.wanted_bytes for memory in self._in_memory]
        for memory, max_bytes in zip(self._in_memory, shares(wanted, self._room_bytes), strict=True):
            memory.limit(max_bytes)
        if sum(wanted) > self._room_bytes and not self._said_short:
            self._said_short = True
            _log.warning(
                "caches want %s of memory and get %s, half of what this gateway may use",
                format_bytes(sum(wanted)), format_bytes(self._room_bytes),
            )  # fmt: skip


def _wire(backend: CacheBackend, url: str, settings: RemoteSettings) -> Wire:
    # Imported here: a gateway without such a cache needs neither the package nor the time to load it.
    if backend is CacheBackend.REDIS:
        from plimsoll.gateway.cache.redis import RedisWire

        return RedisWire(url, settings)
    from plimsoll.gateway.cache.memcached import MemcachedWire

    return MemcachedWire(url, settings)


def where(url: str) -> str:
    """A URL as it may be shown: without user, password and options."""
    try:
        parts = urlsplit(url)
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        return "(an unreadable URL)"
    if not parts.scheme:
        return "(an unreadable URL)"
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}"
