"""When a request without an answer turns to its fallback: so early that the fallback still answers in time.

Another service needs its own p99 for that, everything else only the time to send an answer. But at least half of the
time there is belongs to whoever has the request: a fallback that would need more must do with less.
"""

from collections.abc import Iterable, Mapping

from plimsoll.core.snapshot import FallbackType, FallbackView

_ANSWER_S = 0.04  # a slot of a host's deadline wheel, and a tick of its clockwork


class FallbackTiming:
    """One service's, `name`. `grace_s`: a replica is told the deadline; where no fallback is left, its host waits so
    much longer for what it says then. `p99_s`: each service's p99 budget, by name, None where it has none: a fallback
    without one is taken to need what the service itself may take."""

    __slots__ = ("_grace_s", "_name", "_p99_s", "_timeout_s", "patience_s")

    def __init__(
        self,
        name: str,
        steps: Iterable[FallbackView],
        *,
        timeout_s: float,
        grace_s: float,
        p99_s: Mapping[str, float | None],
    ) -> None:
        self._name = name
        self._timeout_s = timeout_s
        self._grace_s = grace_s
        self._p99_s = p99_s
        self.patience_s = self._patience_s(tuple(steps))  # after the deadline; below 0: before it

    def until(self, since: float, deadline: float) -> float:
        """When the service that was asked has had its time. `since`: it got the request then."""
        patience_s = self.patience_s  # `_at_least_half`, written out: each request asks
        return deadline + (patience_s if patience_s >= 0.0 else max(patience_s, (since - deadline) / 2))

    def until_with(self, steps: Iterable[FallbackView], since: float, deadline: float) -> float:
        """The same for who got it `since` then, with these steps left after it."""
        return _at_least_half(deadline + self._patience_s(tuple(steps)), since, deadline)

    def _patience_s(self, steps: tuple[FallbackView, ...]) -> float:
        if not steps:
            return self._grace_s
        reserve_s = _ANSWER_S
        if steps[0].type is FallbackType.SERVICE:
            reserve_s += self._p99_s.get(steps[0].service) or self._p99_s.get(self._name) or 0.0
        return -min(reserve_s, self._timeout_s / 2)


def _at_least_half(until: float, since: float, deadline: float) -> float:
    return until if until >= deadline else max(until, (since + deadline) / 2)
