"""Requests that wait at the gateway while no replica is ready, bounded in count and bytes."""

from collections.abc import Hashable
from heapq import heapify, heappop, heappush
from typing import Generic, TypeVar

_Item = TypeVar("_Item", bound=Hashable)


class HoldQueue(Generic[_Item]):
    """First come, first served. `bytes`: of what is held now."""

    __slots__ = ("_expiries", "_items", "_sequence", "bytes", "max_bytes", "max_count")

    def __init__(self, max_count: int, max_bytes: int) -> None:
        self.max_count = max_count
        self.max_bytes = max_bytes
        self.bytes = 0
        self._sequence = 0
        self._items: dict[_Item, tuple[float, int, int]] = {}  # in order of coming: until, bytes, sequence
        self._expiries: list[tuple[float, int, _Item]] = []  # entries of items that left stay until they come up

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
        heappush(self._expiries, (until, self._sequence, item))
        if len(self._expiries) > 2 * len(self._items) + 64:
            self._expiries = [entry for entry in self._expiries if self._alive(entry)]
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
            entry = heappop(self._expiries)
            if self._alive(entry):
                self.cancel(entry[2])
                expired.append(entry[2])
        return expired

    def cancel(self, item: _Item) -> bool:
        """False where it isn't held."""
        held = self._items.pop(item, None)
        if held is None:
            return False
        self.bytes -= held[1]
        return True

    def next_expiry(self) -> float | None:
        while self._expiries and not self._alive(self._expiries[0]):
            heappop(self._expiries)
        return self._expiries[0][0] if self._expiries else None

    def _alive(self, entry: tuple[float, int, _Item]) -> bool:
        held = self._items.get(entry[2])
        return held is not None and held[2] == entry[1]
