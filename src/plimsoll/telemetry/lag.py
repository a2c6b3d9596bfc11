"""How late an event loop is. The host's timer feeds it: it knows when it should have run, and when it did."""

import math
from collections import deque


class LagMeter:
    """The p99 over the last `window_s`, fed every `interval_s`. No clock of its own."""

    def __init__(self, interval_s: float = 0.1, window_s: float = 10.0) -> None:
        self.interval_s = interval_s
        self._lags: deque[float] = deque(maxlen=max(1, round(window_s / interval_s)))

    def observe(self, lag_s: float) -> None:
        """Seconds late; early (a coarse clock) counts as on time."""
        self._lags.append(lag_s if lag_s > 0 else 0.0)

    def quantile(self, share: float) -> float:
        """The nearest-rank quantile, seconds; 0 before the first observation."""
        if not self._lags:
            return 0.0
        ordered = sorted(self._lags)
        return ordered[max(0, math.ceil(share * len(ordered)) - 1)]

    def p99(self) -> float:
        return self.quantile(0.99)

    def worst(self) -> float:
        return max(self._lags, default=0.0)
