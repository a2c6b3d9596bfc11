"""Learns t(b) = a + c·b, the seconds a batch of b items takes, from the batches that ran.

Weighted least squares with exponential forgetting: five decayed sums, a few microseconds a batch. Three dangers
shape it:
- A batch that waited for the interpreter lock or a collection says nothing about the model: residuals are clipped at
  three deviations (Huber's loss). When they lie on one side for some ten batches it is no accident but a new regime:
  the line is scaled to it, and the past keeps the weight of two batches.
- The first samples decide what counts as an outlier, so they are kept as they are and fitted by weighted medians
  (Theil-Sen), which stand a third of them being wrong.
- Under steady load all batches have one size, and a line through one point is any line. The slope is then drawn to
  the last ratio a : c that different sizes had taught (ridge regression towards it), as if one batch in a few said
  so, lest the decayed remnant of the warm-up decides it alone.
"""

from collections.abc import Iterable
from math import sqrt

from plimsoll.core.service_time import ServiceTime

_FIRST = 8  # samples fitted by medians before the sums take over
_CLIP_SD = 3.0
_DRIFT_WEIGHT = 1 / 16  # of the newest residual, in deviations, in their running mean
_DRIFT = 1.2  # of that mean: 6.7 of its own deviations, and more than 30% stalled batches bring about
_SETTLED = 0.3  # of that mean: beyond it a new regime may have begun, which says nothing of the ratio
_RECENT = 8  # batches whose median tells how much slower a new regime is
_SPREAD_WEIGHT = 1 / 32  # of the newest squared residual in the spread
_KEPT = 2.0  # batches' weight that the past keeps in a new regime
_PULL = 0.25  # batches that speak for the old ratio
_SD_FLOOR = 0.01  # of the prediction: a perfectly even model must not take every ripple for an outlier


class ServiceTimeModel:
    """`observe` each batch; read `estimate`. `half_life`: batches after which a sample counts half.

    `prior`: believed until the first batch; its ratio a : c holds until batches of different sizes say otherwise.
    """

    __slots__ = (
        "_a",
        "_c",
        "_decay",
        "_drift",
        "_estimate",
        "_first",
        "_ratio",
        "_recent",
        "_samples",
        "_variance",
        "_w",
        "_wx",
        "_wxx",
        "_wxy",
        "_wy",
    )

    def __init__(self, prior: ServiceTime | None = None, *, half_life: float = 256.0) -> None:
        prior = prior or ServiceTime(0.0, 0.0)
        self._decay = 0.5 ** (1.0 / half_life)
        self._a, self._c, self._variance = prior.a_s, prior.c_s, prior.sd_s**2
        # (a, c) as far as their ratio goes. Nothing known: half of a single item's time is fixed cost.
        self._ratio = (prior.a_s, prior.c_s) if prior.predict(1) > 0 else (1.0, 1.0)
        self._samples = 0
        self._drift = 0.0  # running mean of clipped residuals, in deviations
        self._recent = [1.0] * _RECENT  # the last batches' seconds over the predicted ones
        self._first: list[tuple[int, float]] | None = []
        self._w = self._wx = self._wy = self._wxx = self._wxy = 0.0
        self._estimate: ServiceTime | None = ServiceTime(prior.a_s, prior.c_s, prior.sd_s, 0)

    @property
    def estimate(self) -> ServiceTime:
        """The same object until the next `observe`; a_s >= 0 and c_s >= 0. `samples` is 0 before the first batch."""
        estimate = self._estimate
        if estimate is None:
            self._fit()
            spread = max(sqrt(self._variance), 0.0)
            estimate = self._estimate = ServiceTime(self._a, self._c, spread, self._samples)
        return estimate

    def observe(self, size: int, seconds: float) -> None:
        """A batch of `size` items took `seconds` of compute. Nonsense (size < 1, negative or not finite) is ignored."""
        if size < 1 or not 0.0 <= seconds < 1e9:
            return
        self._samples += 1
        first = self._first
        if first is not None:
            first.append((size, seconds))
            self._estimate = None
            if len(first) == _FIRST:
                self._leave_first(first)
            return
        if self._estimate is None:
            self._fit()
        self._add(size, seconds)
        self._estimate = None

    def _add(self, size: int, seconds: float) -> None:
        predicted = self._a + self._c * size
        residual = seconds - predicted
        if predicted > 0:
            deviation = max(sqrt(self._variance), _SD_FLOOR * predicted)
            score = max(-_CLIP_SD, min(_CLIP_SD, residual / deviation))
            self._recent[self._samples % _RECENT] = seconds / predicted
            self._drift += _DRIFT_WEIGHT * (score - self._drift)
            if -_DRIFT < self._drift < _DRIFT:
                residual = score * deviation
                seconds = predicted + residual
            else:
                residual = self._change(sorted(self._recent)[_RECENT // 2], size, seconds)
        self._variance += _SPREAD_WEIGHT * (residual * residual - self._variance)
        decay = self._decay
        self._w = self._w * decay + 1.0
        self._wx = self._wx * decay + size
        self._wy = self._wy * decay + seconds
        self._wxx = self._wxx * decay + size * size
        self._wxy = self._wxy * decay + size * seconds

    def _change(self, factor: float, size: int, seconds: float) -> float:
        """A new regime: this size takes `factor` times as long as before, the others follow by the ratio that was
        learned, until new batches say more: between the regimes batches of both gave a line that is neither's. Returns
        the residual of the batch at hand, which is believed as it is."""
        level = (self._a + self._c * size) * factor
        a0, c0 = self._ratio
        scale = level / (a0 + c0 * size)
        self._a, self._c = a0 * scale, c0 * scale
        self._drift = 0.0
        self._recent = [1.0] * _RECENT
        self._variance *= factor * factor
        w = self._w = min(self._w, _KEPT)
        self._wx, self._wy = w * size, w * level
        self._wxx, self._wxy = w * size * size, w * size * level
        return seconds - self._a - self._c * size

    def _fit(self) -> None:
        if self._first is not None:
            if self._first:
                self._fit_first(self._first)
            return
        w = self._w
        x, y = self._wx / w, self._wy / w
        spread_x = max(0.0, self._wxx / w - x * x)
        covariance = self._wxy / w - x * y
        a0, c0 = self._ratio
        c_ref = c0 * y / (a0 + c0 * x)  # the old ratio, scaled so that the line passes through the mean
        # Ridge: the reference slope is believed to within y/x, the slope of a line through the origin.
        doubt = (x / y) ** 2 if y > 0 else 0.0
        pull = (max(self._variance, (_SD_FLOOR * y) ** 2) * doubt + _PULL * x * x) / w
        self._set((covariance + pull * c_ref) / (spread_x + pull), x, y)
        if spread_x > 16 * pull and self._a + self._c > 0 and -_SETTLED < self._drift < _SETTLED:
            self._ratio = (self._a, self._c)

    def _set(self, slope: float, x: float, y: float) -> None:
        """The line of `slope` through (x, y), with both coefficients kept from going negative."""
        slope = max(0.0, min(slope, y / x))
        self._c = slope
        self._a = max(0.0, y - slope * x)

    def _fit_first(self, samples: list[tuple[int, float]]) -> None:
        """Theil-Sen: the median of the slopes between all pairs, each weighted by how far apart its sizes lie."""
        slopes = [
            ((y2 - y1) / (x2 - x1), abs(x2 - x1))
            for i, (x1, y1) in enumerate(samples)
            for x2, y2 in samples[i + 1 :]
            if x1 != x2
        ]
        if slopes:
            slope = max(0.0, _weighted_median(slopes))
            level = max(0.0, _weighted_median([(y - slope * x, 1.0) for x, y in samples]))
            if level == 0.0:
                slope = max(0.0, _weighted_median([(y / x, float(x)) for x, y in samples]))
            self._a, self._c = level, slope
            if level + slope > 0:
                self._ratio = (level, slope)
        else:
            a0, c0 = self._ratio
            size = samples[0][0]
            scale = _weighted_median([(y, 1.0) for _, y in samples]) / (a0 + c0 * size)
            self._a, self._c = a0 * scale, c0 * scale
        if len(samples) > 2:
            misses = [(abs(y - self._a - self._c * x), 1.0) for x, y in samples]
            self._variance = (1.4826 * _weighted_median(misses)) ** 2  # 1.4826 x MAD is a normal's deviation

    def _leave_first(self, first: list[tuple[int, float]]) -> None:
        self._fit_first(first)
        self._first = None
        variance = self._variance
        for size, seconds in first:
            self._add(size, seconds)
        self._drift = 0.0
        self._variance = variance


def _weighted_median(pairs: Iterable[tuple[float, float]]) -> float:
    pairs = sorted(pairs)
    half = sum(weight for _, weight in pairs) / 2
    for value, weight in pairs:
        half -= weight
        if half <= 0:
            return value
    return pairs[-1][0]
