"""The forecast of one service's arrivals: an ensemble of levels, trends, the day's shape and a burst detector.

Constant memory: some 11 KB and 24 KB for each horizon in use, next to nothing before the first request, for a
controller holds a thousand of these. Some 60 us a look. Horizons are tracked when first asked for, learn from the last
quarter of an hour of rates that is kept for that, and are forgotten when nobody has asked for them for a minute.
"""

from collections.abc import Iterator, Sequence
from math import isfinite

import numpy as np

from plimsoll.core.small_floats import SmallFloats, packed, packed_one, unpacked
from plimsoll.insight.forecast.burst import BurstDetector
from plimsoll.insight.forecast.levels import Levels, Season
from plimsoll.insight.forecast.track import QUANTILES, Track

_HISTORY = 900  # looks
_QUIET_KEPT = 300  # looks without a request before the first: learning them takes 15 ms
_NEAR = 0.12  # a horizon that differs by less is served by the same track
_TRACKS = 2  # each takes 24 KB: the horizon in use, and the one before it or another's
_PATIENCE = 15  # looks that ask for a horizon of their own, before it gets its track: one may just come late
_ASKED_WITHIN = 60  # looks: a track that nobody asked for is forgotten; making one takes 15 ms
_QUICKER = 0.4  # of the pace: a look that is shorter than that is of another
_JITTER = 0.75  # of a look: a horizon that differs by less is the same one, told by a look that came late
_MOST_STEPS = 1800
_MOST = 1e12  # requests, a second too: beyond it something has overflowed


class _History:
    """The last looks, oldest first: 4 bytes each, where a tuple of floats takes 136. Moments are what their lengths add
    up to, back from the last: what learns from them tells minutes apart."""

    __slots__ = ("_count", "_last", "_lengths", "_rates")

    def __init__(self) -> None:
        self._rates, self._lengths = packed(np.zeros(_HISTORY)), packed(np.zeros(_HISTORY))
        self._count = 0
        self._last = 0.0

    def append(self, now: float, rate: float, over_s: float) -> None:
        at = self._count % _HISTORY
        self._rates[at], self._lengths[at] = packed_one(rate), packed_one(over_s)
        self._last = now
        self._count += 1

    def __iter__(self) -> Iterator[tuple[float, float, float]]:
        lengths = self._ordered(self._lengths)
        after = np.cumsum(lengths[::-1])[::-1] - lengths
        yield from zip(
            *(one.tolist() for one in (self._last - after, self._ordered(self._rates), lengths)), strict=True
        )

    def rates(self, last: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        return self._ordered(self._rates)[-last:]

    def _ordered(self, ring: SmallFloats) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        at = self._count % _HISTORY
        codes = ring[: self._count] if self._count <= _HISTORY else np.concatenate([ring[at:], ring[:at]])
        return unpacked(codes).astype(np.float64)


class Forecaster:
    """Call `observe` at each look, with what came since the one before. Seconds on the host's clock; `offset_s` makes
    them seconds since 1970, for the day's shape. Implements `core.scaling.Forecast`."""

    def __init__(self, offset_s: float = 0.0) -> None:
        self._offset_s = offset_s
        self._levels = Levels()
        self._season = Season(offset_s)
        self._burst = BurstDetector()
        self._tracks: list[Track] = []  # the one asked for last comes first
        self._history: _History | None = None  # None: nothing has come yet
        self._quiet = 0  # looks before the first request
        self._strange = 0  # looks in a row that asked for a horizon without a track
        self._stranger = False  # this one did
        self._step_s = 1.0

    def observe(self, now: float, arrived: int, over_s: float) -> None:
        """A look over no time, or with figures that are none, tells nothing and is left out."""
        if not (isfinite(now) and isfinite(over_s)) or over_s <= 0.0 or not 0 <= arrived <= _MOST:
            return
        rate = arrived / over_s
        if rate > _MOST:
            return
        if over_s < _QUICKER * self._step_s:
            self._step_s = over_s  # who was asleep is looked at seldom, and each second once somebody asks
        self._step_s += 0.05 * (min(over_s, 2.0 * self._step_s) - self._step_s)  # one long gap is no new pace
        if self._history is None:
            if not rate:
                self._quiet += 1  # of a thousand services most are asleep
                return
            self._wake(now - over_s)
            assert self._history is not None
        self._history.append(now, rate, over_s)
        self._learn(self._levels, self._season, rate, now, over_s)
        self._burst.observe(rate, over_s)
        self._strange = self._strange + 1 if self._stranger else 0
        self._stranger = False
        for track in self._tracks:
            track.observe(rate, self._members(self._levels, self._season, track.steps))
            track.unasked += 1
        if self._tracks and self._tracks[-1].unasked > _ASKED_WITHIN:
            self._tracks.pop()

    def _wake(self, now: float) -> None:
        """The first request: what was quiet is learned now, as far as it still counts."""
        self._history = _History()
        looks = min(self._quiet, _QUIET_KEPT)
        for back in range(looks, 0, -1):
            at, over_s = now - (back - 1) * self._step_s, self._step_s
            self._history.append(at, 0.0, over_s)
            self._learn(self._levels, self._season, 0.0, at, over_s)
            self._burst.observe(0.0, over_s)

    def rate(self, ahead_s: float, quantile: float) -> float:
        """Requests a second to expect at most with probability `quantile`, `ahead_s` from now. 0 before any look."""
        values = self.rates(ahead_s)
        return float(np.interp(quantile, QUANTILES, values))

    def rates(self, ahead_s: float) -> Sequence[float]:
        """The same at each of `QUANTILES`; never falls from one to the next."""
        if self._history is None:
            return [0.0] * len(QUANTILES)
        track = self._track(ahead_s)
        burst = self._burst.ahead(track.steps * self._step_s)
        return [max(value, burst) for value in track.values.tolist()] if burst else track.values.tolist()

    @property
    def quantiles(self) -> Sequence[float]:
        return QUANTILES

    @property
    def level(self) -> float:
        """The mean rate of the last three looks."""
        return self._burst.level

    @property
    def bursting(self) -> bool:
        return self._burst.ahead(1.0) > 0.0

    def burstiness(self) -> float:
        """Variance over mean of the counts of a look, from differences of neighbours, so that a tide is none. 1 for
        Poisson arrivals, and where too little is known."""
        if self._history is None:
            return 1.0
        rates = self._history.rates(300)
        if len(rates) < 20 or not rates.any():
            return 1.0
        values = rates * self._step_s
        mean = float(values.mean())
        return float(np.square(np.diff(values)).mean()) / (2.0 * mean) if mean > 0.0 else 1.0

    def _track(self, ahead_s: float) -> Track:
        steps = max(1.0, min(ahead_s / self._step_s, _MOST_STEPS)) if ahead_s > 0.0 else 1.0
        for index, track in enumerate(self._tracks):
            if abs(track.steps - steps) <= max(_NEAR * track.steps, _JITTER):
                track.unasked = 0
                if index:
                    self._tracks.insert(0, self._tracks.pop(index))
                return track
        self._stranger = True
        if self._tracks and self._strange < _PATIENCE:
            return min(self._tracks, key=lambda track: abs(track.steps - steps))
        made = self._made(round(steps))
        self._tracks.insert(0, made)
        del self._tracks[_TRACKS:]
        return made

    def _made(self, steps: int) -> Track:
        """A track for a horizon that nobody asked for before, taught by the rates that are kept."""
        levels, season = Levels(), Season(self._offset_s)
        track = Track(steps, levels.count + 1)
        for now, rate, over_s in self._history or ():
            self._learn(levels, season, rate, now, over_s)
            track.observe(rate, self._members(levels, season, steps))
        return track

    @staticmethod
    def _learn(levels: Levels, season: Season, rate: float, now: float, over_s: float) -> None:
        levels.observe(rate, over_s)
        season.observe(rate, over_s, now)

    def _members(self, levels: Levels, season: Season, steps: int) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
        seconds = steps * self._step_s
        found = np.empty(levels.count + 1)
        found[:-1] = levels.ahead(seconds)
        seasonal = season.ahead(seconds, float(levels.smooth))
        found[-1] = np.nan if seasonal is None else seasonal
        return found
