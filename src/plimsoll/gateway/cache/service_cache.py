"""One service's cache, as a request meets it.

    ask = cache.key(exchange, tenant, revision)          # None: this request has nothing to do with the cache
    if ask is not None and ask.may_read:
        cache.lookup(ask, now, then)                     # then(hit or None): at once, or within some 20 ms
    # hit.fresh: answer hit.lines, hit.body, `age: int(hit.age_s)`. Else keep it for a StaleCache fallback.
    if cache.flights.join(ask.key, request): …           # leads, and computes; else it waits for its leader's end
    cache.store(ask, revision, status, lines, body, now) # what the replica said; False: it is not for others
    landing(outcome, stored) and flights.done(ask.key) or flights.promote(ask.key)
    cache.answer(follower_ask, body)                     # the leader's answer with the follower's own id

A request that `may_read` not joins no flight either: its client asked for an answer newer than the question.
"""

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from plimsoll.core.snapshot import CacheView
from plimsoll.gateway.cache.key import CacheKey, Keyer
from plimsoll.gateway.cache.lines import may_keep
from plimsoll.gateway.cache.memory import MemoryStore
from plimsoll.gateway.cache.parts import with_id, without_id
from plimsoll.gateway.cache.stores import CacheStores, NoStore
from plimsoll.policy.caching import SingleFlight, is_fresh
from plimsoll.ports.cache_store import CacheStore, Entry
from plimsoll.telemetry.serving import CacheMetrics
from plimsoll.wire.http1 import Exchange


class Hit(Struct, frozen=True, gc=False):
    """An answer that was there. `fresh`: younger than the service's ttl. `lines`, `body`: ready to send."""

    lines: bytes
    body: bytes
    fresh: bool
    age_s: float


class ServiceCache:
    """Hits, misses and errors are counted in `metrics`; what is stale counts as a miss."""

    __slots__ = ("_at_once", "_metrics", "_service", "_store", "_stores", "_view", "flights", "key")

    def __init__(self, service: str, view: CacheView, stores: CacheStores, metrics: CacheMetrics) -> None:
        self._service, self._view, self._stores, self._metrics = service, view, stores, metrics
        self._use_key(view)
        # A waiter is the host's own; two requests are the same if `key` says so, whoever asks.
        self.flights: SingleFlight[bytes, Any] = SingleFlight()
        self._at_once: Callable[[bytes, float], Entry | None] | None = None
        self._store: CacheStore = self._open()

    @property
    def view(self) -> CacheView:
        return self._view

    def update(self, view: CacheView) -> None:
        """What is kept stays, unless it moves elsewhere or was purged (`epoch`). Another ttl holds for it, too."""
        before, self._view = self._view, view
        if view == before:
            return
        self._use_key(view)
        if (view.backend, view.url) != (before.backend, before.url):
            self._stores.release(self._store)
            self._store = self._open()
        elif view.max_bytes != before.max_bytes:
            self._stores.resize(self._store, view.max_bytes)
        if view.epoch != before.epoch:
            self._store.purge()

    def _use_key(self, view: CacheView) -> None:
        # Of an exchange, the tenant ("" where none is known) and the revision of the view, which is compared when the
        # answer is stored. None: this request has nothing to do with the cache.
        self.key: Callable[[Exchange, str, str], CacheKey | None] = Keyer(self._service, view).key

    def lookup(self, ask: CacheKey, now: float, then: Callable[[Hit | None], None]) -> None:
        """`then` is called exactly once, at once or later on the loop; the caller may have ended meanwhile."""

        at_once = self._at_once
        if at_once is not None:
            then(self._hit(ask, at_once(ask.key, now), now))
        else:
            self._store.get(ask.key, now, lambda entry: then(self._hit(ask, entry, now)))

    def _hit(self, ask: CacheKey, entry: Entry | None, now: float) -> Hit | None:
        metrics = self._metrics
        if entry is None:
            metrics.misses.value += 1
            return None
        fresh = is_fresh(entry.stored_at, self._view.ttl_s, now)
        (metrics.hits if fresh else metrics.misses).value += 1
        body = entry.body if ask.id is None else with_id(entry.body, ask.id)
        return Hit(entry.lines, body, fresh, entry.age_s(now))

    def store(self, ask: CacheKey, revision: str, status: int, lines: bytes, body: bytes, now: float) -> bool:
        """Keeps an answer whose outcome is ok. `revision`: of the replica that gave it; `lines`: its header lines that
        every client may see, without age, timing and ids. False: it is for nobody else, not for followers either."""
        if status != 200 or revision != ask.revision or not may_keep(lines):
            return False
        if ask.id is not None:
            plain = without_id(body)
            if plain is None:
                return False
            body = plain
        view = self._view
        self._store.put(ask.key, Entry(status, lines, bytes(body), now, now + view.ttl_s + view.stale_s), now)
        return True

    def answer(self, ask: CacheKey, body: bytes) -> bytes:
        """A leader's answer, as it goes to a follower who asked with `ask`."""
        if ask.id is None:
            return body
        plain = without_id(body)
        return body if plain is None else with_id(plain, ask.id)

    def close(self) -> None:
        """Its service was deleted, or has no cache any more. Requests that still wait for a leader get its answer."""
        self._stores.release(self._store)
        self._at_once = None
        self._store = NoStore()  # what is under way may still ask us to keep its answer

    def _open(self) -> CacheStore:
        store = self._stores.open(self._service, self._view, self._metrics.errors)
        # A store in memory needs no callback: two calls less a request.
        self._at_once = store.kept if isinstance(store, MemoryStore) else None
        self._metrics.bytes.read = lambda: store.kept_bytes
        return store
