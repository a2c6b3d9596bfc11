"""What goes wrong in a scenario, put on the clock: replicas die, stand still, never get ready; metrics stop."""

from collections.abc import Callable, Sequence
from math import ceil
from typing import Protocol

from plimsoll.core.errors import UserError
from plimsoll.core.scaling import ReplicaState
from plimsoll.sim.replica import Replica
from plimsoll.sim.scenario import Fault, Scenario
from plimsoll.sim.ticking import Station

KINDS = ("kill", "freeze", "start", "metrics")


class Clock(Protocol):
    start: float

    @property
    def stations(self) -> Sequence[Station]: ...

    def at(self, when: float, action: Callable[[float], None]) -> None: ...


def schedule(scenario: Scenario, world: Clock) -> None:
    """Raises UserError for a fault of no known kind, or of no service."""
    names = {service.name for service in scenario.services}
    for fault in scenario.faults:
        if fault.kind not in KINDS:
            raise UserError(f"no fault is called {fault.kind!r}; there are {', '.join(KINDS)}")
        if fault.service and fault.service not in names:
            raise UserError(f"a fault names the service {fault.service!r}, which is not in the scenario")
        for station in world.stations:
            if fault.kind == "freeze" and station.service.workers > 1:
                raise UserError(f"{station.service.name}: a replica of several workers can't be frozen")
            if fault.service in ("", station.service.name):
                world.at(world.start + fault.at_s, _action(fault, station))


def _action(fault: Fault, station: Station) -> Callable[[float], None]:
    until_s = fault.for_s

    def kill(now: float) -> None:
        station.crew.kill([replica.name for replica in _share(fault, station)], now)

    def freeze(now: float) -> None:
        for replica in _share(fault, station):
            replica.freeze(now + until_s, now)

    def start(now: float) -> None:
        station.crew.failing_until = max(station.crew.failing_until, now + until_s)

    def metrics(now: float) -> None:
        station.blind_until = max(station.blind_until, now + until_s)

    return {"kill": kill, "freeze": freeze, "start": start, "metrics": metrics}[fault.kind]


def _share(fault: Fault, station: Station) -> list[Replica]:
    """Of the ready ones the eldest, rounded up: half of three is two."""
    ready = station.crew.of(ReplicaState.READY)
    return ready[: min(len(ready), ceil(fault.share * len(ready) - 1e-9))]
