"""Simulated seconds as a reader knows them: the recording's own hours, in UTC where it tells dates."""

from dataclasses import dataclass
from datetime import UTC, datetime

from plimsoll.core.units import format_duration


@dataclass(frozen=True, slots=True)
class Times:
    """`start`: the epoch second of the recording at simulated second 0, None where it tells no dates; `speedup`: how
    many of its seconds pass in one simulated."""

    start: float | None = None
    speedup: float = 1.0
    seconds: float = 0.0  # simulated in all: whether days must be told apart

    def at(self, at_s: float) -> str:
        """`06-30 14:02`, `14:02:11` of a short trace; `3h12m in` without dates."""
        recorded = at_s * self.speedup
        if self.start is None:
            return f"{_after(recorded)} in"
        moment = datetime.fromtimestamp(self.start + recorded, UTC)
        if self.seconds * self.speedup <= 2 * 3600:
            return f"{moment:%H:%M:%S}"
        return f"{moment:%H:%M}" if self.seconds * self.speedup <= 86400 else f"{moment:%m-%d %H:%M}"

    def between(self, from_s: float, to_s: float) -> str:
        """`between 08:00 and 09:00`; `from 2h to 3h in`."""
        if self.start is None:
            return f"from {_after(from_s * self.speedup)} to {_after(to_s * self.speedup)} in"
        return f"between {self.at(from_s)} and {self.at(to_s)}"


def _after(seconds: float) -> str:
    """To the second below an hour, to the minute above it."""
    seconds = round(seconds) if seconds < 3600 else round(seconds / 60) * 60
    hours, rest = divmod(int(seconds), 3600)
    minutes, left = divmod(rest, 60)
    if not hours:
        return format_duration(seconds) if seconds < 120 else f"{minutes}m" + (f"{left}s" if left else "")
    return f"{hours}h" + (f"{minutes}m" if minutes else "")
