"""Hedging: a second copy of the few requests that take longer than usual, where a second answer still comes in time.

Dean & Barroso, "The Tail at Scale" (CACM 56(2), 2013): a copy sent after the 95th percentile of response times cuts the
tail at 5% more load. It is worth it only while there is slack: under load it would lengthen the queues it flees from.
So a copy is sent only to a replica that is known to have a short wait, and copies are at most 5% of the requests.
"""

from plimsoll.core.outcome import ANSWERED, Outcome
from plimsoll.policy.routing.budget import RetryBudget
from plimsoll.policy.routing.load import ReplicaLoad

_QUANTILE = 0.95
_SHARE = 0.05
_RESERVE = 4  # copies beyond the share, for traffic that has just begun
_FIRST = 20  # their largest is a first guess at the 95th percentile
_ENOUGH = 100  # responses before it is believed
_STEP = 0.05  # of the value: ten times slower is followed within 50 responses, ten times faster within 1000
# Of the usual time: a wait that is short enough. In virtual time, stalls of 100 ms: at twice that, copies add 10% to
# the p99 at 0.8 of the capacity (one batch in 50 stalls); at less than half of it, they hardly cut it at 0.3 (one in
# 250).
_SHORT = 0.25


class StepQuantile:
    """A running quantile in two numbers: up a step of `quantile` at each value above it, down one of 1 - `quantile` at
    each below, so that it comes to rest where that share is below (stochastic approximation, after Robbins & Monro,
    1951). Steps are a share of the value, so that it follows any scale. Values are positive."""

    __slots__ = ("_down", "_up", "count", "value")

    def __init__(self, quantile: float = _QUANTILE, step: float = _STEP) -> None:
        self._up = 1.0 + step * quantile
        self._down = 1.0 - step * (1.0 - quantile)
        self.count = 0
        self.value = 0.0

    def observe(self, value: float) -> None:
        self.count += 1
        if value > self.value:
            self.value = value if self.count <= _FIRST else self.value * self._up
        elif self.count > _FIRST:
            self.value *= self._down


class Hedging:
    """One for each service that asks for it. `observe` each one's end, `sent` each request (not its copies)."""

    __slots__ = ("_budget", "_quantile")

    def __init__(self) -> None:
        self._budget = RetryBudget(ratio=_SHARE, reserve=_RESERVE)
        self._quantile = StepQuantile()

    @property
    def copies(self) -> int:
        """Sent in the last ten seconds."""
        return self._budget.retries

    def observe(self, outcome: Outcome, seconds: float) -> None:
        """A replica's response time, first copies and second ones alike. Only answers count: a refusal takes no time, a
        loss any."""
        if outcome in ANSWERED:
            self._quantile.observe(seconds)

    def sent(self, now: float) -> None:
        self._budget.record_request(now)

    def delay_s(self, now: float) -> float | None:
        """How long after sending a request its copy is due, if it isn't answered: the recent 95th percentile of
        response times. None: too few are known yet, no copy."""
        return self._quantile.value if self._quantile.count >= _ENOUGH else None

    def allowed(self, other: ReplicaLoad, time_left_s: float, now: float) -> bool:
        """When the delay has passed: whether to send a copy to `other`, the one that would be picked next. Then it is
        counted as sent. `time_left_s`: of the request's budget (its target), or its deadline where it has none."""
        usual_s = self.delay_s(now)
        if usual_s is None or time_left_s < usual_s:
            return False
        wait_s = other.predicted_wait(now)
        return wait_s is not None and wait_s <= _SHORT * usual_s and self._budget.try_spend(now)
