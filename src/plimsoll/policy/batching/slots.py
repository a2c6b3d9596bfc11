"""How much waits before a moment: items counted in slots of time, for a prediction that must not walk the queue."""

_WIDTH_S = 0.01
_NEVER = 1e12  # seconds: moments may be infinite
_MOST = 256  # slots; with more of them each becomes twice as wide


class Slots:
    """`add` and `take` as requests come and go; `until(moment)` is right to one slot, never too small."""

    __slots__ = ("_items", "_per_s")

    def __init__(self) -> None:
        self._per_s = 1.0 / _WIDTH_S
        self._items: dict[int, int] = {}

    def add(self, moment: float, items: int) -> None:
        slot = int(min(moment, _NEVER) * self._per_s)
        held = self._items
        held[slot] = held.get(slot, 0) + items
        if len(held) > _MOST:
            self._widen()

    def take(self, moment: float, items: int) -> None:
        slot = int(min(moment, _NEVER) * self._per_s)
        left = self._items.get(slot, 0) - items
        if left > 0:
            self._items[slot] = left
        else:
            self._items.pop(slot, None)

    def until(self, moment: float) -> int:
        last = int(min(moment, _NEVER) * self._per_s)
        return sum(items for slot, items in self._items.items() if slot <= last)

    def _widen(self) -> None:
        self._per_s /= 2.0
        wider: dict[int, int] = {}
        for slot, items in self._items.items():
            wide = slot >> 1
            wider[wide] = wider.get(wide, 0) + items
        self._items = wider
