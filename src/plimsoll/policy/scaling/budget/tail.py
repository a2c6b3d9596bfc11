"""The predicted tail at n replicas: what they take before more than an allowed share would be late or refused.

A replica answers batches of b items in t(b) = a + c·b, and its queue forms them so that two fit the budget: that is
mu = b / t(b) requests a second. Least-predicted-wait routing joins the n queues into one, nearly. Its backlog, of
requests that come at rate r with variance v·r a second, is a Brownian motion with drift n·mu - r, reflected at 0, so
that exponentially few wait longer (Harrison, "Brownian Motion and Stochastic Flow Systems", 1985):

    P(wait > w) = exp(-2·(n·mu - r)·n·mu·w / (v·r))

Whoever would wait longer than w, the budget without its own batch and the margins that admission keeps, is refused.
How far this is from the simulator: docs/scaling.md.
"""

from dataclasses import dataclass
from math import ceil, exp, expm1, inf, log, sqrt

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.service_time import ServiceTime

_SHARE = 0.88  # of the budget that admission fills
_TWO_FIT = 0.4  # of the budget for each of two batches, a fifth for what nobody foresees
_SMALL = 8  # batches up to here take half each
_OVERHEAD_S = 0.0005
_KNEE = 9.5  # times a/c: beyond it a larger batch gains less than 5%
_USED = 0.97  # of the capacity: the rest goes to admission's margins and to moments without a full batch
_OPEN_S = 1.0  # the wait to keep where there is no budget
_LEAST_WAIT = 0.02  # of the budget
_BATCH_MOST = 64  # server.settings.max_batch: a replica's own bound, where the user says none
_MOST_POWER = 700.0  # of e, in a float
_LEAST_ITEM_S = 1e-12  # an item that takes less costs nothing


@dataclass(frozen=True, slots=True)
class Tail:
    """`per_replica`: mu. `wait_s`: w. `burst`: v. `allowed`: the share that queueing alone may make late or refused."""

    per_replica: float
    wait_s: float
    own_s: float
    burst: float = 1.0
    allowed: float = 0.01

    @property
    def _cost(self) -> float:
        """K of r = n·mu / (1 + K/n): what of n's capacity the tail costs."""
        return self.burst * log(1.0 / self.allowed) / (2.0 * self.wait_s * self.per_replica)

    def takes(self, replicas: float) -> float:
        """Requests a second that so many replicas take inside the budget."""
        return replicas * self.per_replica / (1.0 + self._cost / replicas) if replicas > 0 else 0.0

    def needed(self, rate: float) -> float:
        """Replicas for `rate`, a fraction; the inverse of `takes`."""
        mu = self.per_replica
        return (rate + sqrt(rate * rate + 4.0 * mu * rate * self._cost)) / (2.0 * mu)

    def needed_each(self, rates: NDArray[np.float64]) -> NDArray[np.float64]:
        """Whole replicas for each rate, 1 at least."""
        mu = self.per_replica
        found = (rates + np.sqrt(rates * rates + 4.0 * mu * self._cost * rates)) / (2.0 * mu)
        return np.maximum(np.ceil(found - 1e-6), 1.0)

    def missed(self, replicas: int, rate: float) -> float:
        """The share that would be late or refused. Beyond what so many take it is what overflows a queue that holds no
        more than w: with drift d = r - n·mu it is d / (1 - exp(-2·d·n·mu·w / (v·r))) a second (a Brownian motion
        reflected at both ends; Harrison, as above), and never less than the allowed share."""
        capacity = replicas * self.per_replica
        if rate <= 0.0:
            return 0.0
        if capacity <= 0.0:
            return 1.0
        drift = rate - capacity
        power = 2.0 * drift * capacity * self.wait_s / (self.burst * rate)
        if rate <= self.takes(replicas):
            return exp(power)
        if abs(power) < 1e-6:
            lost = self.burst * rate / (2.0 * capacity * self.wait_s)
        else:
            lost = drift / -expm1(-power) if power > -_MOST_POWER else 0.0
        return min(max(lost / rate, self.allowed), 1.0)

    def p99_s(self, replicas: int, rate: float) -> float:
        """What the p99 would be if nobody were refused; infinite from the capacity on."""
        capacity = replicas * self.per_replica
        if rate >= capacity:
            return inf
        return self.own_s + self.burst * rate * log(100.0) / (2.0 * (capacity - rate) * capacity)


def tail_of(
    service_time: ServiceTime, p99_s: float | None, max_batch: int | None, *, burst: float, allowed: float
) -> Tail | None:
    """None: not even one item alone fits the budget, so that no count of replicas helps."""
    if service_time.c_s < _LEAST_ITEM_S:
        service_time = ServiceTime(service_time.a_s, 0.0, service_time.sd_s, service_time.samples)
    a, c, margin = service_time.a_s, service_time.c_s, 2.0 * service_time.sd_s + _OVERHEAD_S
    most = max_batch or (ceil(min(_KNEE * a / c + 1, _BATCH_MOST)) if c > 0 else _BATCH_MOST)
    if p99_s is None:
        size = max(1, min(most, 256))
        return Tail(service_time.capacity(size), _OPEN_S, service_time.predict(size), burst, allowed)
    if a + c > p99_s:
        return None
    size = service_time.largest_within(p99_s / 2 - margin)
    if size > _SMALL:
        size = max(service_time.largest_within(_TWO_FIT * p99_s - margin), _SMALL)
    size = max(1, min(size, most))
    own_s = service_time.predict(size) + margin
    wait_s = max(_SHARE * p99_s - own_s, _LEAST_WAIT * p99_s)
    return Tail(_USED * service_time.capacity(size), wait_s, own_s, burst, allowed)
