"""From observations, which come when they come, to one value a second, which windows of other autoscalers hold."""

from math import floor


class PerSecond:
    """Means over whole seconds of a host's clock. A host that looks each second gives each second once, also where its
    timer is up to half a second off; one that looks more often is averaged, one that looks less often fills the seconds
    its observation covers, `most` at most. A clock that jumps back starts over. Constant memory."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._last: int | None = None
        self._sum = 0.0
        self._covered_s = 0.0

    def add(self, now: float, over_s: float, value: float) -> tuple[int, int, float] | None:
        """`value`: the mean over the last `over_s`. (first, last, mean) of the seconds that are now complete; None:
        not one is."""
        over_s = min(max(over_s, 0.001), float(self._most))
        self._sum += value * over_s
        self._covered_s += over_s
        at = floor(now + 0.5)
        if self._last is not None and at < self._last - 1:
            self._last = None
        if self._last is not None and at <= self._last:
            return None
        mean, covered = self._sum / self._covered_s, max(round(self._covered_s), 1)
        self._sum = self._covered_s = 0.0
        first = at - min(covered, self._most) + 1
        if self._last is not None:
            first = max(first, self._last + 1)
        self._last = at
        return first, at, mean


def is_time(now: float) -> bool:
    """Not NaN, not beyond what a clock shows: 32 million years."""
    return -1e15 < now < 1e15


def sane(value: float) -> float:
    """0 to 1e12, whatever a broken host says: NaN is 0."""
    return min(value, 1e12) if value > 0 else 0.0
