"""What one replica really serves: requests a second of which a given share is late or refused.

Measured: many replicas under steady Poisson load, simulated request by request with the live batching, admission and
routing; the load per replica is searched for on a grid of 2% steps. Many, for the more share their queues the more each
can serve: what is compared with this (`sim.oracle`) must not be helped by a small fleet's waste. Beside it a closed
formula for one replica alone. See docs/oracle.md.
"""

from collections.abc import Callable
from dataclasses import replace
from functools import lru_cache
from math import ceil, log, sqrt
from statistics import NormalDist

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.scenario import Scenario, Service, Traffic

REPLICAS = 16
_REQUESTS = 60_000  # of one load; at 1% late, 600 of them
_GRID = 1.02
_SEED = 41
_BATCH_MOST = 64  # where nothing else is said
_OVERLOAD = 0.25  # a share missed that only a load far beyond the capacity brings
_LEAST_SHARE = 1e-4  # below, the sample is too small to tell


def formula_rate(
    profile: Profile,
    p99_s: float | None,
    max_batch: int | None = None,
    *,
    one: bool = False,
    late_share: float = 0.01,
) -> float:
    """Requests a second that one replica answers within `p99_s`, but for `late_share` of them, by closed formulas.

    With batches, for a replica alone: a request waits for the rest of the running batch and takes part in the next,
    (U + 1)·t. At rate r the mean batch is b = r·a/(1 - r·c); a batch's size follows the time of the one before it, so
    that its relative variance is (1/b + spread²)/(1 - (r/most)²) (an autoregressive process). The rate is that at which
    mean + z standard deviations are p99. `one`: no batching, one of 16 that share a queue: M/G/c after Erlang and
    Allen-Cunneen. Never 0: a budget below a single request's own time gives a tenth of what batches of one give.
    """
    single = one or profile.lognormal is not None
    most = 1 if single else min(max_batch or _BATCH_MOST, profile.max_batch or _BATCH_MOST)
    law = profile.service_time
    full = law.capacity(most)
    if p99_s is None:
        return full
    budget_s = p99_s - profile.beside_s()
    low, high = 0.0, full
    for _ in range(50):
        rate = (low + high) / 2
        if most == 1:
            late_s = _shared_s(rate, law.predict(1), law.sd_s, late_share)
        else:
            late_s = _batches_s(rate, full, law.a_s, law.c_s, profile.spread, late_share)
        low, high = (rate, high) if late_s <= budget_s else (low, rate)
    return max(low, 0.1 * law.capacity(1))


def _batches_s(rate: float, full: float, a_s: float, c_s: float, spread: float, late_share: float) -> float:
    share = rate / full
    size = max(1.0, rate * a_s / max(1e-9, 1 - rate * c_s))
    batch_s = a_s + c_s * size
    varies = (1 / size + spread * spread) / max(1e-9, 1 - share * share)
    # Of (U + 1)·t, with t's variance in its c·b part: 1/12 + 1.5²·var(t)/t².
    deviation = sqrt(1 / 12 + 2.25 * varies * (c_s * size / batch_s) ** 2)
    return batch_s * (1.5 + _z(late_share) * deviation)


def _shared_s(rate: float, service_s: float, sd_s: float, late_share: float) -> float:
    """Wait and service in M/G/c: P(W > t) = C·exp(-C·t/Wq), Wq = C·(1 + cv²)/(2·(c·mu - lambda)), C after Erlang; the
    wait and the service at that share are not met at once: whichever is worse, with the other's mean."""
    offered = rate * service_s * REPLICAS
    if not 0 < offered < REPLICAS:
        return service_s if offered <= 0 else float("inf")
    lost = 1.0
    for servers in range(1, REPLICAS + 1):
        lost = offered * lost / (servers + offered * lost)
    waits = lost / (1 - offered / REPLICAS * (1 - lost))
    varies = (1 + (sd_s / service_s) ** 2) / 2
    mean_s = waits * varies * service_s / (REPLICAS - offered)
    wait_s = mean_s / waits * log(waits / late_share) if waits > late_share else 0.0
    return max(wait_s + service_s, mean_s + service_s + _z(late_share) * sd_s)


def _z(late_share: float) -> float:
    return NormalDist().inv_cdf(1 - min(max(late_share, 1e-6), 0.5))


def measured_rate(service: Service, late_share: float = 0.01) -> float:
    """Requests a second and replica of which `late_share` is late or refused, with `service`'s profile, p99 budget,
    batching and queue. 5 to 10 simulations of 60,000 requests the first time, remembered while the process runs.
    Shares below 0.01% count as that: a sample of this size tells no less. Needs a p99 budget."""
    if service.bounds.p99_s is None:
        raise ValueError("without a p99 budget nothing is late")
    curve = _curve(service)
    if late_share > _OVERLOAD:  # shedding holds the line there: what is in time does not change with the load
        return curve.best() / max(1 - late_share, 0.01)
    return curve.rate(max(late_share, _LEAST_SHARE))


def capacity_for(service: Service, late_share: float) -> float:
    """What `sim.oracle` takes as a replica's capacity at a late share that it also allows: the measured rate, but not
    more than what is in time of it, or under any load; else what may be late would count twice."""
    rate = measured_rate(service, late_share)
    return min(rate, max(rate * (1 - late_share), most_in_time(service)))


def most_in_time(service: Service) -> float:
    """The most requests a second that one replica answers in time under any load: beyond it shedding holds the line."""
    return _curve(service).best()


class Curve:
    """Share missed by load, measured where it is asked for. `missed(rate)`: of one replica's rate; it rises."""

    def __init__(self, missed: Callable[[float], float], guess: float) -> None:
        self._missed = missed
        self._guess = guess
        self._known: dict[int, float] = {}

    def at(self, place: int) -> float:
        """At the guess times 1.02 to the power of `place`."""
        if place not in self._known:
            self._known[place] = self._missed(self._guess * _GRID**place)
        return self._known[place]

    def rate(self, share: float) -> float:
        """Where it crosses `share`, between two grid points along a line of its logarithm."""
        low, high = -8, 8
        while self.at(low) > share and low > -256:
            low *= 2
        while self.at(high) <= share and high < 256:
            high *= 2
        while high - low > 1:
            middle = (low + high) // 2
            low, high = (middle, high) if self.at(middle) <= share else (low, middle)
        below, above = (max(self.at(place), _LEAST_SHARE / 10) for place in (low, high))
        part = log(share / below) / log(above / below) if above > below else 0.0
        return float(self._guess * _GRID ** (low + min(max(part, 0.0), 1.0)))

    def best(self) -> float:
        """The most that is served in time: in coarse steps from where 1% is late to half as much again."""
        first = round(log(self.rate(0.01) / self._guess) / log(_GRID))
        return max(self._guess * _GRID**place * (1 - self.at(place)) for place in range(first, first + 21, 4))


def _curve(service: Service) -> Curve:
    return _known_curve(
        service.profile,
        replace(service.bounds, least=REPLICAS, most=REPLICAS, cost_per_hour=None),
        service.linger_s,
        service.network_s,
        service.queue_cap,
        service.max_batch_one,
    )


@lru_cache(maxsize=64)
def _known_curve(
    profile: Profile, bounds: Bounds, linger_s: float, network_s: float, queue_cap: int | None, one: bool
) -> Curve:
    """All that matters of a service."""

    def missed(rate: float) -> float:
        from plimsoll.sim.world import simulate

        seconds = float(ceil(_REQUESTS / (rate * REPLICAS)))
        service = Service(
            name="capacity",
            traffic=Traffic(Trace(rates=constant(rate * REPLICAS, seconds)), _SEED),
            profile=profile,
            bounds=bounds,
            policy=f"fixed:{REPLICAS}",
            start_replicas=REPLICAS,
            linger_s=linger_s,
            network_s=network_s,
            queue_cap=queue_cap,
            max_batch_one=one,
        )
        return simulate(Scenario([service], seed=_SEED)).services[0].missed_share

    return Curve(missed, formula_rate(profile, bounds.p99_s, bounds.max_batch, one=one))
