"""`schedule`: counts by the calendar. Each line is a cron expression and the count from its moment on, until another
line's moment comes: `schedule:0 8 * * 1-5=6;0 20 * * *=2;tz=Europe/Berlin`.

Cron as Debian has it (cronsim): five fields, lists, ranges, steps, names, `L`, `MON#2`; where both day fields are
given, either may match. Clocks put forward: what falls into the hour that isn't happens right after it; put back: once.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from math import inf

from cronsim import CronSim, CronSimError

from plimsoll.core.scaling import Bounds, Decision, Observation
from plimsoll.policy.scaling.settings import nearest

_A_MOMENT = datetime(2000, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class Line:
    """From each moment of `cron` on: `count` replicas."""

    cron: str
    count: int


@dataclass(frozen=True, slots=True)
class Schedule:
    lines: Sequence[Line]
    zone: tzinfo = UTC
    zone_name: str = "UTC"


def parse_schedule(text: str) -> Schedule:
    """Lines and `tz=NAME`, separated by semicolons. Raises ValueError that names the line and what is wrong with it."""
    lines: list[Line] = []
    zone: tzinfo = UTC
    zone_name = "UTC"
    for part in filter(None, (piece.strip() for piece in text.split(";"))):
        cron, equals, value = (piece.strip() for piece in part.rpartition("="))
        if cron == "tz":
            zone, zone_name = _zone(value), value
            continue
        if not equals or not (value.isascii() and value.isdecimal()):
            raise ValueError(f"schedule: {part!r} needs a count of replicas: 0 8 * * 1-5=6")
        if len(cron.split()) != 5:
            raise ValueError(f"schedule: {cron!r} is no cron line; it has 5 fields: minute hour day month weekday")
        try:
            next(CronSim(cron, _A_MOMENT))
        except CronSimError as error:
            raise ValueError(f"schedule: {cron!r}: {str(error).lower()}") from None
        except StopIteration:
            raise ValueError(f"schedule: {cron!r} never comes") from None
        lines.append(Line(cron, int(value)))
    if not lines:
        raise ValueError("schedule needs lines, as in schedule:0 8 * * 1-5=6;0 20 * * *=2;tz=Europe/Berlin")
    return Schedule(tuple(lines), zone, zone_name)


def _zone(name: str) -> tzinfo:
    from zoneinfo import ZoneInfo, available_timezones

    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        names = {known.lower(): known for known in available_timezones()}
        if not names:
            raise ValueError(f"schedule: no time zone {name!r}: this machine has no zones; install tzdata") from None
        near = nearest(name, names).strip(" ()?").rpartition(" ")[2]
        hint = f" (did you mean {names[near]}?)" if near else ""
        raise ValueError(f"schedule: no time zone {name!r}{hint}") from None


class ScheduleScaling:
    """The line whose moment came last decides; of two at the same moment the larger count. Needs no metrics.

    `epoch_s`: Unix seconds at the moment the host's clock shows 0; 0 where `now` is Unix time.
    """

    name = "schedule"

    def __init__(self, bounds: Bounds, schedule: Schedule, *, epoch_s: float = 0.0) -> None:
        self.bounds = bounds
        self.schedule = schedule
        self._epoch_s = epoch_s
        self._from, self._until = inf, -inf  # Unix seconds between which the decision holds
        self._decision = self._keep(bounds.least, "no line's moment is known", {})

    def decide(self, seen: Observation) -> Decision:
        now = seen.now + self._epoch_s
        if not self._from <= now < self._until:
            try:
                self._look_up(now)
            except (OverflowError, ValueError, OSError):
                # A clock beyond the calendar (9999, NaN): the last decision stands.
                return self._decision
        return self._decision

    def _look_up(self, now: float) -> None:
        """Finds what holds at `now`, and how long."""
        zone = self.schedule.zone
        moment = datetime.fromtimestamp(int(now), zone)
        just_after = datetime.fromtimestamp(int(now) + 1, zone)
        since, ends = -inf, inf
        found: Line | None = None
        for line in self.schedule.lines:
            came = next(CronSim(line.cron, just_after, reverse=True), None)
            if came is not None:
                at = came.timestamp()
                if found is None or (at, line.count) > (since, found.count):
                    found, since = line, at
            comes = next(CronSim(line.cron, moment), None)
            if comes is not None:
                ends = min(ends, comes.timestamp())
        self._from, self._until = min(since, now), ends
        if found is None:
            self._decision = self._keep(self.bounds.least, "no line's moment has come yet", {})
            return
        shown = datetime.fromtimestamp(since, zone).strftime("%a %H:%M")
        evidence = {"cron": found.cron, "count": found.count, "since": since, "zone": self.schedule.zone_name}
        self._decision = self._keep(found.count, f"since {shown} {self.schedule.zone_name} by {found.cron}", evidence)

    def _keep(self, count: int, why: str, evidence: dict[str, object]) -> Decision:
        held = min(max(count, self.bounds.least), self.bounds.most)
        if held != count:
            why = f"{count} {why}; bounds {self.bounds.least}-{self.bounds.most}"
        return Decision(held, f"{held}: {why}", evidence)
