"""Members of the ensemble: levels with trend over several time constants, and the day's own shape.

A level with trend is Brown's double exponential smoothing ("Smoothing, Forecasting and Prediction", 1963): with m the
smoothed rate and n the smoothed m, the slope is (m - n) / tau. Members differ in tau and in how much of the slope they
believe, for no one constant suits a spike, a daily tide and noise.
"""

from functools import lru_cache
from math import exp

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.small_floats import SmallFloats, packed_one, unpacked_one

Floats = NDArray[np.float64]

TAUS_S = (3.0, 6.0, 12.0, 24.0, 48.0)
TRENDS = (0.5, 1.0)  # of the slope
_FLOOR = 0.2  # of the level: no trend takes a forecast below
_DAY_S, _MINUTE_S = 86_400.0, 60.0
_MINUTES, _DAYS = 1440, 7
_UNKNOWN = 0xFFFF  # no small float's code: what is kept is no less than 0
_NO_MINUTES = np.full(_MINUTES, _UNKNOWN, dtype=np.uint16)
_NEWEST_DAY = 0.5  # its weight in a minute's rate
_LAGS = np.repeat(np.array(TAUS_S), len(TRENDS))
_SLOPES = np.tile(np.array(TRENDS), len(TAUS_S)) / _LAGS


@lru_cache(16)
def _weights(over_s: float) -> Floats:
    """Of each member's newest look. All services are looked at together, and one after the other."""
    return np.array([1.0 - exp(-over_s / tau) for tau in _LAGS])


class Levels:
    """Rates a second in, forecasts of every member out."""

    __slots__ = ("_mean", "_second", "_started")

    def __init__(self) -> None:
        self._mean = np.zeros_like(_LAGS)
        self._second = np.zeros_like(_LAGS)
        self._started = False

    @property
    def count(self) -> int:
        return len(_LAGS)

    @property
    def smooth(self) -> float:
        """The level over the longest constant but one."""
        return float(self._mean[-len(TRENDS) - 1])

    def observe(self, rate: float, over_s: float) -> None:
        if not self._started:
            self._mean[:] = self._second[:] = rate
            self._started = True
            return
        weights = _weights(over_s)
        self._mean += weights * (rate - self._mean)
        self._second += weights * (self._mean - self._second)

    def ahead(self, seconds: float) -> Floats:
        """Of each member, the rate in so many seconds. A smoothed level lags by its time constant: it is added."""
        mean = self._mean
        forecasts = mean + (mean - self._second) * _SLOPES * (seconds + _LAGS)
        found: Floats = np.maximum(forecasts, _FLOOR * mean)
        return found


class Season:
    """The rate at each minute of the day, from days before, times how the day of the week differs. Silent for its first
    day. `offset_s`: what turns a host's clock into seconds since 1970."""

    __slots__ = ("_day", "_factors", "_minute", "_minutes", "_now", "_offset_s", "_sum", "_sums", "_weight")

    def __init__(self, offset_s: float) -> None:
        self._offset_s = offset_s
        self._minutes: SmallFloats = _NO_MINUTES  # until the first is over
        self._factors = np.ones(_DAYS)
        self._sums = [0.0, 0.0]  # of this day: what came, and what the minutes said
        self._day = self._minute = -1
        self._sum = self._weight = self._now = 0.0

    def observe(self, rate: float, over_s: float, now: float) -> None:
        self._now = now + self._offset_s
        day, second = divmod(self._now, _DAY_S)
        minute = min(int(second // _MINUTE_S), _MINUTES - 1)  # just before midnight the rest may round to a whole day
        if minute != self._minute or int(day) != self._day:
            self._close(int(day))
            self._minute, self._sum, self._weight = minute, 0.0, 0.0
        self._sum += rate * over_s
        self._weight += over_s

    def _close(self, day: int) -> None:
        """Ends a minute, and the day where it was the last."""
        if self._weight > 0.0:
            if self._minutes is _NO_MINUTES:
                self._minutes = _NO_MINUTES.copy()
            mean = self._sum / self._weight
            at = self._minute
            if (code := int(self._minutes[at])) != _UNKNOWN:
                before = unpacked_one(code)
                self._sums[0] += mean
                self._sums[1] += before * self._factors[self._day % _DAYS]
                mean = before + _NEWEST_DAY * (mean - before)
            self._minutes[at] = packed_one(mean)
        if day != self._day:
            if self._sums[1] > 0.0:
                ratio = self._sums[0] / self._sums[1]
                self._factors[self._day % _DAYS] *= max(0.5, min(2.0, ratio**0.5))
            self._sums = [0.0, 0.0]
            self._day = day

    def ahead(self, seconds: float, level: float) -> float | None:
        """The rate in so many seconds: `level` changed as it changed on days before. None: not known."""
        here, there = self._at(self._now), self._at(self._now + seconds)
        if here is None or there is None or here <= 0.0:
            return there
        return level * there / here

    def _at(self, moment: float) -> float | None:
        """Between the middles of two minutes along a line."""
        place = (moment % _DAY_S) / _MINUTE_S - 0.5
        low = int(place // 1) % _MINUTES
        before, after = int(self._minutes[low]), int(self._minutes[(low + 1) % _MINUTES])
        if _UNKNOWN in {before, after}:
            return None
        share = place % 1.0
        rate = unpacked_one(before) * (1.0 - share) + unpacked_one(after) * share
        return rate * float(self._factors[int(moment // _DAY_S) % _DAYS])
