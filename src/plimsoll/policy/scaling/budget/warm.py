"""How many spares a service's bursts are worth: replicas that are started, with their model loaded, and serve at once.

Beside the candidate that is followed (`backtest`) a few counts of spares live through the recent past: with s of them
what is wanted is ready at once, up to s more than is ready anyway. The count with the least cost of waiting replicas
plus the price of misses wins. A replica that serves helps before the burst, too, so spares pay only where bursts go
beyond the headroom for more than some hundredths of the time, or where they cost less than what serves.
"""

from math import exp

import numpy as np

_COUNTS = np.array([0.0, 1.0, 2.0, 4.0, 8.0, 16.0])
_MEMORY_S = 5400.0
_LEAST_LOOKS = 600  # ten minutes: one burst is no habit


class WarmPool:
    """`cost`: of a spare, in shares of what a replica costs that serves."""

    __slots__ = ("_cost", "_looks", "_missed")

    def __init__(self, cost: float) -> None:
        self._cost = cost
        self._missed = np.zeros(len(_COUNTS))
        self._looks = 0.0

    def look(self, rate: float, wanted: float, ready: float, per_replica: float, over_s: float) -> None:
        """One look's traffic, requests a second, on what was `wanted` when it came and `ready` without spares."""
        fade = exp(-over_s / _MEMORY_S)
        serving = np.maximum(np.minimum(wanted, ready + _COUNTS), ready)
        self._missed = self._missed * fade + np.maximum(rate - serving * per_replica, 0.0)
        self._looks = self._looks * fade + 1.0

    def best(self, price: float, per_replica: float) -> int:
        """0 until ten minutes were seen."""
        if self._looks < _LEAST_LOOKS:
            return 0
        return int(_COUNTS[(_COUNTS * (self._cost * per_replica * self._looks) + price * self._missed).argmin()])
