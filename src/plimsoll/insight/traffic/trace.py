"""Recorded traffic from text: CSV (the first line names the columns) or JSON lines, told apart by the first character.

Three forms, told apart by their columns:
- arrivals: one request a row, in a column `timestamp` (also time, ts, datetime, arrival, arrived_at; any case).
- rates: `seconds, requests_per_second` and, optionally, `interarrival_cv`; a rate holds until the next row's second.
- counts: `period, count`: a period's start and its requests. Missing periods had none; a period is as long as the
  smallest step between two. Rows of one period add up (counts of several servers in one file).

A time is a number (seconds; numbers too large for seconds since 1970 are milli-, micro- or nanoseconds) or ISO 8601,
taken as UTC where it names no zone. Rows may stand in any order. Other columns are ignored. A second row with a rate's
time is an error, unless it says the same. The result starts at 0.
"""

import csv
import json
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from itertools import chain, pairwise
from math import isfinite

from plimsoll.core.errors import UserError
from plimsoll.insight.traffic.rates import Rates, Segment

_TIMES = ("timestamp", "time", "ts", "datetime", "arrival", "arrived_at")
_COLUMNS = "timestamp; or seconds, requests_per_second[, interarrival_cv]; or period, count"
_SHOWN = 60  # characters of what cannot be read
_SECONDS_MAX = 1e11  # the year 5138; what is larger is a finer unit
_EPOCH_LEAST = 1e8  # March 1973; a smaller number counts from the trace's own beginning
_STEP_LEAST = 1e-3  # seconds


class TraceError(UserError):
    """`FILE:LINE what is wrong; what was expected`."""


@dataclass(frozen=True, slots=True)
class Trace:
    """Either `rates` or `times` (seconds from the first, in order).

    `start`: the epoch second of second 0; None where the trace tells no dates. `sampled`: rates are means of periods,
    as they were counted, so that whoever draws from them may interpolate. `lasts_s`: of `times`, where that is longer
    than until the last of them.
    """

    rates: Rates | None = None
    times: "array[float] | None" = None
    start: float | None = None
    sampled: bool = False
    lasts_s: float | None = None

    @property
    def duration_s(self) -> float:
        if self.rates is not None:
            return self.rates.duration_s
        return max(self.lasts_s or 0.0, self.times[-1] if self.times else 0.0)

    @property
    def requests(self) -> float:
        return self.rates.requests if self.rates is not None else float(len(self.times or ()))


Row = tuple[int, Mapping[str, object]]  # the line, from 1; values by column in lower case


def read_trace(lines: Iterable[str], name: str) -> Trace:
    """`lines` of a text, `name` for messages. Raises TraceError."""
    rows = _rows(lines, name)
    first = next(rows, None)
    if first is None:
        raise TraceError(f"{name} has no requests; expected the columns {_COLUMNS}")
    columns = first[1].keys()
    everything = chain((first,), rows)
    if {"seconds", "requests_per_second"} <= columns:
        return _rates(everything, name)
    if {"period", "count"} <= columns:
        return _counts(everything, name)
    column = next((column for column in _TIMES if column in columns), None)
    if column is None:
        found = ", ".join(columns)[:_SHOWN] or "none"
        raise TraceError(f"{name}:{first[0]} has none of the columns of a trace: {_COLUMNS}; found: {found}")
    times = array("d", sorted(_value(row, column, name, _time) for row in everything))
    start = times[0]
    return Trace(times=array("d", (time - start for time in times)), start=_epoch(start))


def _rates(rows: Iterable[Row], name: str) -> Trace:
    read = []
    for row in rows:
        at = _value(row, "seconds", name, _time)
        rate = _value(row, "requests_per_second", name, _amount)
        cv = _value(row, "interarrival_cv", name, _cv) if row[1].get("interarrival_cv") not in (None, "") else None
        read.append((at, rate, cv, row[0]))
    read.sort(key=lambda one: one[0])
    read = [one for one, before in zip(read, [None, *read], strict=False) if before is None or one[:3] != before[:3]]
    step = _steps([(at, line) for at, _, _, line in read], name)[1]
    ends = [at for at, _, _, _ in read[1:]] + [read[-1][0] + step]
    return _in_use([Segment(at, end, rate, rate, cv) for (at, rate, cv, _), end in zip(read, ends, strict=True)], name)


def _counts(rows: Iterable[Row], name: str) -> Trace:
    counts: dict[float, float] = {}
    lines: dict[float, int] = {}
    for row in rows:
        at = _value(row, "period", name, _time)
        counts[at] = counts.get(at, 0.0) + _value(row, "count", name, _amount)
        lines[at] = row[0]
    times = sorted(counts)
    period = _steps([(at, lines[at]) for at in times], name)[0]
    rates = [counts[at] / period for at in times]
    return _in_use([Segment(at, at + period, rate, rate) for at, rate in zip(times, rates, strict=True)], name)


def _in_use(segments: list[Segment], name: str) -> Trace:
    if not any(segment.rate for segment in segments):
        raise TraceError(f"{name} has no requests: every rate is 0")
    start = segments[0].start_s
    rates = Rates(Segment(s.start_s - start, s.end_s - start, s.rate, s.end_rate, s.cv) for s in segments)
    return Trace(rates=rates, start=_epoch(start), sampled=True)


def _epoch(at_s: float) -> float | None:
    return at_s if at_s >= _EPOCH_LEAST else None


def _steps(times: list[tuple[float, int]], name: str) -> tuple[float, float]:
    """The smallest step between sorted times, and the last."""
    if len(times) < 2:
        raise TraceError(f"{name} has a single row; how long it lasts is told by the next one")
    last = smallest = 0.0
    for (before, _), (at, line) in pairwise(times):
        last = at - before
        if last < _STEP_LEAST:
            raise TraceError(f"{name}:{line} has the time of another row")
        smallest = min(smallest or last, last)
    return smallest, last


def _rows(lines: Iterable[str], name: str) -> Iterator[Row]:
    numbered = ((number, line.removeprefix("\ufeff") if number == 1 else line) for number, line in enumerate(lines, 1))
    first = next(((number, line) for number, line in numbered if line.strip()), None)
    if first is None:
        return
    rest = ((number, line) for number, line in numbered if line.strip())
    if first[1].lstrip().startswith("{"):
        for number, line in chain((first,), rest):
            yield number, _object(number, line, name)
        return
    names = [column.strip().lower() for column in _fields(*first, name)]
    for number, line in rest:
        fields = _fields(number, line, name)
        if len(fields) != len(names):
            raise TraceError(f"{name}:{number} has {len(fields)} columns; the first line names {len(names)}")
        yield number, dict(zip(names, fields, strict=True))


def _fields(number: int, line: str, name: str) -> list[str]:
    try:
        return next(csv.reader([line], strict=True))
    except csv.Error as error:
        raise TraceError(f"{name}:{number} is no line of CSV: {error}") from None


def _object(number: int, line: str, name: str) -> Mapping[str, object]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise TraceError(f"{name}:{number} is no JSON object: {_shown(line)}")
    return {str(key).lower(): value for key, value in found.items()}


def _value(row: Row, column: str, name: str, read: Callable[[object], float]) -> float:
    line, values = row
    value = values.get(column)
    try:
        return read(value)
    except (ValueError, OverflowError) as error:
        raise TraceError(f"{name}:{line} {column}: {_shown(value)} {error}") from None


def _number(value: object, expected: str) -> float:
    try:
        if isinstance(value, str | int | float) and not isinstance(value, bool):
            number = float(value)
            if isfinite(number):
                return number
    except ValueError:
        pass
    raise ValueError(expected)


def _amount(value: object) -> float:
    number = _number(value, "is no number")
    if number < 0:
        raise ValueError("is below 0")
    return number


def _cv(value: object) -> float:
    number = _number(value, "is no coefficient of variation; expected a number of 0 or more")
    if not 0 <= number <= 10_000:
        raise ValueError("is no coefficient of variation; expected 0 to 10000")
    return number


def _time(value: object) -> float:
    """Seconds."""
    expected = "is no time; expected seconds, or ISO 8601: 2023-11-16 18:17:03.98"
    try:
        number = _number(value, expected)
    except ValueError:
        if not isinstance(value, str):
            raise
        try:
            read = datetime.fromisoformat(value.strip())
        except ValueError:
            raise ValueError(expected) from None
        return (read if read.tzinfo else read.replace(tzinfo=UTC)).timestamp()
    for _ in range(3):
        if abs(number) > _SECONDS_MAX:
            number /= 1000
    if abs(number) > _SECONDS_MAX:  # not even nanoseconds
        raise ValueError(expected)
    return number


def _shown(value: object) -> str:
    text = repr(value.strip() if isinstance(value, str) else value)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"
