"""When requests arrive: drawn from rates, or repeated from a record. Open-loop: nobody waits for an answer.

Gaps of mean 1 are drawn and carried through the inverse of the rate's integral (Çınlar, "Introduction to Stochastic
Processes", 1975: time rescaling). So a ramp has the rate it should have at each moment, and a gamma renewal process
keeps its burstiness while the rate changes.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import islice
from typing import Protocol

from plimsoll.insight.traffic.rates import Rates

_CHUNK = 128  # drawn at once: some 0.2 ms of work


class Random(Protocol):
    """What we need of a seeded `random.Random`."""

    def random(self) -> float: ...
    def expovariate(self, lambd: float, /) -> float: ...
    def gammavariate(self, alpha: float, beta: float, /) -> float: ...


@dataclass(frozen=True, slots=True)
class Gaps:
    """How regular arrivals are. `cv`: the gaps' coefficient of variation: 1 Poisson, 0 evenly spaced, above 1 in
    bursts (a gamma renewal process)."""

    cv: float = 1.0

    def __str__(self) -> str:
        return {0.0: "uniform", 1.0: "poisson"}.get(self.cv, f"gamma:{self.cv:g}")


def parse_gaps(text: str) -> Gaps:
    """`poisson`, `uniform` or `gamma:CV`. Raises ValueError."""
    kind, _, value = text.partition(":")
    if text == "poisson":
        return Gaps(1.0)
    if text == "uniform":
        return Gaps(0.0)
    if kind == "gamma":
        try:
            cv = float(value)
        except ValueError:
            cv = 0.0
        if 0.01 <= cv <= 100:
            return Gaps(cv)
        raise ValueError(f"{text!r}: gamma wants its coefficient of variation, 0.01 to 100: gamma:4")
    raise ValueError(f"{text!r} is no kind of arrivals; write poisson, gamma:CV or uniform")


def draw(rates: Rates, random: Random, gaps: Gaps | None = None) -> Iterator[float]:
    """Seconds since the start, in order. Without `gaps`: each segment's own cv, Poisson where it has none."""
    left = 0.5 if gaps is not None and gaps.cv == 0 else -1.0  # requests until the next; below 0: to be drawn
    default = Gaps(1.0)
    for segment in rates.segments:
        if segment.rate <= 0 and segment.end_rate <= 0:
            continue
        gap = _gap(gaps or (default if segment.cv is None else Gaps(segment.cv)), random)
        at = segment.start_s
        while True:
            if left < 0:
                left = gap()
            found = segment.after(at, left)
            if found is None:
                left = max(0.0, left - _between(segment.rate_at(at), segment.end_rate, segment.end_s - at))
                break
            at, left = found, -1.0
            yield at


def _between(rate: float, end_rate: float, seconds: float) -> float:
    return seconds * (rate + end_rate) / 2


def _gap(gaps: Gaps, random: Random) -> Callable[[], float]:
    if gaps.cv == 0:
        return lambda: 1.0
    if gaps.cv == 1:
        return lambda: random.expovariate(1.0)
    scale = gaps.cv * gaps.cv
    shape = 1 / scale
    return lambda: random.gammavariate(shape, scale)


def repeat(
    times_s: "Iterator[float] | list[float]",
    random: Random,
    *,
    speedup: float = 1.0,
    scale: float = 1.0,
    until_s: float | None = None,
) -> Iterator[float]:
    """Recorded arrivals (in order, seconds) in 1/`speedup` of the time. `scale`: each comes that often, a fraction by
    chance; the copies fall anywhere before the next one, so that bursts stay where they were."""
    times = iter(times_s)
    at = next(times, None)
    while at is not None:
        after = next(times, None)
        begin = at / speedup
        if until_s is not None and begin >= until_s:
            return
        copies = int(scale) + (random.random() < scale % 1)
        if copies:
            yield begin
        if copies > 1:
            room = (after / speedup if after is not None else begin) - begin
            extra = sorted(begin + room * random.random() for _ in range(copies - 1))
            yield from (time for time in extra if until_s is None or time < until_s)
        at = after


class Arrivals:
    """A schedule, drawn in chunks as time passes: `take` what is due by `now`, ask `next` when there is more."""

    __slots__ = ("_at", "_chunk", "_source")

    def __init__(self, source: Iterator[float]) -> None:
        self._source = source
        self._chunk: list[float] = []
        self._at = 0

    @property
    def next(self) -> float | None:
        """When the next request is to be sent; None after the last."""
        if self._at == len(self._chunk):
            self._chunk = list(islice(self._source, _CHUNK))
            self._at = 0
        return self._chunk[self._at] if self._chunk else None

    def take(self, now: float, limit: int) -> list[float]:
        """The times up to `now`, the earliest first, `limit` at most."""
        due: list[float] = []
        while len(due) < limit:
            at = self.next
            if at is None or at > now:
                break
            self._at += 1
            due.append(at)
        return due
