"""What the gateways tell, joined.

Several gateways serve one service: rates, counts and queues add up; quantiles do not, so the worst gateway's stands for
all (an upper bound: no request mix can have a worse quantile than its worst part).
"""

from collections.abc import Iterable
from dataclasses import dataclass, field

from plimsoll.core.outcome import CLIENTS_DOING, ERRORS
from plimsoll.core.snapshot import GatewayReport, ServiceReport


@dataclass(frozen=True, slots=True)
class Traffic:
    """One service over all gateways. Outcomes and quantiles (seconds) are over the budget window."""

    requests_per_s: float = 0.0
    outcomes: dict[str, int] = field(default_factory=dict)
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    in_flight: int = 0
    held: int = 0

    @property
    def counted(self) -> int:
        """Requests that the error budget looks at: all but what the client got wrong."""
        return sum(count for outcome, count in self.outcomes.items() if outcome not in CLIENTS_DOING)

    @property
    def error_rate(self) -> float | None:
        """The share of counted requests that ended in an error of ours; None without requests."""
        counted = self.counted
        return errors_in(self.outcomes) / counted if counted else None


def errors_in(outcomes: dict[str, int]) -> int:
    return sum(outcomes.get(outcome, 0) for outcome in ERRORS)


class ReportBook:
    """The last report of each connected gateway, and a running count of failed requests a service.

    A report's outcomes cover a sliding window. The running count adds each growth from one report of a gateway to its
    next; a new failure that hides behind an old one leaving the window in the same second is not seen.
    """

    def __init__(self) -> None:
        self._last: dict[str, GatewayReport] = {}
        self._entries: dict[str, dict[str, ServiceReport]] = {}  # of those, by gateway and service
        self._errors: dict[str, dict[str, int]] = {}  # outlives a broken stream: a reconnect counts nothing twice
        self._failures: dict[str, int] = {}

    @property
    def gateways(self) -> tuple[str, ...]:
        return tuple(sorted(self._last))

    def take(self, report: GatewayReport) -> None:
        errors = {entry.service: errors_in(entry.outcomes) for entry in report.services}
        # A gateway's first report is where counting starts: what it failed before is not of our time.
        earlier = self._errors.get(report.gateway, errors)
        for service, count in errors.items():
            if (grown := count - earlier.get(service, 0)) > 0:
                self._failures[service] = self._failures.get(service, 0) + grown
        self._errors[report.gateway] = errors
        self._last[report.gateway] = report
        self._entries[report.gateway] = {entry.service: entry for entry in report.services}

    def forget(self, gateway: str) -> None:
        self._last.pop(gateway, None)
        self._entries.pop(gateway, None)

    def failures(self, service: str) -> int:
        """Failed requests since the controller started; only differences are of use."""
        return self._failures.get(service, 0)

    def lowest_version(self) -> int | None:
        """The snapshot that every reporting gateway has in effect; None without gateways."""
        return min((report.version for report in self._last.values()), default=None)

    def notes(self) -> tuple[str, ...]:
        """What is amiss at gateways, each line behind the names of those that say it."""
        by_note: dict[str, list[str]] = {}
        for name, report in sorted(self._last.items()):
            for note in report.notes:
                by_note.setdefault(note, []).append(name)
        return tuple(f"{', '.join(names)}: {note}" for note, names in by_note.items())

    def traffic(self, service: str) -> Traffic:
        return join(found for entries in self._entries.values() if (found := entries.get(service)) is not None)


def join(entries: Iterable[ServiceReport]) -> Traffic:
    found = list(entries)
    outcomes: dict[str, int] = {}
    for entry in found:
        for outcome, count in entry.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    return Traffic(
        requests_per_s=sum(entry.requests_per_s for entry in found),
        outcomes=outcomes,
        p50_s=_worst(entry.p50_s for entry in found),
        p95_s=_worst(entry.p95_s for entry in found),
        p99_s=_worst(entry.p99_s for entry in found),
        in_flight=sum(entry.in_flight for entry in found),
        held=sum(entry.held for entry in found),
    )


def _worst(values: Iterable[float | None]) -> float | None:
    return max((value for value in values if value is not None), default=None)
