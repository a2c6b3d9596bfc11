"""Requests that wait at the gateway while no replica is ready: how many, how long, and what time they have after it."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

_Item = TypeVar("_Item", bound=Hashable)


class HoldQueue(Generic[_Item]):
    """First come, first served. `bytes`: of what is held now."""

    __slots__ = ("_by_sequence", "_expiries", "_items", "_sequence", "bytes", "max_bytes", "max_count")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bytes = 0
        self._sequence = 0
        self._items: dict[_Item, tuple[float, int, int]] = {}  # in order of coming: until, bytes, sequence
        self._by_sequence: dict[int, _Item] = {}
        # Entries of items that left stay until they come up. Numbers only: an item may keep megabytes.
        self._expiries: list[tuple[float, int]] = []

    def __len__(self) -> int:
        return len(self._items)

    def push(self, item: _Item, size: int, until: float, now: float) -> bool:
        """False where it doesn't fit, its time is over, or it is held already. `size`: bytes it keeps in memory."""
        if until <= now or len(self._items) >= self.max_count or self.bytes + size > self.max_bytes:
            return False
        if item in self._items:
            return False
        self._sequence += 1
        self._items[item] = (until, size, self._sequence)
        self.bytes += size
        self._by_sequence[self._sequence] = item
        heappush(self._expiries, (until, self._sequence))
        if len(self._expiries) > 2 * len(self._items) + 64:
            self._expiries = [entry for entry in self._expiries if entry[1] in self._by_sequence]
            heapify(self._expiries)
        return True

    def release(self, now: float) -> list[_Item]:
        """Takes out, in order of coming, those still in time. The others stay for `expire`."""
        released = [item for item, (until, _, _) in self._items.items() if until > now]
        for item in released:
            self.cancel(item)
        return released

    def expire(self, now: float) -> list[_Item]:
        """Takes out those whose time is over, the earliest first."""
        expired = []
        while self._expiries and self._expiries[0][0] <= now:
            item = self._by_sequence.get(heappop(self._expiries)[1])
            if item is not None:
                self.cancel(item)
                expired.append(item)
        return expired

    def cancel(self, item: _Item) -> bool:
        """False where it isn't held."""
        held = self._items.pop(item, None)
        if held is None:
            return False
        self.bytes -= held[1]
        del self._by_sequence[held[2]]
        return True

    def next_expiry(self) -> float | None:
        while self._expiries and self._expiries[0][1] not in self._by_sequence:
            heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None


def hold_until(arrived: float, deadline: float, named: float | None, hold_s: float, *, sent: bool) -> float:
    """How long a request may wait for a replica: until the deadline that its client `named`, else as long as its
    service lets it. What a replica has had already (`sent`) waits for no first one any more: its deadline stands."""
    if sent:
        return deadline
    return arrived + hold_s if named is None else named


def deadline_after(now: float, deadline: float, named: float | None, timeout_s: float, *, sent: bool) -> float:
    """The deadline of a request that was held until `now`. The service's timeout begins when there is somebody to
    answer; the client's own goes on."""
    if sent:
        return deadline
    return now + timeout_s if named is None else min(now + timeout_s, named)
