"""Room shared among services that want more than there is: nobody starves, priorities first, then whoever would break
its budget most per replica.

Replicas are handed out one by one, in three rounds: one to everybody, everybody's least, the rest. In each round higher
priorities come first; within a priority the next replica goes where it saves the most requests a second from being
late or refused. That greedy choice is the best there is where returns diminish (each replica saves no more than the one
before): among sums of concave functions every exchange of two replicas only loses. Where they don't diminish, as for a
queue without admission that answers nobody in time until it has its fifth replica, a step counts as spread over the
replicas that lead to it (the upper concave hull of what is saved); then at most the last step handed out is cut short,
and the result is within that one step of the best.

The order doesn't depend on how much room there is, so with more room nobody gets less.
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from heapq import heapify, heappop, heapreplace
from itertools import groupby, pairwise

# A replica moves only to where it saves twice as much as where it is: a move costs a cold start, and two services that
# save about the same would swap it each second. Ten jobs on 32 replicas for 40 minutes, by this (bench/sharing.py):
# 0: 2.5% missed, 1,311 moves; 0.25: 2.3%, 734; 1: 2.3%, 402; 3: 2.4%, 238.
STICK = 1.0


@dataclass(frozen=True, slots=True)
class Want:
    """One service's wish. `miss`: the share of its requests missed with so many replicas, by count (a sequence's last
    entry holds beyond its end). `rate`: its requests a second. `has`: replicas it has now. `allowed`: the share its
    budget allows to be late: misses beyond it count ten times those within. `weight`: what a request of it is worth.
    `needs`: what a replica takes, by resource, where room is given by resource."""

    service: str
    least: int
    wanted: int
    miss: Callable[[int], float] | Sequence[float] = ()
    rate: float = 1.0
    priority: int = 0
    weight: float = 1.0
    has: int = 0
    allowed: float = 0.0
    needs: Mapping[str, float] = field(default_factory=dict)


def share(wants: Sequence[Want], room: int | Mapping[str, float], *, stick: float = STICK) -> dict[str, int]:
    """Replicas by service, none more than `wanted`; `wanted` where there is room for all. `room`: replicas, or capacity
    by resource (one that is missing has no bound). Deterministic, and the same whatever order `wants` come in."""
    granted = dict.fromkeys((want.service for want in sorted(wants, key=lambda want: want.service)), 0)
    if len(granted) != len(wants):
        raise ValueError("a service is there twice")
    if isinstance(room, int) and sum(want.wanted for want in wants) <= room:
        return granted | {want.service: max(want.wanted, 0) for want in wants}
    left = _Left(room)
    ladders = [_Ladder(want, left.size(want), stick) for want in wants]
    rounds: list[Callable[[Want], int]] = [lambda _: 1, lambda want: want.least, lambda want: want.wanted]
    for upto in rounds:
        by_priority = sorted(ladders, key=lambda ladder: -ladder.want.priority)
        for _, group in groupby(by_priority, key=lambda ladder: ladder.want.priority):
            _hand_out(list(group), upto, left, granted)
    return granted


def regret(missed: float, allowed: float = 0.0) -> float:
    """What a share missed counts for: what the budget allows a tenth, and the more of a service is missed the more its
    next one, by a fifth at most. Under overload each replica saves as many requests wherever it goes; this decides for
    whoever is worst off. Rising and convex, so that diminishing returns stay so."""
    return missed - 0.9 * min(missed, allowed) + 0.1 * missed * missed


def _hand_out(
    ladders: Sequence["_Ladder"], upto: Callable[[Want], int], left: "_Left", granted: dict[str, int]
) -> None:
    """Of one priority: the best next replica first, each service up to `upto` of its wish."""

    def next_of(ladder: "_Ladder") -> tuple[float, str, _Ladder] | None:
        count = granted[ladder.want.service]
        wanted = min(upto(ladder.want), ladder.want.wanted)
        return (-ladder.worth(count + 1), ladder.want.service, ladder) if count < wanted else None

    heap = [entry for entry in map(next_of, ladders) if entry is not None]
    heapify(heap)
    while heap:
        ladder = heap[0][2]
        following = None
        if left.take(ladder.want):
            granted[ladder.want.service] += 1
            following = next_of(ladder)
        # What doesn't fit now won't later: room only shrinks.
        if following is None:
            heappop(heap)
        else:
            heapreplace(heap, following)


class _Ladder:
    """What each further replica of a service is worth, never rising."""

    def __init__(self, want: Want, size: float, stick: float) -> None:
        self.want = want
        worth = want.weight * want.rate
        self._scale = min(worth, 1e15) / size if worth > 0 else 0.0
        self._stick = 1 + stick
        # Beyond the wish nothing is handed out; the hull need not look further either.
        self._slopes = list(_hull([self._cost(count) for count in range(want.wanted + 1)]))

    def worth(self, count: int) -> float:
        """Of the replica that makes it `count`: requests a second saved, by size. One that it has is worth more."""
        slope = self._slopes[count - 1] * self._scale
        return slope * self._stick if count <= self.want.has else slope

    def _cost(self, count: int) -> float:
        miss = self.want.miss
        if callable(miss):
            missed = miss(count)
        elif miss:
            missed = miss[min(count, len(miss) - 1)]
        else:
            missed = 1.0 - min(count / self.want.wanted, 1.0) if self.want.wanted else 0.0
        missed = min(missed, 1.0) if missed > 0 else 0.0
        return regret(missed, self.want.allowed)


def _hull(costs: Sequence[float]) -> Iterator[float]:
    """What each step saves on the lower convex hull of `costs`, from count 0; costs that rise count as level."""
    falling = list(costs)
    for count in range(1, len(falling)):
        falling[count] = min(falling[count], falling[count - 1])
    corners: list[int] = []
    for count, cost in enumerate(falling):
        while len(corners) > 1:
            first, last = corners[-2], corners[-1]
            # The corner stays only if the slope to it is steeper than the slope past it.
            if (falling[first] - falling[last]) * (count - last) > (falling[last] - cost) * (last - first):
                break
            corners.pop()
        corners.append(count)
    for first, last in pairwise(corners):
        slope = (falling[first] - falling[last]) / (last - first)
        for _ in range(last - first):
            yield slope


class _Left:
    """The room that is left."""

    def __init__(self, room: int | Mapping[str, float]) -> None:
        self._count: int | None = None
        self._by_resource: dict[str, float] = {}
        self._all: dict[str, float] = {}
        if isinstance(room, int):
            self._count = room
        else:
            self._all = dict(room)
            self._by_resource = dict(room)

    def size(self, want: Want) -> float:
        """Of a replica: the largest share that it takes of any resource; 1 where room is a count."""
        if self._count is not None:
            return 1.0
        shares = [need / self._all[name] for name, need in want.needs.items() if self._all.get(name, 0) > 0]
        return max([*shares, 1e-9])

    def take(self, want: Want) -> bool:
        if self._count is not None:
            if self._count < 1:
                return False
            self._count -= 1
            return True
        bounded = [(name, need) for name, need in want.needs.items() if name in self._by_resource]
        # 1e-9: ten replicas of 0.1 fit into 1.
        if any(need > self._by_resource[name] + 1e-9 for name, need in bounded):
            return False
        for name, need in bounded:
            self._by_resource[name] -= need
        return True
