"""The less loaded of two random replicas.

Two choices bring the longest queue of n from log n / log log n to log log n (Mitzenmacher, "The Power of Two Choices",
2001), and unlike "the least loaded of all" they don't send every gateway to the same replica at the same moment.
"""

from collections.abc import Callable, Sequence


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
