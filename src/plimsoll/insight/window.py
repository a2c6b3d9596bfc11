"""What happened in the last `window_s` seconds: sketches and counts in a ring of slots.

A window covers the last `window_s` and up to one slot more. A clock that goes back is taken as standing still.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from plimsoll.insight.sketch import LogSketch

_Slot = TypeVar("_Slot")


class _Ring(Generic[_Slot]):
    """`slots` + 1 values of which the newest is being filled; older ones are emptied as time passes them."""

    __slots__ = ("_clear", "_end", "_newest", "_started", "slot_s", "slots")

    def __init__(self, window_s: float, slots: int, make: Callable[[], _Slot], clear: Callable[[_Slot], None]) -> None:
        if window_s <= 0 or slots < 1:
            raise ValueError(f"a window needs a length and slots, not {window_s} s in {slots}")
        self.slot_s = window_s / slots
        self.slots = [make() for _ in range(slots + 1)]
        self._clear = clear
        self._newest = 0
        self._end: float | None = None  # when the newest slot is over
        self._started = 0.0

    def at(self, now: float) -> _Slot:
        """The slot to fill."""
        end = self._end
        if end is None:
            self._end = now + self.slot_s
            self._started = now
        elif now >= end:
            self._turn(now, end)
        return self.slots[self._newest]

    def _turn(self, now: float, end: float) -> None:
        steps = int((now - end) / self.slot_s) + 1
        count = len(self.slots)
        for _ in range(min(steps, count)):
            self._newest = (self._newest + 1) % count
            self._clear(self.slots[self._newest])
        self._end = end + steps * self.slot_s

    def span_s(self, now: float) -> float:
        """How many seconds the slots cover."""
        self.at(now)
        begun = (self._end or now) - len(self.slots) * self.slot_s
        return max(now - max(begun, self._started), 0.0)


class WindowedSketch:
    """Quantiles of the last `window_s` seconds."""

    __slots__ = ("_ring",)

    def __init__(self, window_s: float, *, slots: int = 10) -> None:
        self._ring = _Ring(window_s, slots, LogSketch, LogSketch.clear)

    def observe(self, value: float, now: float) -> None:
        self._ring.at(now).observe(value)

    def sketch(self, now: float) -> LogSketch:
        """All of the window in one new sketch; some 0.2 ms, so take several quantiles from one."""
        self._ring.at(now)
        merged = LogSketch()
        for slot in self._ring.slots:
            merged.merge(slot)
        return merged

    def quantile(self, q: float, now: float) -> float | None:
        return self.sketch(now).quantile(q)

    def count(self, now: float) -> int:
        self._ring.at(now)
        return sum(slot.count for slot in self._ring.slots)

    def span_s(self, now: float) -> float:
        """How many seconds the window covers: less than `window_s` at first, then up to a slot more."""
        return self._ring.span_s(now)


class WindowedCounts:
    """How often each name was counted in the last `window_s` seconds. Names must be few: they are kept."""

    __slots__ = ("_ring",)

    def __init__(self, window_s: float, *, slots: int = 10) -> None:
        self._ring: _Ring[dict[str, int]] = _Ring(window_s, slots, dict, dict.clear)

    def observe(self, name: str, now: float, count: int = 1) -> None:
        slot = self._ring.at(now)
        slot[name] = slot.get(name, 0) + count

    def totals(self, now: float) -> dict[str, int]:
        self._ring.at(now)
        totals: dict[str, int] = {}
        for slot in self._ring.slots:
            for name, count in slot.items():
                totals[name] = totals.get(name, 0) + count
        return totals

    def span_s(self, now: float) -> float:
        """How many seconds the window covers: less than `window_s` at first, then up to a slot more."""
        return self._ring.span_s(now)
