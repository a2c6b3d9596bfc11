"""The discrete-event world: a heap of events keyed by (time, sequence), and arrivals merged into it.

`simulate(scenario)` runs the live policies over a scenario's traffic in virtual time. Arrivals are never on the heap:
they come in numpy chunks, in order, and before each one all that happens sooner is done. A batch is one event.
"""

import gc
from collections.abc import Callable, Iterator, Sequence
from heapq import heappop, heappush
from itertools import count, repeat
from math import inf, nextafter
from random import Random
from time import perf_counter

import numpy as np

from plimsoll.core.errors import UserError
from plimsoll.core.scaling import Observation
from plimsoll.policy.scaling import named
from plimsoll.sim.arrivals import Arrivals
from plimsoll.sim.crew import Crew
from plimsoll.sim.draws import BESIDE, ROUTES, beside, generator
from plimsoll.sim.faults import schedule
from plimsoll.sim.gateway import TURN_S, Gateway
from plimsoll.sim.learning import new_forecast
from plimsoll.sim.measure import Measure
from plimsoll.sim.result import Result
from plimsoll.sim.room import Room, room_for
from plimsoll.sim.scenario import Scenario, Service
from plimsoll.sim.sharing import share
from plimsoll.sim.ticking import TICK_S, Station

Progress = Callable[[float], None]
_Action = Callable[[float], None]
_TELL_EVERY = 1 / 400


def simulate(scenario: Scenario, progress: Progress | None = None, room: Room | None = None) -> Result:
    """Runs all of it. The same scenario gives the same result, bit for bit. `progress` is told the share that is done
    (0 to 1), a few hundred times. `room`: where replicas find place; None: as `scenario.nodes` says.

    Raises UserError for a scenario that can't be run.
    """
    began = perf_counter()
    collects = gc.isenabled()
    gc.disable()  # nothing here makes rings; the collector's walks would take a fifth of the time
    try:
        world = World(scenario, room)
        world.run(progress)
    finally:
        if collects:
            gc.enable()
    result = world.result()
    result.wall_s = perf_counter() - began
    return result


class World:
    def __init__(self, scenario: Scenario, room: Room | None = None) -> None:
        if not scenario.services:
            raise UserError("a scenario needs a service")
        if scenario.gateways != 1:
            raise UserError(f"one gateway is simulated, not {scenario.gateways}")
        self.scenario = scenario
        self.now = self.start = scenario.start_s
        lasts = [service.traffic.trace.duration_s for service in scenario.services]
        self.seconds = max(lasts) if scenario.seconds is None else scenario.seconds
        self.end = self.start + self.seconds
        if scenario.seconds is None:
            self.end = nextafter(self.end, inf)  # a recorded trace ends with a request
        self._heap: list[tuple[float, int, _Action]] = [(inf, 0, _nothing)]  # never empty: one look less
        self._count = count(1)
        self.at = _clock(self._heap, self._count)
        self.room: Room = room or room_for(scenario)
        watched = any(fault.kind == "freeze" for fault in scenario.faults)
        self.stations = [self._station(index, service, watched) for index, service in enumerate(scenario.services)]
        self._traffic = [Arrivals(service.traffic, self.start, self.end) for service in scenario.services]
        self._progress: Progress | None = None
        self._told = 0.0
        self._used: tuple[dict[str, float], float, float] = ({}, 0.0, 0.0)

    def _station(self, index: int, service: Service, watched: bool) -> Station:
        profile, bounds = service.profile, service.bounds
        extra_s = beside(profile, service.network_s, generator(self.scenario.seed, index, BESIDE))
        measure = Measure(self.seconds, self.start, bounds.p99_s, extra_s)
        seed = int(generator(self.scenario.seed, index, ROUTES).integers(2**63))
        gateway = Gateway(service, measure, Random(seed).random, self.at, watched=watched)
        crew = Crew(index, service, gateway, self, self.room, self.scenario.seed)
        epoch_s = (service.traffic.trace.start or 0.0) - self.start
        try:
            policy = named.make(service.policy, bounds, epoch_s=epoch_s)
        except ValueError as error:
            raise UserError(str(error)) from error
        return Station(service, gateway, crew, measure, policy, new_forecast(epoch_s), self.room)

    # --- the clock --------------------------------------------------------------------------------------------------

    def run(self, progress: Progress | None = None) -> None:
        self._progress = progress
        self.room.begin(self, self.start)
        for station in self.stations:
            station.begin(self.start)
        self.at(self.end, self._close)
        if self.start + TICK_S < self.end:
            self.at(self.start + TICK_S, self._tick)
        if any(station.gateway.watched for station in self.stations):
            self.at(self.start + TURN_S, self._turn)
        schedule(self.scenario, self)
        heap = self._heap
        for times, arrivals in self._arrivals():
            for now, arrive in zip(times, arrivals, strict=False):
                while heap[0][0] <= now:
                    when, _, action = heappop(heap)
                    action(when)
                arrive(now)
        self._drain()

    def _arrivals(self) -> Iterator[tuple[list[float], Iterator[_Action]]]:
        """Chunks of times, and for each who gets it; of several services merged in order."""
        if len(self._traffic) == 1:
            (traffic,), (station,) = self._traffic, self.stations
            while (times := traffic.take(inf)) is not None:
                yield times.tolist(), repeat(station.gateway.arrive)
            return
        doors = [station.gateway.arrive for station in self.stations]
        while True:
            until = min(traffic.reaches() for traffic in self._traffic)
            parts = [traffic.take(until) for traffic in self._traffic]
            found = [(index, part) for index, part in enumerate(parts) if part is not None and len(part)]
            if not found:
                if until == inf:
                    return
                continue
            times = np.concatenate([part for _, part in found])
            owners = np.concatenate([np.full(len(part), index) for index, part in found])
            order = np.argsort(times, kind="stable")
            yield times[order].tolist(), (doors[index] for index in owners[order].tolist())

    def _drain(self) -> None:
        """What is left after the last arrival: until the end of the time, and of every request."""
        heap = self._heap
        while heap[0][0] <= self.end or any(station.inside for station in self.stations):
            when, _, action = heappop(heap)
            action(when)
        for station in self.stations:
            station.measure.pour()

    def _turn(self, now: float) -> None:
        for station in self.stations:
            station.gateway.turn(now)
        self.at(now + TURN_S, self._turn)

    # --- once a second ----------------------------------------------------------------------------------------------

    def _look(self, now: float) -> list[Observation]:
        self.now = now
        pairs = zip(self.stations, self._traffic, strict=True)
        return [station.observe(now, traffic.came(now, station.since)) for station, traffic in pairs]

    def _tick(self, now: float) -> None:
        seen = self._look(now)
        decisions = [station.policy.decide(one) for station, one in zip(self.stations, seen, strict=True)]
        counts = share(self.scenario, seen, decisions)
        most = self.scenario.most_replicas
        left = inf if most is None else most - sum(counts)  # a spare never takes a serving replica's place
        for station, decision, replicas in zip(self.stations, decisions, counts, strict=True):
            spares = int(min(station.spares(decision, replicas), max(left, 0)))
            left -= spares
            station.act(decision, replicas, spares, now)
        self._tell((now - self.start) / self.seconds)
        if now + TICK_S < self.end:
            self.at(now + TICK_S, self._tick)

    def _tell(self, share_done: float) -> None:
        if self._progress is not None and share_done >= self._told + _TELL_EVERY:
            self._told = share_done
            self._progress(min(share_done, 1.0))

    def _close(self, now: float) -> None:
        """The time is over: nothing is decided or paid any more. What is under way ends as it may."""
        self._look(now)
        for station in self.stations:
            station.close(now)
        self._used = self.room.used(now)

    # --- room.Host --------------------------------------------------------------------------------------------------

    def granted(self, replica: str, now: float) -> None:
        for station in self.stations:
            if replica in station.crew.replicas:
                station.crew.granted(replica, now)

    def node_lost(self, replicas: Sequence[str], now: float) -> None:
        for station in self.stations:
            station.crew.kill([name for name in replicas if name in station.crew.replicas], now)

    # --- what came of it --------------------------------------------------------------------------------------------

    def result(self) -> Result:
        services = [station.result(self.seconds) for station in self.stations]
        node_s, cost, energy_wh = self._used
        if not self.scenario.nodes:
            pairs = zip(self.stations, services, strict=True)
            cost += sum(one.service.bounds.price_per_hour * found.replica_s / 3600 for one, found in pairs)
        return Result(services, node_s=node_s, cost=cost, energy_wh=energy_wh, events=next(self._count) - 1)


def _clock(heap: list[tuple[float, int, _Action]], sequence: Iterator[int]) -> Callable[[float, _Action], None]:
    """`at(when, action)`: `action(now)` is called at `when`; of those of one moment first what was said first."""
    following = sequence.__next__

    def at(when: float, action: _Action) -> None:
        heappush(heap, (when, following(), action))

    return at


def _nothing(now: float) -> None:
    raise RuntimeError("requests are under way, and nothing will happen any more")
