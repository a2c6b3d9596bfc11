"""One horizon: what every member said so long ago, how wrong it was, and who is to be believed now.

A member's forecast at a quantile is its forecast plus that quantile of its own past errors over the horizon, so that
headroom follows from how the traffic behaves and from how far ahead one must look. Which member speaks for a quantile
is decided by its recent pinball loss, which is least, in expectation, for the true quantile (Koenker and Bassett,
"Regression Quantiles", 1978).
"""

from math import exp

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.small_floats import packed, unpacked

Floats = NDArray[np.float64]

QUANTILES = (0.3, 0.5, 0.7, 0.8, 0.9, 0.95, 0.99)
_MEMORY = 900  # errors kept
_REFRESH = 5  # looks between two sortings of them: 70 us each, of 10 by 900
_LOSS_MEMORY = 600.0  # looks
_PRIOR = 0.1  # of the forecast: the error to expect before one was seen
_FLOOR = 0.3  # of the forecast: no quantile is below
_SILENT = 10.0  # of the rate: the loss of one that says nothing


class Track:
    """`steps`: the horizon in looks, 1 or more. `unasked`: looks since somebody asked for it, kept by its owner."""

    __slots__ = ("_at", "_errors", "_filled", "_fresh", "_fresh_count", "_loss", "_margins", "_past", "_seen", "_upper",
                 "chosen", "steps", "unasked", "values")  # fmt: skip

    def __init__(self, steps: int, members: int) -> None:
        self.steps = steps
        self._past = np.zeros((steps, members), dtype=np.float32)  # forecasts, a ring
        self._upper = np.zeros((steps, members, len(QUANTILES)), dtype=np.float32)  # and with their margins
        self._errors = packed(np.zeros((members, _MEMORY)))  # most of a track's memory: 20 KB
        self._fresh = np.zeros((members, _REFRESH), dtype=np.float32)  # those since they were sorted last
        self._fresh_count = 0
        self._margins = np.zeros((members, len(QUANTILES)))
        self._loss = np.zeros((members, len(QUANTILES)))
        self._filled = self._seen = self._at = self.unasked = 0
        self.chosen = _FIRST
        self.values = _NONE

    def observe(self, rate: float, forecasts: Floats) -> None:
        """`forecasts`: of all members now, for `steps` looks ahead; NaN where one says nothing."""
        at = self._at
        if self._seen >= self.steps:
            known = self._past[at].astype(np.float64)
            error = np.where(np.isnan(known), 0.0, rate - known)  # silence is paid by its loss alone
            self._fresh[:, self._fresh_count] = error
            self._fresh_count += 1
            self._filled = min(self._filled + 1, _MEMORY)
            short = rate - self._upper[at].astype(np.float64)
            self._loss *= _KEEP
            loss = np.maximum(_Q * short, (_Q - 1.0) * short)
            self._loss += np.where(np.isnan(loss), _SILENT * (rate + 1.0), loss)
            if self._seen % _REFRESH == 0 or self._filled < 4 * _REFRESH:
                self._sort()
        elif self._seen == 0:
            self._margins[:] = _PRIOR * np.nan_to_num(forecasts)[:, None]
        upper = np.maximum(forecasts[:, None] + self._margins, _FLOOR * forecasts[:, None])
        self._past[at] = forecasts
        self._upper[at] = upper
        self._at = (at + 1) % self.steps
        self._seen += 1
        if self._seen % _REFRESH == 0:
            self._choose(upper)
        values = upper[self.chosen, _EACH]
        if np.isnan(values).any():  # one that was believed has fallen silent
            self._choose(upper)
            values = upper[self.chosen, _EACH]
        self.values = np.maximum.accumulate(values)

    def _choose(self, upper: Floats) -> None:
        """The least loss of those that say something."""
        self.chosen = np.where(np.isnan(upper), np.inf, self._loss).argmin(axis=0)

    def _sort(self) -> None:
        last = self._seen - self.steps
        fresh, self._fresh_count = self._fresh_count, 0
        places = np.arange(last + 1 - fresh, last + 1) % _MEMORY
        self._errors[:, places] = packed(self._fresh[:, :fresh])
        count = self._filled
        ranks = np.minimum((_Q * count).astype(np.intp), count - 1)
        ordered = np.sort(unpacked(self._errors[:, :count]), axis=1)
        self._margins = ordered[:, ranks].astype(np.float64)


_EACH = np.arange(len(QUANTILES))
_FIRST = np.zeros(len(QUANTILES), dtype=np.intp)
_NONE = np.zeros(len(QUANTILES))
_Q = np.array(QUANTILES)
_KEEP = exp(-1.0 / _LOSS_MEMORY)
