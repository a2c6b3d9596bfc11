"""A trace as the simulator's traffic: cut, sped up, scaled, and drawn; the same requests as times and as counts.

A `Traffic(trace, seed)` is one draw: `chunks` gives its times, for a world that handles each request, `counts` what
falls in each step, for one that handles flows. Both see the same requests. Memory does not grow with their number.

Rules: recorded arrivals keep their times until they are scaled; then the counts of each second are multiplied, drawn
anew as Poisson, and put anywhere inside their second. Rates of periods are interpolated along lines from the middle of
one to the middle of the next. Where a trace tells a coefficient of variation, arrivals are a gamma renewal process with
it (10 at most), carried through the rates' integral; elsewhere they are Poisson.
"""

from array import array
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.errors import UserError
from plimsoll.insight.traffic import Rates, Segment, Trace
from plimsoll.sim.scenario import Traffic
from plimsoll.sim.traffic_rates import cut, interpolated, per_second
from plimsoll.sim.traffic_times import CELL_S, poisson_counts, poisson_times, renewal_times

Times = NDArray[np.float64]
Counts = NDArray[np.int64]

_CHUNK = 65_536  # requests
_CELLS = 4096  # of 1/16 s, at once


@dataclass(frozen=True, slots=True)
class Prepared:
    """`trace`: cut, sped up and scaled. Drawn anew by each call, and the same each time.

    `factor`: what the trace's rate was multiplied with besides the speedup. `start`: as of `Trace`, of the slice.
    """

    trace: Trace
    seed: int
    factor: float = 1.0

    @property
    def traffic(self) -> Traffic:
        """For a `Scenario`."""
        return Traffic(self.trace, self.seed)

    @property
    def duration_s(self) -> float:
        return self.trace.duration_s

    @property
    def requests(self) -> float:
        """Expected; exact where times are as recorded."""
        return self.trace.requests

    def times(self) -> Iterator[Times]:
        return chunks(self.traffic)

    def counts(self, step_s: float) -> Counts:
        return counts(self.traffic, step_s)


def prepare(
    trace: Trace,
    *,
    speedup: float = 1.0,
    scale: float = 1.0,
    start_s: float | None = None,
    end_s: float | None = None,
    mean_rate: float | None = None,
    seed: int = 1,
    interpolate: bool | None = None,
) -> Prepared:
    """The trace's seconds from `start_s` to `end_s` (of the recording) in 1/`speedup` of the time, `scale` times as
    many requests; or as many that their mean is `mean_rate` a second. `interpolate`: None: where rates are of periods.

    Raises UserError where nothing is left.
    """
    if not (0 < speedup < float("inf") and 0 < scale < float("inf")):
        raise UserError(f"speedup {speedup:g} and scale {scale:g}: both must be above 0")
    changed = cut(trace, start_s, end_s)
    if changed.rates is not None and (changed.sampled if interpolate is None else interpolate):
        changed = Trace(rates=interpolated(changed.rates), start=changed.start)
    if changed.requests <= 0:
        raise UserError("the trace has no requests in this slice")
    changed = _faster(changed, speedup)
    factor = scale
    if (mean_rate is not None or scale != 1) and changed.rates is None:
        changed = Trace(rates=per_second(changed), start=changed.start)
    if mean_rate is not None:
        factor *= mean_rate * changed.duration_s / changed.requests
    if factor != 1 and changed.rates is not None:
        changed = Trace(rates=changed.rates.stretched(scale=factor), start=changed.start)
    return Prepared(changed, seed, factor)


def _faster(trace: Trace, speedup: float) -> Trace:
    if speedup == 1:
        return trace
    if trace.rates is not None:
        return Trace(rates=trace.rates.stretched(speedup=speedup), start=trace.start)
    times = array("d")
    times.frombytes((np.asarray(trace.times) / speedup).tobytes())
    return Trace(times=times, start=trace.start, lasts_s=trace.duration_s / speedup)


def chunks(traffic: Traffic) -> Iterator[Times]:
    """Arrival times (seconds from the start, float64) in order, in arrays of up to some 65,000, none empty."""
    trace = traffic.trace
    if trace.rates is None:
        recorded = np.asarray(trace.times if trace.times is not None else (), dtype=np.float64)
        for at in range(0, len(recorded), _CHUNK):
            yield recorded[at : at + _CHUNK]
    elif _renewal(trace.rates):
        yield from renewal_times(trace.rates, traffic.seed, _CHUNK)
    else:
        yield from poisson_times(trace.rates, traffic.seed, cells=_CELLS, most=_CHUNK)


def counts(traffic: Traffic, step_s: float) -> Counts:
    """Requests in each step of the trace's duration (the last may be a part of one): what `chunks` bins into.

    Cheap for Poisson traffic where the step is a multiple of 1/16 s; else the times are drawn and binned.
    """
    if not step_s > 0:
        raise ValueError(f"a step of {step_s} s")
    trace = traffic.trace
    steps = max(1, int(np.ceil(trace.duration_s / step_s - 1e-9)))
    cells = step_s / CELL_S
    if trace.rates is not None and cells == int(cells) and not _renewal(trace.rates):
        return _summed(trace.rates, traffic.seed, int(cells), steps)
    found = np.zeros(steps, dtype=np.int64)
    for times in chunks(traffic):
        index = np.minimum((times / step_s).astype(np.int64), steps - 1)
        first = int(index[0])
        part = np.bincount(index - first)
        found[first : first + len(part)] += part
    return found


def _summed(rates: Rates, seed: int, cells: int, steps: int) -> Counts:
    found = np.zeros(steps, dtype=np.int64)
    for first, drawn in poisson_counts(rates, seed, cells=_CELLS):
        index = np.minimum(np.arange(first, first + len(drawn)) // cells, steps - 1)
        np.add.at(found, index, drawn)
    return found


def _renewal(rates: Rates) -> bool:
    return any(_has_cv(segment) for segment in rates.segments)


def _has_cv(segment: Segment) -> bool:
    return segment.cv is not None and segment.cv != 1
