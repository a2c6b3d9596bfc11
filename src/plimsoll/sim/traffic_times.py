"""Arrival times drawn from rates, in numpy: Poisson by cells of 1/16 s, or a gamma renewal process.

Two named streams of one seed: counts, and where in its cell each request falls. So counts can be had without times.
"""

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from plimsoll.insight.traffic import Rates, Segment

CELL_S = 1 / 16  # a power of two: the cells' edges are exact numbers
CV_MOST = 10.0  # above, a stream is a few bursts, and its own seed decides everything

_COUNTS, _PLACES, _GAPS = 1, 2, 3  # the streams' names

Times = NDArray[np.float64]


def _generator(seed: int, stream: int) -> np.random.Generator:
    return np.random.Generator(np.random.PCG64(np.random.SeedSequence([seed & (2**64 - 1), stream])))


class _Lines:
    """Piecewise linear rates as arrays: their integral (expected requests) and its inverse."""

    def __init__(self, segments: tuple[Segment, ...]) -> None:
        table = np.array([(s.start_s, s.end_s, s.rate, s.end_rate) for s in segments], dtype=np.float64).reshape(-1, 4)
        self.start, self.end, self.rate, end_rate = table.T
        self.slope = (end_rate - self.rate) / (self.end - self.start)
        self.until = np.cumsum((self.end - self.start) * (self.rate + end_rate) / 2)
        self.before = np.concatenate(([0.0], self.until[:-1]))

    def requests(self, at: Times) -> Times:
        """Expected from the beginning to each time."""
        index = np.maximum(np.searchsorted(self.start, at, side="right") - 1, 0)
        x = np.clip(at - self.start[index], 0.0, self.end[index] - self.start[index])
        return np.asarray(self.before[index] + x * (self.rate[index] + self.slope[index] * x / 2))

    def when(self, requests: Times) -> Times:
        """The time by which so many are expected; as `Segment.after`, for arrays."""
        index = np.minimum(np.searchsorted(self.until, requests, side="left"), len(self.until) - 1)
        rest, rate, slope = requests - self.before[index], self.rate[index], self.slope[index]
        root = rate + np.sqrt(np.maximum(rate * rate + 2 * slope * rest, 0.0))
        found = self.start[index] + np.divide(2 * rest, root, out=np.zeros_like(rest), where=root > 0)
        return np.asarray(np.minimum(found, self.end[index]))


def poisson_counts(rates: Rates, seed: int, *, cells: int) -> Iterator[tuple[int, NDArray[np.int64]]]:
    """(index of the first cell, requests of each): up to `cells` at once."""
    if not rates.segments:
        return
    lines, random = _Lines(rates.segments), _generator(seed, _COUNTS)
    last = int(np.ceil(rates.duration_s / CELL_S))
    for first in range(0, last, cells):
        edges = np.arange(first, min(first + cells, last) + 1, dtype=np.float64) * CELL_S
        yield first, random.poisson(np.maximum(np.diff(lines.requests(edges)), 0.0)).astype(np.int64)


def poisson_times(rates: Rates, seed: int, *, cells: int, most: int) -> Iterator[Times]:
    random = _generator(seed, _PLACES)
    end = rates.duration_s
    for first, counts in poisson_counts(rates, seed, cells=cells):
        until = np.cumsum(counts)
        at = 0
        while at < len(counts):
            done = int(until[at - 1]) if at else 0
            to = max(at + 1, int(np.searchsorted(until, done + most, side="right")))
            start = (first + at) * CELL_S
            if to == at + 1 and counts[at] > most:
                yield from _crowded(int(counts[at]), start, min(start + CELL_S, end), random, most)
            elif until[to - 1] > done:
                yield _placed(counts[at:to], start, end, random)
            at = to


def _placed(counts: NDArray[np.int64], start: float, end: float, random: np.random.Generator) -> Times:
    """Requests anywhere inside their cells; in order."""
    low = np.repeat(start + np.arange(len(counts)) * CELL_S, counts)
    width = np.minimum(CELL_S, end - low) if start + len(counts) * CELL_S > end else CELL_S
    # Rounding may put one on the far edge, which is the next cell's.
    times = np.minimum(low + random.random(len(low)) * width, np.nextafter(low + CELL_S, 0.0))
    times.sort()
    return np.asarray(times)


def _crowded(count: int, start: float, end: float, random: np.random.Generator, most: int) -> Iterator[Times]:
    """More than `most` in one cell: the cell is divided, its requests fall on the parts."""
    parts = -(-count // most) * 2
    edges = np.linspace(start, end, parts + 1)
    shares = random.multinomial(count, np.full(parts, 1 / parts))
    for low, high, share in zip(edges[:-1], edges[1:], shares, strict=True):
        times = np.minimum(low + random.random(int(share)) * (high - low), np.nextafter(high, 0.0))
        if len(times):
            times.sort()
            yield times


def renewal_times(rates: Rates, seed: int, most: int) -> Iterator[Times]:
    """Gaps of mean 1 and each segment's cv, through the inverse of the rates' integral (as `insight.traffic.draw`)."""
    lines, random = _Lines(rates.segments), _generator(seed, _GAPS)
    end = float(np.nextafter(rates.duration_s, 0.0))
    left: float | None = None  # of a gap that reached past its segments
    latest = 0.0
    for begin, finish, cv in _runs(rates.segments, lines):
        at = begin
        while at < finish:
            size = int(min(most, 1.1 * (finish - at) + 16))
            gaps = _gaps(cv, size, random)
            if left is not None:
                gaps[0], left = left, None
            reached = at + np.cumsum(gaps)
            inside = int(np.searchsorted(reached, finish, side="left"))
            if inside < size:
                left = float(reached[inside] - finish)
            at = float(reached[-1]) if inside == size else finish
            if inside:
                # Rounding must not turn the order around.
                times = np.maximum.accumulate(np.clip(lines.when(reached[:inside]), latest, end))
                latest = float(times[-1])
                yield times


def _runs(segments: tuple[Segment, ...], lines: _Lines) -> Iterator[tuple[float, float, float]]:
    """Stretches of one cv, as expected requests before and after."""
    begin = 0
    cvs = [min(1.0 if segment.cv is None else segment.cv, CV_MOST) for segment in segments]
    for index in range(1, len(segments) + 1):
        if index == len(segments) or cvs[index] != cvs[begin]:
            yield float(lines.before[begin]), float(lines.until[index - 1]), cvs[begin]
            begin = index


def _gaps(cv: float, count: int, random: np.random.Generator) -> Times:
    if cv == 0:
        return np.ones(count)
    if cv == 1:
        return random.standard_exponential(count)
    return random.standard_gamma(1 / (cv * cv), count) * (cv * cv)
