"""Counts of several services in one CSV: `minute`, then a column for each, named as it is: its requests a minute.

Minutes are numbers from any beginning, in any order; a missing one had no requests, rows of one add up. The rates are
steps: each minute's own, as in experiments that draw a minute's count as Poisson.
"""

import csv
from collections.abc import Iterable

from plimsoll.insight.traffic.rates import Rates, Segment
from plimsoll.insight.traffic.trace import Trace, TraceError

_MINUTE_S = 60.0
_MOST_MINUTES = 10_000_000


def is_columns(first: str) -> bool:
    """Whether a text with this first line holds counts of several services."""
    names = [name.strip().lower() for name in first.removeprefix("\ufeff").split(",")]
    return names[0] == "minute" and len(names) > 1 and "count" not in names


def read_columns(lines: Iterable[str], name: str) -> dict[str, Trace]:
    """By column. Raises TraceError, which names line and column."""
    rows = csv.reader(line.removeprefix("\ufeff") for line in lines)
    heads = [head.strip() for head in next(rows, [])]
    if len(set(heads)) != len(heads) or "" in heads:
        raise TraceError(f"{name}:1 each column needs a name of its own: {', '.join(heads)[:100]}")
    counts: dict[int, list[float]] = {}
    for row in rows:
        if not row or not any(field.strip() for field in row):
            continue
        at = f"{name}:{rows.line_num}"
        if len(row) != len(heads):
            raise TraceError(f"{at} has {len(row)} columns; the first line names {len(heads)}")
        minute = _number(row[0], at, heads[0])
        if minute != int(minute):
            raise TraceError(f"{at} minute: {row[0].strip()!r} is no whole minute")
        read = [_number(value, at, head) for value, head in zip(row[1:], heads[1:], strict=True)]
        before = counts.get(int(minute), [0.0] * len(read))
        counts[int(minute)] = [sum(pair) for pair in zip(read, before, strict=True)]
    if not counts:
        raise TraceError(f"{name} has no rows; expected a minute and a count a column in each")
    first = min(counts)
    if max(counts) - first > _MOST_MINUTES:
        raise TraceError(f"{name} spans {max(counts) - first:,} minutes: are these minutes?")
    return {head: _trace(counts, first, column, name, head) for column, head in enumerate(heads[1:])}


def _trace(counts: dict[int, list[float]], first: int, column: int, name: str, head: str) -> Trace:
    """As long as the table is, whoever's last minutes were quiet."""
    rates = [(minute - first, counts[minute][column] / _MINUTE_S) for minute in sorted(counts)]
    if not any(rate for _, rate in rates):
        raise TraceError(f"{name} {head}: has no requests")
    return Trace(
        rates=Rates(Segment(minute * _MINUTE_S, (minute + 1) * _MINUTE_S, rate, rate) for minute, rate in rates)
    )


def _number(text: str, at: str, head: str) -> float:
    try:
        value = float(text)
    except ValueError:
        value = -1.0
    if not 0 <= value < 1e12:
        raise TraceError(f"{at} {head}: {text.strip()!r} is no number of 0 or more")
    return value
