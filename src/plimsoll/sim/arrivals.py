"""One service's arrivals as the world takes them: chunks of times, on its clock, and what came by when."""

from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plimsoll.sim.scenario import Traffic
from plimsoll.sim.traffic import chunks

_TENTHS_PER_S, _TENTHS_LEAST = 10.0, 5
_MOST = 8192  # at once: more would leave the processor's cache

Times = NDArray[np.float64]


class Arrivals:
    """`start`: the clock where the trace begins; arrivals at or after `end` are left out."""

    def __init__(self, traffic: Traffic, start: float, end: float) -> None:
        self._start, self._end = start, end
        self._chunks = chunks(traffic)
        self._chunk: Times = np.empty(0)
        self._over = False
        self._taken: list[Times] = []  # and not told by `came`
        self._fill()

    def _fill(self) -> None:
        while not len(self._chunk) and not self._over:
            chunk = next(self._chunks, None)
            if chunk is None:
                self._over = True
                return
            chunk = chunk + self._start
            if chunk[-1] >= self._end:
                self._over = True
                chunk = chunk[: int(np.searchsorted(chunk, self._end))]
            self._chunk = chunk

    def reaches(self) -> float:
        """`take` has all up to there at hand; inf: there are no more."""
        if not len(self._chunk):
            return np.inf
        return float(self._chunk[min(_MOST, len(self._chunk)) - 1])

    def take(self, until: float) -> Times | None:
        """The next ones, up to `until`, some 8,000 at most; None after the last."""
        chunk = self._chunk
        if not len(chunk):
            return None
        count = min(_MOST, int(np.searchsorted(chunk, until, side="right")))
        taken, self._chunk = chunk[:count], chunk[count:]
        if count:
            self._taken.append(taken)
        self._fill()
        return taken

    def came(self, now: float, since: float) -> "Came":
        """Of those taken: what came before `now` and was not told yet; none of it came before `since`."""
        count, total = 0, 0.0
        parts, left = [], []
        for times in self._taken:
            before = int(np.searchsorted(times, now))
            if before:
                after = times[:before] - since
                count += before
                total += float(after.sum())
                parts.append((after * _TENTHS_PER_S).astype(np.int64))
            if before < len(times):
                left.append(times[before:])
        self._taken = left
        tenths = round((now - since) * _TENTHS_PER_S)
        if tenths < _TENTHS_LEAST or not count:
            return Came(count, total, None)
        counts = np.bincount(np.minimum(np.concatenate(parts), tenths - 1), minlength=tenths)
        mean = count / tenths
        return Came(count, total, float(((counts - mean) ** 2).sum()) / (tenths - 1) / mean)


class Came(NamedTuple):
    """`after_s`: the sum of their times since the last look. `dispersion`: variance over mean of the counts of a tenth
    of a second; None: too little to tell."""

    arrived: int
    after_s: float
    dispersion: float | None
