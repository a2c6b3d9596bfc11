"""Retries are a share of the traffic, so that they can't double the load of a service that is going down.

Why a tenth of the last ten seconds: that is all the requests of one second, and what is in flight at a replica is its
rate times its latency (Little's law), so a killed replica's requests fit while latencies are under a second. Why a
reserve of 64: traffic that has just begun has no ten seconds to take a tenth of, and the default largest batch may be
in flight. At worst that is 6.4 retries a second more than the share.
"""

_SLOTS = 10


class RetryBudget:
    """`record_request` each request, not its retries; `try_spend` before each retry."""

    __slots__ = ("_end", "_newest", "_requests", "_retries", "_slot_s", "ratio", "requests", "reserve", "retries")

    def __init__(self, ratio: float = 0.1, window_s: float = 10.0, reserve: int = 64) -> None:
        self.ratio = ratio
        self.reserve = reserve
        self.requests = 0  # in the window
        self.retries = 0
        self._slot_s = window_s / _SLOTS
        self._requests = [0] * _SLOTS
        self._retries = [0] * _SLOTS
        self._newest = 0
        self._end: float | None = None

    def record_request(self, now: float, count: int = 1) -> None:
        end = self._end
        if end is None or now >= end:
            self._turn(now)
        self._requests[self._newest] += count
        self.requests += count

    def try_spend(self, now: float) -> bool:
        """True where one more retry is within the budget; it is then spent."""
        if self._end is None or now >= self._end:
            self._turn(now)
        if self.retries + 1 > self.ratio * self.requests + self.reserve:
            return False
        self._retries[self._newest] += 1
        self.retries += 1
        return True

    def _turn(self, now: float) -> None:
        if self._end is None:
            self._end = now + self._slot_s
            return
        steps = int((now - self._end) / self._slot_s) + 1
        for _ in range(min(steps, _SLOTS)):
            newest = self._newest = (self._newest + 1) % _SLOTS
            self.requests -= self._requests[newest]
            self.retries -= self._retries[newest]
            self._requests[newest] = self._retries[newest] = 0
        self._end += steps * self._slot_s
