"""What time brings to a gateway: deadlines that pass, replicas that come for those who wait, replicas that fall silent.

One timer, fifty turns a second, for all requests and services. When something is due others know: the deadline wheel,
`HoldQueue`, `Overdue`, `Fleet`.
"""

import asyncio
from collections.abc import Callable
from typing import Protocol

from plimsoll.core.errors import NoReplica, NotFound, Shed
from plimsoll.gateway.deadlines import DeadlineWheel
from plimsoll.gateway.forwarding import Forwarding
from plimsoll.gateway.service import Service
from plimsoll.telemetry.audit import AuditLog

TICK_S = 0.02
_TURNS_A_TENTH = 5  # 0.1 s: how bursty arrivals are is measured over this
_TRIM_S = 20.0  # a connection goes after 20 to 40 s without use, well before a replica closes it (75 s)


class Door(Protocol):
    audit: AuditLog | None

    @property
    def services(self) -> dict[str, Service]: ...

    def now(self) -> float: ...

    def retried(self, service: Service) -> None: ...


class Clockwork:
    """`wheel`: every request that has a deadline to watch. `on_lag` hears how late each turn is, in seconds."""

    __slots__ = ("_door", "_due", "_holding", "_loop", "_on_lag", "_timer", "_trim_at", "_turns", "wheel")

    def __init__(self, door: Door, on_lag: Callable[[float], None]) -> None:
        self._door = door
        self._on_lag = on_lag
        self._loop = asyncio.get_running_loop()
        self.wheel: DeadlineWheel[Forwarding] = DeadlineWheel()
        self._holding: set[Service] = set()  # services with somebody held, and a few that had
        self._turns = 0
        now = door.now()
        self._trim_at = now + _TRIM_S
        self._due = now + TICK_S
        self._timer = self._loop.call_at(self._due, self.turn)

    def close(self) -> None:
        self._timer.cancel()

    def watch(self, forwarding: Forwarding, until: float) -> None:
        """It is overdue then, no longer when it was before."""
        self.wheel.remove(forwarding, forwarding.slot)
        forwarding.slot = self.wheel.add(forwarding, until)

    # --- waiting for a replica --------------------------------------------------------------------------------------

    def hold(self, forwarding: Forwarding, now: float) -> None:
        """No replica can be reached. It waits for one, unless none will come or too many wait."""
        service = forwarding.service
        if service.gone:
            forwarding.refuse(NotFound(f"{service.name} was deleted"))
            return
        if service.view.failed is not None:
            forwarding.refuse(NoReplica(service.view.failed, retry_after_s=5))
            return
        until = forwarding.hold_until()
        if until <= now:
            forwarding.refuse(NoReplica("no replica became ready in time", retry_after_s=1))
        elif not service.held.push(forwarding, len(forwarding.exchange.body), until, now):
            forwarding.refuse(Shed("too many requests wait for a first replica", retry_after_s=1))
        else:
            forwarding.holding_since = now
            self.wheel.remove(forwarding, forwarding.slot)
            self._holding.add(service)
            if forwarding.trip is not None:
                forwarding.trip.held()

    def release_all(self, now: float) -> None:
        """A new snapshot is in effect."""
        for service in tuple(self._holding):
            self._release(service, now)

    def release(self, service: Service, now: float) -> None:
        """Its replicas changed."""
        if service in self._holding:
            self._release(service, now)

    def _release(self, service: Service, now: float) -> None:
        """Gives what is held to replicas that can be reached again; refuses it where none will come."""
        held = service.held
        # One who asks for the first in line may be held again at once, behind the others: their order stays.
        for forwarding in held.expire(now):
            forwarding.expire()
        if not service.fleet.reachable(now) and service.view.failed is None and not service.gone:
            return
        for forwarding in held.release(now):
            if forwarding.ended:
                continue
            forwarding.resume(now)
            forwarding.slot = self.wheel.add(forwarding, service.timing.until(now, forwarding.deadline))
            if not forwarding.restart(now):
                self.hold(forwarding, now)

    # --- each turn --------------------------------------------------------------------------------------------------

    def turn(self) -> None:
        now = self._door.now()
        self._on_lag(now - self._due)
        self._due = now + TICK_S
        self._timer = self._loop.call_at(self._due, self.turn)
        for forwarding in self.wheel.overdue(now):
            if not forwarding.ended:
                forwarding.expire()
        self._turns += 1
        for service in self._door.services.values():
            self._look_after(service, now)
            if not self._turns % _TURNS_A_TENTH:
                service.count_tenth()
        for service in tuple(self._holding):
            self._release(service, now)
            if not len(service.held):
                self._holding.discard(service)
        if self._door.audit is not None:
            self._door.audit.seal_held()
        if now >= self._trim_at:
            self._trim_at = now + _TRIM_S
            for service in self._door.services.values():
                for upstream in service.upstreams.values():
                    upstream.trim()

    def _look_after(self, service: Service, now: float) -> None:
        fleet = service.fleet
        if service.view.retry:
            for attempt in fleet.late(now):
                if attempt.owner.second(attempt, now):
                    self._door.retried(service)
        for upstream in fleet.to_probe(now):
            service.probe(upstream)
