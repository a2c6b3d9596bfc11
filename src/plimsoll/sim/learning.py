"""The forecast that a simulated service's policy is given: the live one, fed the same way."""


class Plain:
    """The last minute's mean, until there is something better. Not for use."""

    def __init__(self) -> None:
        self._rate = 0.0

    def observe(self, arrived: int, over_s: float, now: float) -> None:
        self._rate += (arrived / over_s - self._rate) / 10

    def rate(self, ahead_s: float, quantile: float) -> float:
        return self._rate * (1 + quantile / 4)

    def burstiness(self) -> float:
        return 1.0


def new_forecast(epoch_s: float) -> Plain:
    """`epoch_s`: Unix seconds where the world's clock shows 0."""
    return Plain()
