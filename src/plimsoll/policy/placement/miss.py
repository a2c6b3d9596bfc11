"""What each count of replicas would miss: curves for `Want.miss` where nobody has a better one.

The queue is M/M/n with room for as many waiting as can still be answered in time: admission by prediction refuses the
rest, so the share refused is the probability that a newcomer finds it full,

    P = B·ρ^k / (1 + B·ρ·(1 - ρ^k) / (1 - ρ)),   ρ = load / n,   k = n·patience,

with B Erlang's loss formula (Kleinrock, Queueing Systems I, 3.6). It is the overload 1 - 1/ρ where the load is far
beyond n, falls off as the tail of the wait where it is below, and needs no special case between them.
"""

from collections.abc import Sequence


def missed_shares(most: int, load: float, patience: float, spread: float = 1.0) -> list[float]:
    """The share missed with 0, 1, … `most` replicas, each in 0..1 and never rising.

    `load`: replicas that the requests keep busy (rate × seconds of a replica that each takes). `patience`: how long a
    request may wait, in such seconds. `spread`: (ca² + cs²) / 2 of arrivals and service, 1 for M/M (Allen-Cunneen).
    """
    if not load > 0:
        return [1.0] + [0.0] * most
    shares, blocked = [1.0], 1.0
    slots = min(max(patience, 0.0) / max(spread, 1e-3), 1e6)
    for n in range(1, most + 1):
        blocked = load * blocked / (n + load * blocked)
        rho, k = load / n, n * slots
        if abs(rho - 1) < 1e-9:
            missed = blocked / (1 + blocked * k)
        elif rho < 1:
            kept = rho**k
            missed = blocked * kept / (1 + blocked * rho * (1 - kept) / (1 - rho))
        else:
            # The same, divided by ρ^k, which would be beyond floats.
            left = rho**-k if k < 700 / max(rho - 1, 1e-9) and rho < 1e6 else 0.0
            missed = blocked / (left + blocked * rho * (1 - left) / (rho - 1))
        shares.append(min(max(missed, 0.0), shares[-1]))
    return shares


def expected_miss(
    most: int, rates: Sequence[float], seconds_each: float, patience_s: float, spread: float = 1.0
) -> list[float]:
    """The share missed with 0 … `most` replicas where the rate isn't known: each of `rates` (requests a second, such as
    a forecast's quantiles 0.1, 0.3 … 0.9) is as likely. `seconds_each`: of a replica, that a request takes; with
    batches the inverse of what a replica answers a second. `patience_s`: budget less the time to compute."""
    total = sum(rate for rate in rates if rate > 0)
    if total <= 0 or seconds_each <= 0:
        return [1.0] + [0.0] * most
    sums = [0.0] * (most + 1)
    for rate in rates:
        if rate > 0:
            curve = missed_shares(most, rate * seconds_each, patience_s / seconds_each, spread)
            for n, missed in enumerate(curve):
                sums[n] += missed * rate
    return [missed / total for missed in sums]
