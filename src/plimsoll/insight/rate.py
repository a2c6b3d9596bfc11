"""How many of something happen a second, with exponential forgetting."""

from math import exp


class Rate:
    """`observe` events; read `per_s`. `memory_s`: a change of the rate is seen by 63% after it.

    A young meter divides by its age instead, so that it doesn't start from zero. A clock that goes back stands still.
    """

    __slots__ = ("_last", "_started", "_sum", "memory_s")

    def __init__(self, memory_s: float = 10.0) -> None:
        self.memory_s = memory_s
        self._sum = 0.0  # events, each worth exp(-age / memory_s)
        self._started: float | None = None
        self._last = 0.0

    def observe(self, now: float, count: float = 1.0) -> None:
        if self._started is None:
            self._started = self._last = now
        elif now > self._last:
            self._sum *= exp((self._last - now) / self.memory_s)
            self._last = now
        self._sum += count

    def per_s(self, now: float) -> float:
        """0 before the first event and at its very moment: no time has passed to count in."""
        if self._started is None or now <= self._started:
            return 0.0
        now = max(now, self._last)
        seen = 1.0 - exp((self._started - now) / self.memory_s)
        return self._sum * exp((self._last - now) / self.memory_s) / (self.memory_s * seen)
