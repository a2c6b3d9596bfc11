"""Quantiles in constant memory: counts in buckets whose bounds grow by a constant factor.

With bounds growing by g = (1+e)/(1-e), the middle 2·g^i/(g+1) of bucket i is within a share e of every value in it
(Masson, Rim, Lee: "DDSketch", VLDB 2019). The range is fixed, so sketches merge by adding counts.
"""

from collections.abc import Mapping
from math import ceil, log

ERROR = 0.02  # of a value between LEAST and MOST; the promise is 2.5%
LEAST, MOST = 1e-6, 1e5  # what lies outside is counted at the nearest bound: a microsecond, a day in seconds
_GROWTH = (1 + ERROR) / (1 - ERROR)
_SCALE = 1 / log(_GROWTH)
_OFFSET = 1 - ceil(log(LEAST) * _SCALE)
BUCKETS = ceil(log(MOST) * _SCALE) + _OFFSET + 1  # 635; bucket 0 holds what is below LEAST


def bucket_of(value: float) -> int:
    if not value > LEAST:  # also nan
        return 0
    if value >= MOST:
        return BUCKETS - 1
    return ceil(log(value) * _SCALE) + _OFFSET


def value_of(bucket: int) -> float:
    if bucket == 0:
        return 0.0
    return float(2 * _GROWTH ** (bucket - _OFFSET) / (_GROWTH + 1))


class LogSketch:
    """`observe` values from 1e-6 to 1e5 (any unit), read `quantile` to 2%. Values below 1e-6 read as 0."""

    __slots__ = ("count", "counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * BUCKETS
        self.count = 0
        self.total = 0.0

    def observe(self, value: float) -> None:
        # bucket_of, written out: half the cost is the call
        if LEAST < value < MOST:
            self.counts[ceil(log(value) * _SCALE) + _OFFSET] += 1
        else:
            self.counts[bucket_of(value)] += 1
        self.count += 1
        self.total += value

    def merge(self, other: "LogSketch") -> None:
        """Afterwards this one is as if it had observed the other's values too."""
        if other.count:
            self.counts = [mine + theirs for mine, theirs in zip(self.counts, other.counts, strict=True)]
            self.count += other.count
            self.total += other.total

    def quantile(self, q: float) -> float | None:
        """The value below which a share `q` of 0 to 1 lies; None where nothing was observed."""
        if not self.count:
            return None
        rank = q * (self.count - 1)
        seen = 0
        for bucket, count in enumerate(self.counts):
            seen += count
            if seen > rank:
                return value_of(bucket)
        return value_of(BUCKETS - 1)

    def share_above(self, value: float) -> float:
        """The share of values above `value`, to the width of its bucket; 0 where nothing was observed."""
        if not self.count:
            return 0.0
        return sum(self.counts[bucket_of(value) + 1 :]) / self.count

    def clear(self) -> None:
        if self.count:
            self.counts = [0] * BUCKETS
            self.count = 0
        self.total = 0.0

    def to_dict(self) -> dict[str, object]:
        """JSON-able; only what isn't empty: {"total": 1.5, "counts": {"371": 2}}."""
        return {"total": self.total, "counts": {str(i): n for i, n in enumerate(self.counts) if n}}

    @classmethod
    def from_dict(cls, data: Mapping[str, object]) -> "LogSketch":
        """Raises ValueError for what `to_dict` could not have made."""
        sketch = cls()
        counts, total = data.get("counts"), data.get("total")
        if not isinstance(counts, Mapping) or not isinstance(total, int | float):
            raise ValueError("a sketch has `counts` and `total`")
        for key, count in counts.items():
            bucket = int(key)
            if not 0 <= bucket < BUCKETS or not isinstance(count, int) or count < 0:
                raise ValueError(f"a sketch has {BUCKETS} buckets with counts, not {key!r}: {count!r}")
            sketch.counts[bucket] = count
            sketch.count += count
        sketch.total = float(total)
        return sketch
