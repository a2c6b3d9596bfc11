"""A service's replicas from the wish to the end: room, start, ready or spare, draining, gone.

As a backend does, the wish is declarative: what dies is started again, after a back-off where it never got ready. Those
that serve nobody go first, and of equal ones the youngest (`backends.wish`). A ready one that is one too many becomes a
spare where spares are wanted, and a spare that is ready takes requests at once when more are wanted.
"""

from collections.abc import Callable, Iterator
from typing import Protocol

from plimsoll.core.request import Request
from plimsoll.core.scaling import ReplicaState
from plimsoll.insight.lead_time import LeadTimes
from plimsoll.policy.admission import GateSettings
from plimsoll.policy.batching import BatchSettings
from plimsoll.policy.restart.backoff import Backoff
from plimsoll.sim.draws import SERVICE_TIMES, STARTS, Draw, batch_time, generator, start_time
from plimsoll.sim.gateway import Gateway
from plimsoll.sim.pool import Pool
from plimsoll.sim.replica import Replica
from plimsoll.sim.room import Room
from plimsoll.sim.scenario import Service

_PENDING, _STARTING, _READY = ReplicaState.PENDING, ReplicaState.STARTING, ReplicaState.READY
_SPARE, _DRAINING, _FAILED = ReplicaState.SPARE, ReplicaState.DRAINING, ReplicaState.FAILED
_SERVE_NOBODY = (_FAILED, _PENDING, _STARTING)  # in the order in which they go
_MOST_BATCH = 64  # as in server.settings
_MOST_QUEUED = 20_000


class Clock(Protocol):
    """The world: calls `action(now)` at `when`."""

    def at(self, when: float, action: Callable[[float], None]) -> None: ...


class Crew:
    """`failing_until`: until then no start succeeds. `leads`: how long starts took. `replica_s`, `spare_s`: of those
    that are gone."""

    def __init__(self, index: int, service: Service, gateway: Gateway, clock: Clock, room: Room, seed: int) -> None:
        self.index, self.service, self.gateway = index, service, gateway
        self._clock, self._room = clock, room
        self.replicas: dict[str, Replica] = {}  # in the order they were asked for
        self.wanted = self.spares = 0
        self.failing_until = float("-inf")
        profile = service.profile
        self.leads = LeadTimes(profile.cold_s, profile.cold_s if profile.cold_p90_s is None else profile.cold_p90_s)
        self.replica_s = self.spare_s = 0.0
        self.batches = self.items = 0
        self._backoff = Backoff()
        self._number = 0
        self._retry_at: float | None = None
        most = most_batch(service)
        self._settings = BatchSettings(max_size=most, linger_s=service.linger_s)
        self._gate = GateSettings(max_items=service.queue_cap or _MOST_QUEUED)
        self._takes = batch_time(service.profile, service.draw, generator(seed, index, SERVICE_TIMES))
        self._start_s: Draw = start_time(service.profile, generator(seed, index, STARTS))
        bounds = service.bounds
        self._budget_s = bounds.timeout_s if bounds.p99_s is None else min(bounds.p99_s, bounds.timeout_s)
        gateway.drained = self._gone

    def of(self, *states: ReplicaState) -> list[Replica]:
        return [replica for replica in self.replicas.values() if replica.seen.state in states]

    def count(self, *states: ReplicaState) -> int:
        return sum(replica.seen.state in states for replica in self.replicas.values())

    def begin(self, count: int, now: float) -> None:
        """They are there from the beginning, ready and warm, where there is room."""
        self.wanted = count
        for _ in range(count):
            replica = self._new(now)
            if self._room.ask(replica.name, self.index, now):
                replica.started_at = now
                self._serve(replica, now)
        self._changed(now)

    # --- what is wanted ---------------------------------------------------------------------------------------------

    def want(self, wanted: int, spares: int, now: float) -> None:
        self.wanted, self.spares = wanted, spares
        self.settle(now)

    def settle(self, now: float) -> None:
        """Makes what is there what is wanted."""
        changed = self._promote(now)
        staying = self.count(*_SERVE_NOBODY, _READY, _SPARE)
        surplus = staying - self.wanted - self.spares
        if surplus > 0:
            changed |= self._let_go(surplus, now)
        changed |= self._demote(now)
        if self._retry_at is not None and now >= self._retry_at and not self.count(_FAILED, _STARTING):
            self._retry_at = None  # whoever was to be tried again was let go
        for _ in range(-surplus):
            if self._retry_at is not None:
                break  # starts fail: the back-off's one try is enough
            self._start(now)
        if changed:
            self._changed(now)

    def _promote(self, now: float) -> bool:
        spares = self.of(_SPARE)
        missing = min(self.wanted - self.count(_READY), len(spares))
        for replica in spares[: max(missing, 0)]:
            self._leave_spare(replica, now)
            replica.seen.state = _READY
        return missing > 0

    def _demote(self, now: float) -> bool:
        """Ready ones beyond what is wanted, as far as spares are."""
        ready = self.of(_READY)
        surplus = min(len(ready) - self.wanted, self.spares - self.count(_SPARE))
        for replica in ready[len(ready) - surplus :] if surplus > 0 else ():
            replica.seen.state = _SPARE
            replica.spare_since = now
        return surplus > 0

    def _let_go(self, surplus: int, now: float) -> bool:
        """True where the fleet changed."""
        waiting = [one for state in _SERVE_NOBODY for one in reversed(self.of(state))]
        spares, ready = self._leaving(_SPARE), self._leaving(_READY)
        beyond = max(len(spares) - self.spares, 0)
        gone = (waiting + spares[:beyond] + ready + spares[beyond:])[:surplus]
        changed = False
        for replica in gone:
            changed |= replica.seen.state is _READY
            self._stop(replica, now)
        return changed

    def _leaving(self, state: ReplicaState) -> list[Replica]:
        """Those in `state` in the order in which they had best go: of equal ones the youngest first."""
        names = self._room.leaving([one.name for one in reversed(self.of(state))])
        return [self.replicas[name] for name in names]

    # --- one replica's way ------------------------------------------------------------------------------------------

    def _new(self, now: float) -> Replica:
        name = f"{self.service.name}-{self._number}"
        self._number += 1
        kind = Pool if self.service.workers > 1 else Replica
        replica = kind(self.gateway, name, self._takes, self._settings, self._gate, self._budget_s, now)
        replica.wake_s = self.service.profile.wake_s
        if isinstance(replica, Pool):
            replica.begin(self.service.workers)
        self.replicas[name] = replica
        return replica

    def _start(self, now: float) -> None:
        replica = self._new(now)
        if self._room.ask(replica.name, self.index, now):
            self.granted(replica.name, now)

    def granted(self, name: str, now: float) -> None:
        """It has room: it starts, and costs from now on."""
        replica = self.replicas.get(name)
        if replica is None:
            return
        replica.started_at = now
        self._begin(replica, now)

    def _begin(self, replica: Replica, now: float) -> None:
        if replica.seen.state is _FAILED:
            replica.seen.asked_at = now  # a new life
        replica.seen.state = _STARTING
        replica.began_at = now
        self._clock.at(now + self._start_s(), lambda then: self._started(replica, then))

    def _started(self, replica: Replica, now: float) -> None:
        if self.replicas.get(replica.name) is not replica or replica.seen.state is not _STARTING:
            return
        if now < self.failing_until:
            self.leads.failed("")
            replica.seen.state = _FAILED
            delay_s = self._backoff.next(now)
            self._retry_at = now + delay_s
            self._clock.at(self._retry_at, lambda then: self._again(replica, then))
            return
        self.leads.ready("", now - replica.began_at)
        self._retry_at = None
        self._backoff.reset()
        self._serve(replica, now)
        self.settle(now)
        self._changed(now)

    def _again(self, replica: Replica, now: float) -> None:
        if self.replicas.get(replica.name) is replica and replica.seen.state is _FAILED:
            self._begin(replica, now)

    def _serve(self, replica: Replica, now: float) -> None:
        replica.warm_up(now)
        replica.seen.ready_at = now
        if self.count(_READY) >= self.wanted:
            replica.seen.state = _SPARE
            replica.spare_since = now
        else:
            replica.seen.state = _READY

    def _leave_spare(self, replica: Replica, now: float) -> None:
        if replica.spare_since is not None:
            self.spare_s += now - replica.spare_since
            replica.spare_since = None

    def _stop(self, replica: Replica, now: float) -> None:
        """No new requests; what it has is finished."""
        if replica.seen.state is _READY and replica.in_flight:
            replica.seen.state = _DRAINING
        else:
            self._gone(replica, now)

    def _gone(self, replica: Replica, now: float) -> None:
        if self.replicas.pop(replica.name, None) is None:
            return
        draining = replica.seen.state is _DRAINING
        self._leave_spare(replica, now)
        if replica.started_at is not None:
            self.replica_s += now - replica.started_at
        self.batches += replica.batches
        self.items += replica.items
        self._room.release(replica.name, now)
        if draining:
            self._changed(now)

    def _changed(self, now: float) -> None:
        self.gateway.fleet_changed(self.of(_READY), self.of(_DRAINING), now)

    # --- what goes wrong --------------------------------------------------------------------------------------------

    def kill(self, names: list[str], now: float) -> None:
        """They die at once, with what they have. Others are started in their place."""
        dead = [self.replicas[name] for name in names if name in self.replicas]
        lost: list[tuple[Replica, list[Request], list[Request]]] = []
        for replica in dead:
            begun = replica.running
            lost.append((replica, replica.die(), begun))
            self._gone(replica, now)
        if not dead:
            return
        self._changed(now)
        for replica, requests, begun in lost:
            self.gateway.lost(replica, requests, begun, now)
        self.settle(now)

    # --- what it cost -----------------------------------------------------------------------------------------------

    def spent(self, now: float) -> tuple[float, float]:
        """Replica-seconds, and of them a spare's, up to `now`."""
        begun = [one.started_at for one in self.replicas.values() if one.started_at is not None]
        idle = [one.spare_since for one in self.replicas.values() if one.spare_since is not None]
        return (
            self.replica_s + sum(now - at for at in begun),
            self.spare_s + sum(now - at for at in idle),
        )

    def computed(self) -> Iterator[tuple[int, int]]:
        """Batches and items of each, and of those that are gone."""
        yield self.batches, self.items
        yield from ((one.batches, one.items) for one in self.replicas.values())


def most_batch(service: Service) -> int:
    if service.max_batch_one or service.profile.lognormal is not None:
        return 1
    return min(_MOST_BATCH, service.bounds.max_batch or _MOST_BATCH, service.profile.max_batch or _MOST_BATCH)
