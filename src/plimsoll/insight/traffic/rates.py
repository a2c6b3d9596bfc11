"""Request rates over time: stretches in which the rate is constant or changes along a line."""

from bisect import bisect_right
from collections.abc import Iterable
from dataclasses import dataclass
from math import isfinite, sqrt


@dataclass(frozen=True, slots=True)
class Segment:
    """From `start_s` to `end_s` the rate goes from `rate` to `end_rate` requests a second, along a line.

    `cv`: the interarrival times' coefficient of variation, where a trace tells it (1: Poisson).
    """

    start_s: float
    end_s: float
    rate: float
    end_rate: float
    cv: float | None = None

    def __post_init__(self) -> None:
        if not (isfinite(self.start_s) and isfinite(self.end_s) and self.end_s > self.start_s):
            raise ValueError(f"a stretch of traffic needs a length, not {self.start_s} to {self.end_s} s")
        for rate in (self.rate, self.end_rate):
            if not (isfinite(rate) and rate >= 0):
                raise ValueError(f"{rate} is no rate; it is a number of 0 or more")

    @property
    def requests(self) -> float:
        """How many are expected."""
        return (self.end_s - self.start_s) * (self.rate + self.end_rate) / 2

    def rate_at(self, at_s: float) -> float:
        share = (at_s - self.start_s) / (self.end_s - self.start_s)
        return self.rate + (self.end_rate - self.rate) * share

    def after(self, at_s: float, requests: float) -> float | None:
        """When `requests` more than at `at_s` are expected; None where the segment ends before.

        Solves rate·x + slope·x²/2 = requests for x >= 0, in the form that is stable for a slope near 0.
        """
        slope = (self.end_rate - self.rate) / (self.end_s - self.start_s)
        rate = self.rate_at(at_s)
        square = rate * rate + 2 * slope * requests
        if square < 0:  # a falling line that reaches 0 before
            return None
        root = rate + sqrt(square)
        if root <= 0:
            return at_s if requests <= 0 else None
        found = at_s + 2 * requests / root
        return found if found <= self.end_s else None


class Rates:
    """Segments in order, without overlap; between them nothing comes."""

    def __init__(self, segments: Iterable[Segment]) -> None:
        self.segments = tuple(segments)
        self._starts = [segment.start_s for segment in self.segments]
        for before, after in zip(self.segments, self.segments[1:], strict=False):
            if after.start_s < before.end_s - 1e-9:
                raise ValueError(f"stretches of traffic overlap at {after.start_s} s")

    @property
    def duration_s(self) -> float:
        return self.segments[-1].end_s if self.segments else 0.0

    @property
    def requests(self) -> float:
        return sum(segment.requests for segment in self.segments)

    def rate_at(self, at_s: float) -> float:
        """Requests a second; 0 outside."""
        index = bisect_right(self._starts, at_s) - 1
        if index < 0 or at_s > self.segments[index].end_s:
            return 0.0
        return self.segments[index].rate_at(at_s)

    def stretched(self, *, speedup: float = 1.0, scale: float = 1.0, until_s: float | None = None) -> "Rates":
        """The same requests in 1/`speedup` of the time, `scale` times as many, cut off at `until_s` (of the result)."""
        factor = speedup * scale
        changed = []
        for segment in self.segments:
            start, end = segment.start_s / speedup, segment.end_s / speedup
            rate, end_rate = segment.rate * factor, segment.end_rate * factor
            if until_s is not None and end > until_s:
                if start >= until_s:
                    break
                end_rate = rate + (end_rate - rate) * (until_s - start) / (end - start)
                end = until_s
            changed.append(Segment(start, end, rate, end_rate, segment.cv))
        return Rates(changed)


def constant(rate: float, seconds: float) -> Rates:
    return Rates([Segment(0.0, seconds, rate, rate)])


def ramp(first: float, last: float, seconds: float) -> Rates:
    return Rates([Segment(0.0, seconds, first, last)])
