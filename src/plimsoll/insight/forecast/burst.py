"""Notices that a burst has begun: a rise beyond what this traffic's ups and downs are."""

from math import exp, sqrt

_MEAN_OF = 3  # seconds averaged
_OVER_S = 5  # seconds between the two means that are compared
_MEMORY_S = 900.0
_TIMES = 4.0  # the usual change, root mean square
_GOES_ON_S, _MOST_TIMES = 60.0, 3.0  # nothing is known of a burst beyond a minute, or thrice what is there
_POISSON = 2.0 / _MEAN_OF  # variance over mean of the difference of two means of Poisson counts


class BurstDetector:
    """Fed rates of a second each. A rise of four times the usual, all of it above all that was five seconds before, is
    a burst: whatever smoothed levels say, it goes on as steeply as it began. For Poisson arrivals that happens once in
    9 hours (4 sigma), and costs little then."""

    __slots__ = ("_last", "_slope", "_usual", "level")

    def __init__(self) -> None:
        self._last: list[float] = []
        self._usual: float | None = None
        self._slope = 0.0
        self.level = 0.0

    def observe(self, rate: float, over_s: float) -> None:
        values = self._last
        values.append(rate)
        if self._usual is None:
            self._usual = max(1.0, rate) * _MEAN_OF
        if len(values) < _MEAN_OF + _OVER_S:
            self.level = rate
            return
        self.level = sum(values[-_MEAN_OF:]) / _MEAN_OF
        now, then = values[-_MEAN_OF:], values[:_MEAN_OF]
        change = self.level - sum(then) / _MEAN_OF
        usual = max(self._usual, self.level * _POISSON)
        rising = min(now) > max(then) and change > _TIMES * sqrt(usual)
        self._slope = change / _OVER_S if rising else 0.0
        del values[0]
        self._usual += (1.0 - exp(-over_s / _MEMORY_S)) * (change * change - self._usual)

    def ahead(self, seconds: float) -> float:
        """The rate in so many seconds if the burst goes on; 0 where there is none."""
        if self._slope <= 0.0:
            return 0.0
        return min(self.level + self._slope * (min(seconds, _GOES_ON_S) + 1.0), _MOST_TIMES * self.level)
