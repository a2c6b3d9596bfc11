"""The less loaded of two random replicas.

Two choices bring the longest queue of n from log n / log log n to log log n (Mitzenmacher, "The Power of Two Choices",
2001), and unlike "the least loaded of all" they don't send every gateway to the same replica at the same moment.
"""

from collections.abc import Callable, Sequence

from plimsoll.policy.routing.load import ReplicaLoad

_ALIKE = 2.0


class TwoChoices:
    """`randbelow(n)`: an integer of 0 to n-1, such as a seeded `random.Random`'s `randrange`."""

    __slots__ = ("_randbelow",)

    def __init__(self, randbelow: Callable[[int], int]) -> None:
        self._randbelow = randbelow

    def pick(self, loads: Sequence[float]) -> int:
        """The index of the chosen one. `loads`: outstanding work, smaller is better. ValueError where it is empty."""
        count = len(loads)
        if count < 2:
            if not count:
                raise ValueError("nothing to choose from")
            return 0
        first = self._randbelow(count)
        second = self._randbelow(count - 1)
        if second >= first:
            second += 1
        return first if loads[first] <= loads[second] else second


class LeastWait:
    """Of two random replicas the one that is predicted to be done first: its wait and one more item.

    What an item costs counts from a factor of 2 on. Equal replicas differ by less, and that difference would feed
    itself: whoever is used more has warmer caches, is quicker for it, and is used still more (measured with a model of
    17 MB, two replicas on two cores: 79% of the requests for one of them, its 0.8 ms a batch against 1.5 ms, 28% of the
    requests queued; without, 50%, 0.95 ms and 20%).

    An unknown one (no report for a second) counts as if one request of somebody else's were before this gateway's own:
    (outstanding + 1) items to wait for, at the item cost that it last reported, else the other candidate's. So it is
    preferred to no idle one, and yet is tried as soon as the known ones have a queue; and with one request a second
    while they have none, lest under little load nothing be known of it when it is needed. `random()`: in [0, 1), such
    as a seeded `random.Random`'s `random` (a tenth of the cost of its `randrange`).
    """

    __slots__ = ("_random",)

    def __init__(self, random: Callable[[], float]) -> None:
        self._random = random

    def pick(self, candidates: Sequence[ReplicaLoad], now: float) -> int:
        """The index of the chosen one. ValueError where there is none."""
        count = len(candidates)
        if count < 2:
            if not count:
                raise ValueError("nothing to choose from")
            return 0
        first, second = self.pair(count)
        return first if self.first_is_better(candidates[first], candidates[second], now) else second

    def pair(self, count: int) -> tuple[int, int]:
        """Two of `count` (two or more), at random; in which order they are compared decides what is equal."""
        first, second = divmod(int(self._random() * (count * (count - 1))), count - 1)
        return first, second + 1 if second >= first else second

    @staticmethod
    def first_is_better(one: ReplicaLoad, other: ReplicaLoad, now: float) -> bool:
        one_s, other_s = one.predicted_wait(now), other.predicted_wait(now)
        if one_s is None or other_s is None:
            forgotten = one.forgotten(now)
            if forgotten is not other.forgotten(now):
                return forgotten
            one_s, other_s = _done_s(one, one_s, other), _done_s(other, other_s, one)
            return one_s < other_s or (one_s == other_s and one.outstanding <= other.outstanding)
        return sooner(one, one_s, other, other_s)


def sooner(one: ReplicaLoad, one_s: float, other: ReplicaLoad, other_s: float) -> bool:
    """Whether `one` is the better choice, of two whose waits are known."""
    one_item_s, other_item_s = one.item_s or 0.0, other.item_s or 0.0
    if one_item_s > _ALIKE * other_item_s or other_item_s > _ALIKE * one_item_s:
        one_s += one_item_s
        other_s += other_item_s
    if one_s == other_s:
        return one.outstanding <= other.outstanding
    return one_s < other_s


def _done_s(replica: ReplicaLoad, wait_s: float | None, other: ReplicaLoad) -> float:
    item_s = replica.item_s
    if item_s is None:
        item_s = 1.0 if other.item_s is None else other.item_s  # nothing known of either: outstanding decides
    if wait_s is None:
        wait_s = (replica.outstanding + 1) * item_s
    return wait_s + item_s
