"""What is kept in memory: the entries used last, as many as fit.

Bytes, not entries, are the bound: answers of 20 bytes and of 2 MB share one cache. An entry counts with what Python
needs to keep it (its size's own business), so that the process grows by about `max_bytes` and not by twice that.

An OrderedDict is exact and costs 0.1 us a hit. The price at half a million entries: 30 ms each time its table grows,
and as much in a full garbage collection, which our hosts let happen once in some hundred million allocations.
"""

from collections import OrderedDict
from collections.abc import Hashable
from typing import Generic, Protocol, TypeVar

LARGEST_SHARE = 0.25  # of the space: one larger entry would throw out what many requests need


class Kept(Protocol):
    @property
    def size(self) -> int:
        """Bytes, all included. Never changes."""
        ...

    @property
    def until(self) -> float:
        """When it is of no use to anybody: its time to live and, after it, the time it may be shown as stale."""
        ...


_Key = TypeVar("_Key", bound=Hashable)
_Entry = TypeVar("_Entry", bound=Kept)


class Lru(Generic[_Key, _Entry]):
    """`bytes`: of what is kept now, never over `max_bytes`."""

    __slots__ = ("_entries", "bytes", "evicted", "max_bytes")

    def __init__(self, max_bytes: int) -> None:
        self.max_bytes = max_bytes
        self.bytes = 0
        self.evicted = 0  # thrown out for want of space, since the beginning
        self._entries: OrderedDict[_Key, _Entry] = OrderedDict()

    def __len__(self) -> int:
        """Those whose time is over included: they go when they are asked for, or when their space is needed."""
        return len(self._entries)

    def get(self, key: _Key, now: float) -> _Entry | None:
        """Also what is no longer fresh, until its `until`."""
        entry = self._entries.get(key)
        if entry is None:
            return None
        if now >= entry.until:
            self.discard(key)
            return None
        self._entries.move_to_end(key)
        return entry

    def put(self, key: _Key, entry: _Entry, now: float) -> bool:
        """False where it is too large or over already; what was there under `key` is gone in any case."""
        before = self._entries.pop(key, None)
        if before is not None:
            self.bytes -= before.size
        size = entry.size
        if size > self.max_bytes * LARGEST_SHARE or now >= entry.until:
            return False
        self._entries[key] = entry
        self.bytes += size
        if self.bytes > self.max_bytes:
            self._evict()
        return True

    def discard(self, key: _Key) -> None:
        entry = self._entries.pop(key, None)
        if entry is not None:
            self.bytes -= entry.size

    def resize(self, max_bytes: int) -> None:
        """A smaller space holds at once."""
        self.max_bytes = max_bytes
        self._evict()

    def purge(self) -> None:
        self._entries = OrderedDict()
        self.bytes = 0

    def _evict(self) -> None:
        entries = self._entries
        while self.bytes > self.max_bytes:
            _, entry = entries.popitem(last=False)
            self.bytes -= entry.size
            self.evicted += 1
