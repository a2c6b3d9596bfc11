"""A `Want` from what hosts have each second: the observation, the decision, the bounds."""

from collections.abc import Callable
from functools import cache

from plimsoll.core.scaling import Bounds, Observation
from plimsoll.policy.placement.miss import expected_miss
from plimsoll.policy.placement.sharing import Want

_QUANTILES = (0.1, 0.3, 0.5, 0.7, 0.9)  # each stands for a fifth of what may come
_P99_ALLOWS = 0.01
_MOST_ITEMS = 10_000  # of a batch without any bound


def want_of(
    service: str, seen: Observation, wanted: int, bounds: Bounds, *, priority: int = 0, weight: float = 1.0
) -> Want:
    """`wanted`: what was decided for it. What it would miss with fewer is predicted for the time that a replica moved
    to it takes to start, and only when `share` asks, which it does where room is short."""
    return Want(
        service,
        bounds.least,
        max(wanted, 0),
        _misses(seen, max(wanted, 0), bounds),
        rate=_mean(_rates(seen)),
        priority=priority,
        weight=weight,
        has=max(seen.wanted, 0),
        allowed=0.0 if bounds.p99_s is None else _P99_ALLOWS,
    )


def _misses(seen: Observation, most: int, bounds: Bounds) -> Callable[[int], float]:
    @cache
    def curve() -> list[float]:
        learned = seen.service_time
        budget_s = bounds.timeout_s if bounds.p99_s is None else bounds.p99_s
        # Whoever just missed one batch waits for it and then for its own: two of them must fit into the budget.
        size = min(max(learned.largest_within(budget_s / 2), 1), bounds.max_batch or _MOST_ITEMS, _MOST_ITEMS)
        batch_s = max(learned.predict(size), 1e-6)
        apart = (learned.sd_s / batch_s) ** 2 / size
        spread = (max(seen.forecast.burstiness(), 0.0) + apart) / 2
        return expected_miss(most, _rates(seen), batch_s / size, budget_s - batch_s, max(spread, 0.1))

    return lambda count: curve()[min(count, most)]


def _rates(seen: Observation) -> list[float]:
    """Requests a second to come, each as likely; with those that wait, spread over the time a new replica takes."""
    ahead_s = max(seen.lead.start_s, 1.0)
    rates = [seen.forecast.rate(ahead_s, quantile) for quantile in _QUANTILES]
    if not any(rate > 0 for rate in rates):
        rates = [(seen.arrived or 0) / seen.over_s if seen.over_s > 0 else 0.0]
    return [max(rate, 0.0) + max(seen.waiting, 0) / ahead_s for rate in rates]


def _mean(rates: list[float]) -> float:
    return sum(rates) / len(rates)
