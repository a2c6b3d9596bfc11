"""The least replica-seconds that any policy could have used on a trace, knowing it all beforehand: a lower bound.

As many requests may be late or refused as of the policy it is compared with. docs/oracle.md states the formulation and
why each step of it is a relaxation: nothing here is optimistic about what a policy must pay.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from math import ceil

import numpy as np
from numpy.typing import ArrayLike, NDArray

from plimsoll.sim.oracle_levels import Floats, Levels, plan, values

_STEPS_S = (1.0, 2.0, 4.0, 8.0, 16.0)  # each gives a bound; the largest counts
_STEPS_MOST = 20_000  # of a programme; longer traces take longer steps
_PRICES = 16  # tried at once


@dataclass(frozen=True, slots=True)
class OracleResult:
    """`replica_s`: the bound. `late_share`: what was allowed, or the least that is possible where that is more (`most`,
    or a late first start). `gap`: how far above it, at most, the best plan of the same relaxed problem lies, as a share
    of it (the duality gap). `replicas`: in each `step_s`, of such a plan. `price_s`: replica-seconds that one request
    more in time would cost."""

    replica_s: float
    late_share: float
    gap: float
    step_s: float
    replicas: NDArray[np.int64]
    price_s: float


def oracle(
    counts: ArrayLike,
    step_s: float,
    *,
    capacity: float,
    cold_s: float,
    late_share: float,
    least: int = 0,
    most: int | None = None,
    wait_s: float = 0.0,
    ready: int | None = None,
    steps_s: Sequence[float] | None = None,
) -> OracleResult:
    """`counts`: requests in each `step_s` (`Prepared.counts`). `capacity`: requests a second that a replica serves in
    time (`sim.capacity`). `cold_s`: from a replica's start, when it is first paid, until it serves. `late_share`: of
    all requests. `wait_s`: how long after its arrival a request may be worked on: the p99 budget. `ready`: replicas
    that serve at the beginning; None: as many as one likes, for nothing. `steps_s`: whole multiples of `step_s` to try.
    """
    arrived = np.asarray(counts, dtype=np.float64)
    if not (capacity > 0 and step_s > 0 and cold_s >= 0 and wait_s >= 0 and late_share >= 0):
        raise ValueError("capacity and step above 0; cold start, wait and late share 0 or more")
    if most is not None and most < least:
        raise ValueError(f"most {most} is below least {least}")
    bounds = [
        _bound(
            Levels(
                loads=_summed(arrived, times),
                step_s=times * step_s,
                seconds=len(arrived) * step_s,
                offered=float(arrived.sum()),
                room=capacity * (times * step_s + wait_s),
                wait_s=wait_s,
                start_s=max(0.0, cold_s - 2 * wait_s),
                least=least,
                most=most,
                ready=ready,
                blind_s=cold_s,
            ),
            late_share,
        )
        for times in _multiples(len(arrived), step_s, wait_s, steps_s)
    ]
    best = max(bounds, key=lambda bound: bound[0])
    return _planned(*best)


def node_oracle(
    counts: ArrayLike,
    step_s: float,
    *,
    capacity: float,
    slots: int,
    cold_s: float,
    provisioning_s: float,
    late_share: float,
    least: int = 0,
    most: int | None = None,
    wait_s: float = 0.0,
    ready: int | None = None,
) -> OracleResult:
    """Node-seconds, as `oracle`: a node is as many replicas as it has `slots`, all of them ready `cold_s` after it; it
    is paid from its own start, `provisioning_s` before. A bound apart from the replicas': one plan need not reach both.
    """
    return oracle(
        counts,
        step_s,
        capacity=capacity * slots,
        cold_s=cold_s + provisioning_s,
        late_share=late_share,
        least=least,
        most=most,
        wait_s=wait_s,
        ready=ready,
    )


def _multiples(count: int, step_s: float, wait_s: float, steps_s: Sequence[float] | None) -> list[int]:
    """Steps to try. Without waiting between steps a longer one is only looser; and a long trace needs long ones."""
    if steps_s is None:
        steps_s = _STEPS_S if wait_s > 0 else (1.0,)
    fewest = ceil(count / _STEPS_MOST)
    found = sorted({max(1, fewest, round(step / step_s)) for step in steps_s})
    return [times for times in found if times <= count] or [1]


def _summed(counts: Floats, times: int) -> Floats:
    """Whole steps; what comes after the last is let go for nothing."""
    steps = len(counts) // times
    return np.asarray(counts[: steps * times].reshape(steps, times).sum(axis=1))


def _bound(levels: Levels, late_share: float) -> tuple[float, float, float, float, Levels]:
    """(bound, share allowed, its price, a price above which keeps the share, levels).

    The value at a price less the price of the allowed ones is a bound at every price (weak duality) and concave in it:
    a grid, and finer ones round its best.
    """
    enough = levels.start_s + levels.step_s  # nobody is served for more
    low = 0.25 * levels.step_s / levels.room
    ends = values(levels, np.array([enough, 2 * enough]))
    never = max(0.0, float(ends[1] - ends[0]) / enough)  # too many for `most`, or too early
    allowed = max(late_share * levels.offered, never)
    prices = np.geomspace(low, enough, 2 * _PRICES)
    for _ in range(4):
        found = values(levels, prices) - prices * allowed
        at = int(found.argmax())
        price, best = float(prices[at]), float(found[at])
        lower, upper = prices[max(0, at - 1)], prices[min(len(prices) - 1, at + 1)]
        prices = np.linspace(lower, upper, _PRICES)
    share = allowed / levels.offered if levels.offered else 0.0
    return max(best, levels.least * levels.seconds), share, price, float(upper), levels


def _planned(bound: float, share: float, price: float, upper: float, levels: Levels) -> OracleResult:
    reached, lost, replicas = plan(levels, upper)
    tries = 0
    while lost > share * levels.offered * (1 + 1e-9) + 1e-6 and tries < 20:
        upper, tries = upper * 1.05, tries + 1
        reached, lost, replicas = plan(levels, upper)
    gap = max(0.0, reached / bound - 1) if bound > 0 else 0.0
    return OracleResult(bound, share, gap, levels.step_s, replicas, price)
