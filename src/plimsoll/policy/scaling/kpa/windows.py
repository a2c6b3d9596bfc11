"""Knative's windows: the mean of per-second values over the last minute or seconds, and the largest of recent counts.

Source: knative/serving, pkg/autoscaler/aggregation (bucketing.go, max/window.go). Times are seconds on any clock.
"""

from collections import deque
from math import ceil, floor, inf


class Buckets:
    """A ring of buckets of `granularity_s`; what is recorded in one bucket adds up. Memory: one number a bucket.

    Holes shorter than the window count as 0, those since the last write don't count at all, and a whole window without
    a write starts over: exactly as upstream, since its decisions right after a start or a silence follow from it.
    """

    def __init__(self, window_s: float, granularity_s: float = 1.0) -> None:
        self._window_s = window_s
        self._step_s = granularity_s
        self._ring = [0.0] * ceil(window_s / granularity_s)
        self._first: int | None = None  # bucket numbers: time // granularity
        self._last: int | None = None

    def is_empty(self, now: float) -> bool:
        """Whether nothing was recorded in the last window."""
        return self._last is None or (self._number(now) - self._last) * self._step_s > self._window_s

    def record(self, now: float, value: float) -> None:
        """Adds `value` to the bucket of `now`; older than the window: ignored."""
        at, ring, last = self._number(now), self._ring, self._last
        if at != last:
            if last is not None and (at - last) * self._step_s + self._window_s <= 0:
                return
            if self._first is None or self._first > at:
                self._first = at
            if last is None or at > last:
                if last is None or (at - last) * self._step_s >= self._window_s:
                    self._first = at
                    self._ring = ring = [0.0] * len(ring)
                else:
                    for number in range(last + 1, at + 1):
                        ring[number % len(ring)] = 0.0
                self._last = at
        ring[at % len(ring)] += value

    def average(self, now: float) -> float:
        """The mean of a bucket over the window, or over the part of it since the first write."""
        if self._last is None or self._first is None:
            return 0.0
        ring, behind = self._ring, max(self._number(now) - self._last, 0)
        if behind * self._step_s >= self._window_s:
            return 0.0
        # Upstream keeps a running total; summing the ring anew gives the same to the 6 digits it rounds to, and a spike
        # of 1e18 doesn't eat the digits of what comes after it.
        total = sum(ring)
        if behind:
            total = sum(
                ring[number % len(ring)] for number in range(self._last + behind + 1, self._last + len(ring) + 1)
            )
        valid = min(self._last - self._first + 1, len(ring) - behind)
        return floor(total / valid * 1e6 + 0.5) / 1e6 if total < 1e9 else total / valid

    def _number(self, now: float) -> int:
        return floor(now / self._step_s)


class WeightedBuckets(Buckets):
    """`metric-aggregation-algorithm: weighted-exponential`: the newest bucket weighs most."""

    def __init__(self, window_s: float, granularity_s: float = 1.0) -> None:
        super().__init__(window_s, granularity_s)
        # 99.99% of the weight lies inside the window, unless that made the newest bucket weigh less than 0.2.
        self.smoothing = max(1 - (1 - 0.9999) ** (1 / len(self._ring)), 0.2)

    def average(self, now: float) -> float:
        if self._last is None or self.is_empty(now):
            return 0.0
        behind = max(self._number(now) - self._last, 0)
        weight, total = self.smoothing * (1 - self.smoothing) ** behind, 0.0
        for back in range(len(self._ring) - behind):
            total += self._ring[(self._last - back) % len(self._ring)] * weight
            weight *= 1 - self.smoothing
        return total


class LargestOf:
    """The largest count recorded in the last `window_s`, known by buckets of `granularity_s`. Memory: one entry a
    bucket at most."""

    def __init__(self, window_s: float, granularity_s: float) -> None:
        self._buckets = ceil(window_s / granularity_s)
        self._step_s = granularity_s
        self._entries: deque[tuple[int, int]] = deque()  # (bucket number, count), counts falling

    def record(self, now: float, count: int) -> None:
        self.record_at(floor(now / self._step_s), count)

    def record_at(self, number: int, count: int) -> None:
        entries = self._entries
        while entries and count >= entries[-1][1]:
            entries.pop()
        while entries and number - entries[0][0] >= self._buckets:
            entries.popleft()
        if entries and entries[-1][0] == number:
            count = max(count, entries.pop()[1])
        entries.append((number, count))

    def current(self) -> float:
        return self._entries[0][1] if self._entries else -inf
