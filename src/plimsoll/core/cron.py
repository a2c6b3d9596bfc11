"""Cron expressions, as crontab(5) and Kubernetes' CronJob write them: `0 8 * * 1-5`. Wall-clock time; no zone here."""

import re
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

_NAMES = ("minute", "hour", "day of the month", "month", "day of the week")
_RANGES = ((0, 59), (0, 23), (1, 31), (1, 12), (0, 7))
_MONTHS = {"jan": 1, "feb": 2, "mar": 3, "apr": 4, "may": 5, "jun": 6}
_MONTHS |= {"jul": 7, "aug": 8, "sep": 9, "oct": 10, "nov": 11, "dec": 12}
_DAYS = {"sun": 0, "mon": 1, "tue": 2, "wed": 3, "thu": 4, "fri": 5, "sat": 6}
_WORDS: tuple[dict[str, int], ...] = ({}, {}, {}, _MONTHS, _DAYS)
_MACROS = {"@hourly": "0 * * * *", "@daily": "0 0 * * *", "@weekly": "0 0 * * 0", "@monthly": "0 0 1 * *"}
_PART = re.compile(r"(\*|[a-z0-9]+)(?:-([a-z0-9]+))?(?:/([0-9]+))?\Z")
_EIGHT_YEARS_ON = datetime(2032, 12, 31, 23, 59, tzinfo=UTC)
_MOST_DAYS = 8 * 366  # 29 February can be eight years away, around 2100


@dataclass(frozen=True, slots=True)
class Cron:
    """`weekdays`: 0 is Sunday. `either`: both day fields are restricted, and a day that fits one of them counts, as in
    crontab(5)."""

    minutes: tuple[int, ...]
    hours: tuple[int, ...]
    days: frozenset[int]
    months: frozenset[int]
    weekdays: frozenset[int]
    either: bool

    def on(self, day: datetime) -> bool:
        """Whether it fires at all on that day."""
        if day.month not in self.months:
            return False
        of_month, of_week = day.day in self.days, day.isoweekday() % 7 in self.weekdays
        return of_month or of_week if self.either else of_month and of_week

    def latest(self, before: datetime) -> datetime | None:
        """When it fired last, at or before `before` (its zone is kept, its seconds cut); None: not in eight years."""
        day = before.replace(hour=0, minute=0, second=0, microsecond=0)
        for back in range(_MOST_DAYS):
            tried = day - timedelta(days=back)
            if not self.on(tried):
                continue
            last = (before.hour, before.minute) if back == 0 else (23, 59)
            for hour in reversed(self.hours):
                minutes = [one for one in self.minutes if (hour, one) <= last]
                if minutes:
                    return tried.replace(hour=hour, minute=minutes[-1])
        return None


def parse_cron(text: str) -> Cron:
    """ValueError says which field is wrong and what was expected."""
    fields = _MACROS.get(text.strip().lower(), text.lower()).split()
    if len(fields) != 5:
        raise ValueError(f"{text!r} is no cron expression; expected five fields (minute, hour, day, month, weekday)")
    minutes, hours, days, months, weekdays = (_field(field, at) for at, field in enumerate(fields))
    found = Cron(
        minutes=tuple(sorted(minutes)),
        hours=tuple(sorted(hours)),
        days=frozenset(days),
        months=frozenset(months),
        weekdays=frozenset(day % 7 for day in weekdays),
        either=not fields[2].startswith("*") and not fields[4].startswith("*"),
    )
    if found.latest(_EIGHT_YEARS_ON) is None:
        raise ValueError(f"{text!r} never fires; expected a day that its months have")
    return found


def _field(text: str, at: int) -> set[int]:
    low, high = _RANGES[at]
    found: set[int] = set()
    for part in text.split(","):
        match = _PART.match(part)
        first = low if match and match[1] == "*" else _number(match[1], at) if match else None
        last = first
        if match and (match[1] == "*" or (match[3] and not match[2])):
            last = high - (at == 4)  # a week's days are 0-6; 7 is Sunday again
        if match and match[2]:
            last = _number(match[2], at) if match[1] != "*" else None
        step = int(match[3]) if match and match[3] else 1
        if first is None or last is None or first > last or step < 1:
            raise ValueError(f"{part!r} is no {_NAMES[at]}; expected numbers from {low} to {high}, *, 1-5, */5 or 1,3")
        found |= set(range(first, last + 1, step))
    return found


def _number(text: str, at: int) -> int | None:
    low, high = _RANGES[at]
    number = _WORDS[at].get(text[:3] if text.isalpha() else "", int(text) if text.isdigit() and len(text) < 4 else -1)
    return number if low <= number <= high else None
