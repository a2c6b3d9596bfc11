"""What a service's requests came to: counts by outcome, latencies in a histogram, steps of a timeline.

Memory does not grow with requests: latencies are gathered in a list and poured into bins once a second, 15 ns each.
"""

from collections.abc import Callable

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.outcome import Outcome
from plimsoll.sim.result import Timeline

_LEAST_S, _MOST_S = 1e-5, 1e4
_BINS = 4096  # each 0.5% wide
_PER_LOG = (_BINS - 1) / np.log(_MOST_S / _LEAST_S)
_FEW = 48  # below, a loop is quicker than numpy
STEPS = 720  # of a timeline, at most

Bins = NDArray[np.int64]
Extra = Callable[[int], float | NDArray[np.float64]]


def _bins_of(latencies: NDArray[np.float64]) -> NDArray[np.int64]:
    clipped = np.clip(latencies, _LEAST_S, _MOST_S)
    return np.asarray((np.log(clipped / _LEAST_S) * _PER_LOG).astype(np.int64))


def quantile(bins: Bins, q: float) -> float | None:
    """The middle of the bin that holds it: right to 0.3%. None where nothing was counted."""
    total = int(bins.sum())
    if not total:
        return None
    found = int(np.searchsorted(np.cumsum(bins), q * (total - 1), side="right"))
    return float(_LEAST_S * np.exp((found + 0.5) / _PER_LOG))


class Measure:
    """`answered` is the world's to fill: seconds from arrival to answer, without what each takes besides: `extra_s` of
    so many requests gives that, of each or of all.
    `ended`: refusals by outcome; requests that arrived are `offered`."""

    __slots__ = ("_bins", "_missed", "_offered", "_step_bins", "_step_ends", "_target_s", "answered", "ended",
                 "extra_s", "late", "ok", "sum_s", "timeline")  # fmt: skip

    def __init__(self, seconds: float, start: float, target_s: float | None, extra_s: Extra) -> None:
        self.answered: list[float] = []
        self.ended: dict[Outcome, int] = dict.fromkeys(
            (Outcome.SHED, Outcome.EXPIRED, Outcome.NO_REPLICA, Outcome.REPLICA_LOST), 0
        )
        self.extra_s = extra_s
        self.late = self.ok = 0
        self.sum_s = 0.0
        step_s = float(max(1, int(np.ceil(seconds / STEPS))))
        self.timeline = Timeline(step_s)
        self._step_ends = start + step_s
        self._target_s = target_s
        self._bins: Bins = np.zeros(_BINS, dtype=np.int64)
        self._step_bins: Bins = np.zeros(_BINS, dtype=np.int64)
        self._offered = self._missed = 0

    @property
    def refused(self) -> int:
        return sum(self.ended.values())

    def pour(self) -> int:
        """Counts what was answered since the last call. Returns how many of them were late."""
        answered = self.answered
        if not answered:
            return 0
        latencies = np.asarray(answered) + self.extra_s(len(answered))
        answered.clear()
        late = 0 if self._target_s is None else int(np.count_nonzero(latencies > self._target_s))
        self.ok += len(latencies)
        self.late += late
        self.sum_s += float(latencies.sum())
        found = _bins_of(latencies)
        if len(found) < _FEW:
            np.add.at(self._step_bins, found, 1)
        else:
            counts = np.bincount(found)
            self._step_bins[: len(counts)] += counts
        return late

    def step(self, now: float, offered: int, wanted: int, ready: int, *, last: bool = False) -> None:
        """Once a second, after `pour`; `offered`: in all. Ends the timeline's step where it is over."""
        if now < self._step_ends - 1e-6 and not last:
            return
        missed = self.late + self.refused
        if last and offered == self._offered and missed == self._missed and not self._step_bins.any():
            return
        timeline = self.timeline
        timeline.offered.append(offered - self._offered)
        timeline.missed.append(missed - self._missed)
        timeline.wanted.append(wanted)
        timeline.ready.append(ready)
        timeline.p99_s.append(quantile(self._step_bins, 0.99))
        self._offered, self._missed = offered, missed
        self._bins += self._step_bins
        self._step_bins[:] = 0
        while self._step_ends <= now + 1e-6:
            self._step_ends += timeline.step_s

    def quantile_s(self, q: float) -> float:
        return quantile(self._bins + self._step_bins, q) or 0.0
