"""Rates changed before they are drawn from: cut, interpolated, counted from recorded times."""

from array import array
from bisect import bisect_left
from itertools import pairwise

import numpy as np

from plimsoll.insight.traffic import Rates, Segment, Trace


def cut(trace: Trace, start_s: float | None, end_s: float | None) -> Trace:
    """The seconds from `start_s` to before `end_s`, which begin at 0 then."""
    if start_s is None and end_s is None:
        return trace
    start = max(0.0, start_s or 0.0)
    end = trace.duration_s if end_s is None else min(end_s, trace.duration_s)
    epoch = None if trace.start is None else trace.start + start
    if trace.rates is not None:
        kept = (_part(segment, start, end) for segment in trace.rates.segments)
        return Trace(rates=Rates(segment for segment in kept if segment), start=epoch, sampled=trace.sampled)
    times = trace.times if trace.times is not None else array("d")
    first = bisect_left(times, start)
    last = len(times) if end_s is None or end_s > trace.duration_s else bisect_left(times, end)
    moved = array("d", (time - start for time in times[first:last]))
    return Trace(times=moved, start=epoch, lasts_s=max(0.0, end - start))


def _part(segment: Segment, start: float, end: float) -> Segment | None:
    begin, stop = max(segment.start_s, start), min(segment.end_s, end)
    if stop - begin <= 1e-9:
        return None
    return Segment(begin - start, stop - start, segment.rate_at(begin), segment.rate_at(stop), segment.cv)


def interpolated(rates: Rates) -> Rates:
    """Along lines from the middle of each period to the middle of the next; a gap is a period (of its neighbour's
    length, at either end) with a rate of 0. Each half keeps its period's cv. The total changes a little: at most by
    a quarter of the difference of the first and the last rates, times a period."""
    periods = _without_gaps(rates.segments)
    if len(periods) < 2:
        return rates
    changed: list[Segment] = []
    first, last = periods[0], periods[-1]
    _add(changed, first.start_s, _middle(first), first.rate, first.rate, first.cv)
    for before, after in pairwise(periods):
        begin, end, edge = _middle(before), _middle(after), before.end_s
        at_edge = before.rate + (after.rate - before.rate) * (edge - begin) / (end - begin)
        _add(changed, begin, edge, before.rate, at_edge, before.cv)
        _add(changed, edge, end, at_edge, after.rate, after.cv)
    _add(changed, _middle(last), last.end_s, last.rate, last.rate, last.cv)
    return Rates(changed)


def _middle(period: Segment) -> float:
    return (period.start_s + period.end_s) / 2


def _add(to: list[Segment], start: float, end: float, rate: float, end_rate: float, cv: float | None) -> None:
    if end > start and (rate > 0 or end_rate > 0 or not to):
        to.append(Segment(start, end, max(0.0, rate), max(0.0, end_rate), cv))


def _without_gaps(segments: tuple[Segment, ...]) -> list[Segment]:
    """Steps at their mean rate, with zeros where nothing is told."""
    filled: list[Segment] = []
    for segment in segments:
        if filled and segment.start_s - filled[-1].end_s > 1e-9:
            begin, end = filled[-1].end_s, segment.start_s
            side = min(filled[-1].end_s - filled[-1].start_s, (end - begin) / 2)
            for start, stop in ((begin, begin + side), (begin + side, end - side), (end - side, end)):
                if stop - start > 1e-9:
                    filled.append(Segment(start, stop, 0.0, 0.0))
        mean = (segment.rate + segment.end_rate) / 2
        filled.append(Segment(segment.start_s, segment.end_s, mean, mean, segment.cv))
    return filled


def per_second(trace: Trace) -> Rates:
    """What was recorded in each second, as the rate of that second; the last second is a whole one."""
    times = np.asarray(trace.times if trace.times is not None else (), dtype=np.float64)
    seconds = max(1, int(np.ceil(trace.duration_s)))
    found = np.bincount(np.minimum(times.astype(np.int64), seconds - 1), minlength=seconds)
    edges = np.flatnonzero(np.diff(found)) + 1
    starts = [0, *edges.tolist()]
    ends = [*edges.tolist(), seconds]
    return Rates(
        Segment(float(start), float(end), float(found[start]), float(found[start]))
        for start, end in zip(starts, ends, strict=True)
    )
