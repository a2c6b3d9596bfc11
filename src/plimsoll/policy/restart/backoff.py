"""How long to wait before starting something again: longer each time, until it has run well for a while."""


class Backoff:
    """`next(now)` when it ended: seconds to wait. It is taken to start when they are over."""

    __slots__ = ("_delay_s", "_starts", "cap_s", "factor", "first_s", "reset_after_s")

    def __init__(
        self, first_s: float = 0.5, factor: float = 2.0, cap_s: float = 60.0, reset_after_s: float = 60.0
    ) -> None:
        self.first_s = first_s
        self.factor = factor
        self.cap_s = cap_s
        self.reset_after_s = reset_after_s  # having run this long, it begins with `first_s` again
        self._delay_s: float | None = None
        self._starts = 0.0

    def next(self, now: float) -> float:
        delay = self._delay_s
        if delay is None or now - self._starts >= self.reset_after_s:
            delay = self.first_s
        else:
            delay = min(delay * self.factor, self.cap_s)
        self._delay_s = delay
        self._starts = now + delay
        return delay

    def reset(self) -> None:
        self._delay_s = None
