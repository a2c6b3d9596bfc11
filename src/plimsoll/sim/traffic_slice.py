"""Which part of a trace: `--slice DAY` or `--slice FROM/TO`, as seconds of the recording."""

import re
from datetime import UTC, date, datetime, timedelta

from plimsoll.core.errors import UserError
from plimsoll.core.units import format_duration, parse_duration
from plimsoll.insight.traffic import Trace

_DAY_S = 86_400.0
_DAYS = re.compile(r"(?:([0-9]+)d)?(.*)\Z")
_FORMS = "write a date (2023-11-16), a day of the trace (day:3), or FROM/TO (2h/3h, 2023-11-16T18:00/19:30, 1d/2d)"


def parse_slice(text: str, trace: Trace) -> tuple[float, float]:
    """(start_s, end_s) from the trace's beginning, cut to what the trace has.

    Days are UTC's where a date is written, and counted from the trace's beginning in `day:1`. FROM and TO: an ISO time,
    or a duration from the beginning; after an ISO time, TO as a duration is a length and TO as a time of day is that
    day's. Raises UserError that says what the trace spans.
    """
    begin, slash, end = (part.strip() for part in text.partition("/"))
    try:
        if slash:
            start_s = _moment(begin, trace)
            end_s = _end(end, begin, start_s, trace)
        else:
            start_s, end_s = _day(begin, trace)
    except ValueError as error:
        raise UserError(f"--slice {text}: {error}") from None
    if end_s <= start_s:
        raise UserError(f"--slice {text}: ends before it starts")
    if end_s <= 0 or start_s >= trace.duration_s:
        raise UserError(f"--slice {text}: the trace has nothing there; it spans {_span(trace)}")
    return max(0.0, start_s), min(end_s, trace.duration_s)


def _day(text: str, trace: Trace) -> tuple[float, float]:
    name, colon, number = text.partition(":")
    if colon and name == "day":
        if not number.isdecimal() or int(number) < 1:
            raise ValueError("days are counted from 1: day:1")
        return (int(number) - 1) * _DAY_S, int(number) * _DAY_S
    try:
        found = date.fromisoformat(text)
    except ValueError:
        raise ValueError(_FORMS) from None
    start = _since(datetime(found.year, found.month, found.day, tzinfo=UTC), trace)
    return start, start + _DAY_S


def _moment(text: str, trace: Trace) -> float:
    lasts = _duration(text)
    if lasts is not None:
        return lasts
    return _since(_instant(text), trace)


def _end(text: str, begin: str, start_s: float, trace: Trace) -> float:
    lasts, dated = _duration(text), _duration(begin) is None
    if lasts is not None:
        return start_s + lasts if dated else lasts
    if dated and "T" not in text and " " not in text and ":" in text:
        day = _instant(begin).date()
        end = _since(_instant(f"{day}T{text}"), trace)
        return end if end > start_s else end + timedelta(days=1).total_seconds()
    return _since(_instant(text), trace)


def _duration(text: str) -> float | None:
    """`2h`, `1d12h`, `1d`; None: it is written as a date."""
    if not text:
        raise ValueError(_FORMS)
    match = _DAYS.match(text)
    assert match is not None  # the pattern fits any text
    days, rest = match[1], match[2]
    try:
        return (int(days) * _DAY_S if days else 0.0) + (parse_duration(rest) if rest else 0.0)
    except ValueError:
        return None


def _instant(text: str) -> datetime:
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        raise ValueError(f"{text!r} is no time; {_FORMS}") from None
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def _since(at: datetime, trace: Trace) -> float:
    if trace.start is None:
        raise ValueError(
            f"the trace tells no dates; write day:1, or 0s/{format_duration(trace.duration_s // 2 or 1.0)}"
        )
    return at.timestamp() - trace.start


def _span(trace: Trace) -> str:
    if trace.start is None:
        return format_duration(round(trace.duration_s))
    ends = (trace.start, trace.start + trace.duration_s)
    return " to ".join(f"{datetime.fromtimestamp(at, UTC):%Y-%m-%d %H:%M}" for at in ends)
