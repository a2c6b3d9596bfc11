"""Which kinds of replicas make up a count, where their prices differ: the cheapest that suffices.

To cover a capacity with whole replicas at the least price is a knapsack. It is searched exactly, kind after kind in the
order of price per speed; what is left, at the price per speed of the kinds to come, bounds each branch from below.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from math import ceil, isfinite

from plimsoll.core.scaling import ReplicaKind

_TINY = 1e-9
_TRIED = 2000  # branches; beyond, the best found so far stands (kinds of nearly the same price per speed)


def cheapest_mix(
    replicas: float, kinds: Sequence[ReplicaKind], *, least: int = 0, most: int | None = None
) -> Mapping[str, int]:
    """Counts by kind that together do what `replicas` of speed 1 do, `least` to `most` of them in all. Where that many
    can't do it, those that can do most. Empty where there are no kinds."""
    usable = [kind for kind in kinds if _usable(kind)]
    if not usable or replicas <= 0.0 >= least:
        return {}
    usable.sort(key=lambda kind: (kind.price_per_hour / kind.speed, -kind.speed, kind.name))
    search = _Search(usable, least, most)
    search.try_kind(0, float(replicas), 0.0, [])
    counts = search.best or _fastest(usable, most)
    return {kind.name: count for kind, count in zip(usable, counts, strict=True) if count}


def capacity_of(kinds: Sequence[ReplicaKind], most: int) -> float:
    """What the fastest `most` do, in replicas of speed 1."""
    usable = [kind for kind in kinds if _usable(kind)]
    return sum(kind.speed * count for kind, count in zip(usable, _fastest(usable, most), strict=True))


def _usable(kind: ReplicaKind) -> bool:
    sound = isfinite(kind.speed) and isfinite(kind.price_per_hour)
    return sound and kind.speed > _TINY and kind.price_per_hour >= 0.0 and kind.most != 0


def _fastest(kinds: Sequence[ReplicaKind], most: int | None) -> list[int]:
    left = 10**6 if most is None else most
    found = dict.fromkeys((kind.name for kind in kinds), 0)
    for kind in sorted(kinds, key=lambda kind: -kind.speed):
        found[kind.name] = left if kind.most is None else min(left, kind.most)
        left -= found[kind.name]
    return [found[kind.name] for kind in kinds]


@dataclass(slots=True)
class _Search:
    kinds: Sequence[ReplicaKind]  # cheapest per speed first
    least: int
    most: int | None
    best: list[int] | None = None
    price: float = float("inf")
    tried: int = 0

    def try_kind(self, index: int, left: float, price: float, counts: list[int]) -> None:
        """Every count of the kind that may be part of the best, the largest first: that is the greedy choice."""
        self.tried += 1
        used = sum(counts)
        lacking = self.least - used
        if left <= _TINY and lacking <= 0:
            if price < self.price - _TINY:
                self.best, self.price = counts + [0] * (len(self.kinds) - index), price
            return
        if index == len(self.kinds) or self.tried > _TRIED:
            return
        kind = self.kinds[index]
        if self.most is not None and left > (self.most - used) * max(one.speed for one in self.kinds[index:]) + _TINY:
            return
        if price + max(left, 0.0) * kind.price_per_hour / kind.speed >= self.price - _TINY:
            return
        enough = max(ceil(left / kind.speed - _TINY), lacking, 0)
        for bound in (kind.most, None if self.most is None else self.most - used):
            enough = enough if bound is None else min(enough, bound)
        for count in range(enough, -1, -1):
            if self.tried > _TRIED:
                break
            self.try_kind(index + 1, left - count * kind.speed, price + count * kind.price_per_hour, [*counts, count])
