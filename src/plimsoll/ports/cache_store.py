"""Where computed answers are kept: this process's memory, Redis, Memcached.

A store is a help, never a duty: what it can't say in time is a miss, and nothing of it raises. One suite runs over all
of them (`tests/contracts/test_cache_stores.py`). Callbacks, not coroutines: a hit in memory must cost no task.
"""

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct


class Entry(Struct, frozen=True, gc=False):
    """One answer. `lines`: its header lines (content type and the like), each ending in CRLF. `stored_at`, `until`:
    seconds of this process's monotonic clock, whichever machine stored it; from `until` on it is of no use.

    gc=False: half a million of these are nothing for the garbage collector to look at, as they can't hold each other.
    """

    status: int
    lines: bytes
    body: bytes
    stored_at: float
    until: float

    @property
    def size(self) -> int:
        """Bytes that keeping it takes, the store's own share included."""
        return OVERHEAD + len(self.body) + len(self.lines)

    def age_s(self, now: float) -> float:
        return max(0.0, now - self.stored_at)


# The entry 64, its key of 20 bytes 64, two floats 64, the heads of body and lines 66, their rounding, and the dict's
# table and order, 130 to 260: it is half empty after it grew. The process grows by 0.9 to 1.15 of what is counted, for
# answers of 20 bytes to 400 kB and all sizes mixed (tests/unit/gateway/cache/test_memory_store.py).
OVERHEAD = 500


class CacheStore(Protocol):
    """One service's. All calls are made on the loop's thread."""

    def get(self, key: bytes, now: float, then: Callable[[Entry | None], None]) -> None:
        """`then` is called exactly once: at once, or later on the loop, within a bounded time. None: not there, or
        nobody knows. Entries that are no longer fresh are given, too, until their `until`."""
        ...

    def put(self, key: bytes, entry: Entry, now: float) -> None:
        """Keeps it until `entry.until`, or shorter; now, or a little later, or not at all."""
        ...

    def purge(self) -> None:
        """Begins to empty it, as well as it can. Entries of other services stay."""
        ...

    async def settle(self) -> None:
        """Returns when what was put or purged so far has been done, or given up."""
        ...

    def limit(self, max_bytes: int) -> None:
        """How much it may keep, where it keeps it itself."""
        ...

    @property
    def kept_bytes(self) -> int:
        """Kept in this process; 0 where it is kept elsewhere."""
        ...

    def close(self) -> None:
        """No `then` is left uncalled. Neither get nor put is called again."""
        ...
