"""What gateways' running counts grew by since a service was looked at last.

Counts run since a gateway began, and each report says its gateway's own monotonic time: a report that is lost, late or
sent early costs nothing, its requests are in the next one.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import NamedTuple

from plimsoll.control.reports import ReportBook
from plimsoll.core.snapshot import GatewayReport, ServiceReport

_TENTHS_LEAST = 5  # fewer say nothing of a variance


class _Base(NamedTuple):
    """One gateway's counts for one service when it was looked at last."""

    at: float
    arrived: int
    late: int
    busy_s: float
    tenths: int
    tenths_squared: int


@dataclass(frozen=True, slots=True)
class Growth:
    """Over all gateways. `over_s` 0.0: nothing new was heard."""

    over_s: float = 0.0
    arrived: int = 0
    late: int = 0
    concurrency: float = 0.0  # mean requests inside
    held: int = 0
    in_flight: int = 0  # inside now, held ones too
    dispersion: float | None = None  # variance over mean of the counts of a tenth of a second


def _base(entry: ServiceReport, at: float) -> _Base:
    return _Base(at, entry.arrived, entry.late, entry.busy_s, entry.tenths, entry.tenths_squared)


class GatewayCounts:
    """`hear` each report; `growth` takes what is new of one service, once."""

    def __init__(self, reports: ReportBook) -> None:
        self._reports = reports
        self._heard: dict[str, float] = {}  # when each gateway spoke last, on our clock
        self._entries: dict[str, dict[str, ServiceReport]] = {}
        self._at: dict[str, float] = {}  # on each gateway's clock
        self._bases: dict[str, dict[str, _Base]] = {}  # by service, by gateway
        self._began: float | None = None

    def hear(self, report: GatewayReport, now: float) -> None:
        self._heard[report.gateway] = now
        self._at[report.gateway] = report.at
        self._entries[report.gateway] = {entry.service: entry for entry in report.services}

    def silent_s(self, now: float) -> float:
        """How long the connected gateway that has been silent longest has been: one that was stopped takes part of the
        traffic with it. Without gateways: since the last of them spoke."""
        if self._began is None:
            self._began = now
        connected = [self._heard[name] for name in self._reports.gateways if name in self._heard]
        return now - min(connected, default=max(self._heard.values(), default=self._began))

    def fresh(self, service: str, least_s: float) -> bool:
        """Whether every connected gateway has said something new of it, over at least so long, since `growth`. A rate
        over the milliseconds before a report that was sent early would be noise."""
        bases = self._bases.get(service, {})
        known = [name for name in self._reports.gateways if name in self._at]
        return bool(known) and all(name not in bases or self._at[name] - bases[name].at >= least_s for name in known)

    def waits(self, service: str) -> bool:
        """Whether a request is held, or came that is not in `growth` yet."""
        bases: Mapping[str, _Base] = self._bases.get(service, {})
        for name in self._reports.gateways:
            entry = self._entries.get(name, {}).get(service)
            if entry is not None and (entry.held or (name in bases and entry.arrived > bases[name].arrived)):
                return True
        return False

    def growth(self, service: str, *, take: bool = True) -> Growth:
        """Since the last call that took it; without `take` it comes again. A gateway that is new to us is where
        counting begins: what it served before is not of our time. One whose count fell was started again: all it has is
        new."""
        bases = self._bases.setdefault(service, {})
        over: list[float] = []
        arrived = late = held = in_flight = 0
        concurrency = variance = mean = 0.0
        for name in self._reports.gateways:
            entry = self._entries.get(name, {}).get(service)
            if entry is None:
                continue
            at = self._at[name]
            held, in_flight = held + entry.held, in_flight + entry.in_flight
            base = bases.get(name)
            if take:
                bases[name] = _base(entry, at)
            if base is None or at <= base.at:
                continue
            if entry.arrived < base.arrived or entry.busy_s < base.busy_s - 1e-6:
                base = _Base(base.at, 0, 0, 0.0, 0, 0)
            over.append(at - base.at)
            arrived += entry.arrived - base.arrived
            late += max(0, entry.late - base.late)
            concurrency += (entry.busy_s - base.busy_s) / (at - base.at)
            tenths, came = entry.tenths - base.tenths, entry.arrived - base.arrived
            if tenths >= _TENTHS_LEAST:
                # Gateways' variances add up: the kernel spreads connections among them without looking.
                squares = entry.tenths_squared - base.tenths_squared
                variance += max(0.0, squares - came * came / tenths) / (tenths - 1)
                mean += came / tenths
        over_s = sum(over) / len(over) if over else 0.0
        dispersion = variance / mean if mean > 0 else None
        return Growth(over_s, arrived, late, concurrency, held, in_flight, dispersion)

    def forget(self, service: str) -> None:
        self._bases.pop(service, None)
