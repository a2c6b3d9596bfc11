"""The steps of a service's `fallback` list for one request: each at most once, in order.

A fallback service that fails has a list of its own, which goes before the rest. Loops are refused when files are
loaded; the bound is for snapshots from elsewhere.
"""

from collections import deque
from collections.abc import Iterable

from plimsoll.core.outcome import Outcome
from plimsoll.core.snapshot import FallbackType, FallbackView

# Ours, or the model's: what a client got wrong (its quota too) is not mended by another answer.
DEGRADES = frozenset(
    {Outcome.SHED, Outcome.EXPIRED, Outcome.NO_REPLICA, Outcome.REPLICA_LOST, Outcome.MODEL_ERROR}
)  # fmt: skip

_MOST_SERVICES = 8


class FallbackPlan:
    """`next` until it gives None: then there is nothing left to answer with but the failure itself."""

    __slots__ = ("_services", "_steps")

    def __init__(self, steps: Iterable[FallbackView]) -> None:
        self._steps = deque(steps)
        self._services: set[str] = set()

    def next(self, *, stale_age_s: float | None, time_left_s: float) -> FallbackView | None:
        """`stale_age_s`: of the answer in the cache, None where there is none. A service needs time to answer."""
        while self._steps:
            step = self._steps.popleft()
            if step.type is FallbackType.STATIC:
                return step
            if step.type is FallbackType.STALE_CACHE:
                if stale_age_s is not None and stale_age_s <= step.max_age_s:
                    return step
            elif time_left_s > 0 and step.service not in self._services and len(self._services) < _MOST_SERVICES:
                self._services.add(step.service)
                return step
        return None

    @property
    def left(self) -> tuple[FallbackView, ...]:
        """The steps that were not tried yet."""
        return tuple(self._steps)

    def first(self, steps: Iterable[FallbackView]) -> None:
        """The list of a fallback service that failed: its steps come before the others."""
        self._steps.extendleft(reversed(tuple(steps)))
