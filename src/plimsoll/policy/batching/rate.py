"""Items a second that arrive at one queue, kept so that a push costs one addition."""

from math import exp

_STEP_S = 0.02  # shorter spans are not measured: a poll after each push would do nothing but divide
_MEMORY_S = 0.5  # a change of load is seen by 63% after this long


class ArrivalRate:
    """`arrived` is added to by the owner; `update(now)` folds it into `per_s`. A clock that goes back is waited for."""

    __slots__ = ("_first", "_last", "arrived", "per_s")

    def __init__(self) -> None:
        self.arrived = 0
        self.per_s = 0.0
        self._first: float | None = None
        self._last = 0.0

    def update(self, now: float) -> float:
        first = self._first
        if first is None:
            self._first = self._last = now
            self.arrived = 0  # they came in no measured time
            return 0.0
        span = now - self._last
        if span >= _STEP_S:
            # A young estimate is the plain mean since the start; an old one forgets exponentially.
            weight = max(1.0 - exp(-span / _MEMORY_S), span / (now - first))
            self.per_s += weight * (self.arrived / span - self.per_s)
            self.arrived = 0
            self._last = now
        elif span < -_STEP_S:
            self._last = now
            self._first = min(first, now)
            self.arrived = 0
        return self.per_s
