"""The fast model: requests as a fluid, replicas as they are, policies live. For `plan --fast` and for searches.

A sixteenth of a second is one step: what comes joins one backlog, which all ready replicas work off at the rate that
`policy.scaling.budget.tail` predicts; what would wait longer than the budget lets it is refused. Batches, routing and
admission are in that rate. 7,200 s of one service take some 0.5 s, whatever its rate. Faults are not simulated. How far
it is from the request-level world: docs/plan.md.
"""

from collections.abc import Callable, Sequence
from heapq import heappop, heappush
from math import exp, log
from random import Random
from time import perf_counter

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.scaling import Decision, LeadTime, Observation, ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.forecast import Forecaster
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace
from plimsoll.policy.scaling import named
from plimsoll.policy.scaling.budget.tail import Tail, tail_of
from plimsoll.sim.result import Act, Result, ServiceResult, Timeline
from plimsoll.sim.room import Room, room_for
from plimsoll.sim.scenario import Scenario, Service
from plimsoll.sim.sharing import share
from plimsoll.sim.traffic import counts

_PARTS = 16  # of a second
_STEPS = 720  # of a timeline, at most
_Z90 = 1.2816
_KEPT = 16
_kept: dict[tuple[int, int, float], tuple[Trace, list[list[int]]]] = {}  # a trace is held, so that its id stays its own
_GONE, _SERVING = ReplicaState.DRAINING, ReplicaState.READY
_FIRST_TO_GO = (ReplicaState.PENDING, ReplicaState.STARTING, _SERVING)


def simulate_fluid(scenario: Scenario, progress: Callable[[float], None] | None = None) -> Result:
    """As `simulate`; `Result.fast` is set. Raises UserError as that does."""
    began = perf_counter()
    world = _World(scenario)
    world.run(progress)
    result = world.result()
    result.wall_s = perf_counter() - began
    return result


def known(profile: Profile, p99_s: float | None, max_batch: int | None) -> ServiceTime:
    """What a live replica would have learned: the spread is that of batches of the usual size."""
    if profile.lognormal is not None:
        return profile.service_time
    sd_s = profile.spread * (profile.a_s + profile.c_s)
    for _ in range(6):
        tail = tail_of(ServiceTime(profile.a_s, profile.c_s, sd_s, 1000), p99_s, max_batch, burst=1.0, allowed=0.01)
        if tail is None:
            break
        own_s = tail.own_s - 2.0 * sd_s if p99_s is not None else tail.own_s
        sd_s = 0.5 * (sd_s + profile.spread * own_s)
    return ServiceTime(profile.a_s, profile.c_s, sd_s, 1000)


class _Fluid:
    """One service: its backlog, its replicas, its policy and what was counted."""

    def __init__(self, index: int, service: Service, scenario: Scenario, seconds: float, room: Room) -> None:
        self.index, self.service, self.room = index, service, room
        epoch_s = service.traffic.trace.start or 0.0
        self.policy = named.make(service.policy, service.bounds, epoch_s=epoch_s - scenario.start_s)
        self.forecast = Forecaster(epoch_s - scenario.start_s)
        profile, bounds = service.profile, service.bounds
        most = 1 if service.max_batch_one or profile.lognormal is not None else bounds.max_batch or profile.max_batch
        self.time = known(profile, bounds.p99_s, most)
        tail = tail_of(self.time, bounds.p99_s, most, burst=1.0, allowed=0.01)
        self.tail = tail or Tail(self.time.capacity(1), 1e-3, self.time.predict(1))
        self.parts = _parts(service, seconds)
        self.start_s = _starts(profile, Random(scenario.seed * 1009 + index))
        self.replicas: list[ScaledReplica] = []
        self.begun: dict[str, float] = {}
        self.wanted = self.ready = self.number = 0
        self.backlog = self.offered = self.refused = self.replica_s = self.sum_s = 0.0
        self.now = scenario.start_s
        self.acts: list[Act] = []
        self.latencies: list[tuple[float, float]] = []  # seconds, requests
        self.timeline = Timeline(max(1.0, float(np.ceil(seconds / _STEPS))))
        self._step = [0.0, 0.0]
        self._busy = self.inside = 0.0
        self._foresees = self.policy.name == "budget" or scenario.most_replicas is not None

    def flow(self, second: int) -> tuple[int, float]:
        """One second's traffic. Returns what came and what was refused."""
        parts = self.parts[second]
        came = sum(parts)
        rate = self.ready * self.tail.per_replica
        capacity, most = rate / _PARTS, rate * self.tail.wait_s
        if not self.ready:
            most = 1e12 if self.service.hold_s > 0 else 0.0
        backlog, refused, mean = self.backlog, 0.0, 0.0
        if backlog > 0.0 or max(parts) > capacity:
            for part in parts:
                backlog += part - capacity
                if backlog < 0.0:
                    backlog = 0.0
                elif backlog > most:
                    refused += backlog - most
                    backlog = most
                mean += backlog
        self.backlog = backlog
        self.offered += came
        self.refused += refused
        # Work-conserving: at a third of its capacity a replica computes all the time, in small batches.
        self._busy = min(1.0, came / self.ready * self.time.predict(1)) if self.ready else 0.0
        self._answered(came - refused, mean / _PARTS, rate)
        self._step[0] += came
        self._step[1] += refused
        return came, refused

    def _answered(self, count: float, backlog: float, rate: float) -> None:
        """Latency: half a batch before it, its own, and the backlog's."""
        self.inside = backlog
        if count <= 0.0 or not rate:
            return
        time, each = self.time, count / self.ready
        spare = 1.0 - each * time.c_s
        size = each * time.a_s / spare if spare > 0.05 else 1e9
        own_s = 1.5 * min(time.predict(max(1, int(size))), self.tail.own_s)
        own_s += self.service.profile.beside_s(self.service.network_s)
        self.inside += count * own_s
        self.latencies.append((own_s + backlog / rate, count))
        self.sum_s += count * (own_s + backlog / rate)

    def observe(self, now: float, came: int, refused: float, second: int) -> Observation:
        if self._foresees:
            self.forecast.observe(now, came, 1.0)
        parts = self.parts[second]
        mean = came / _PARTS
        spread = sum((part - mean) ** 2 for part in parts) / (_PARTS - 1) / mean if mean > 0 else None
        profile = self.service.profile
        node_s, node_p90_s = self.room.lead(self.index)
        cpu = self._busy * profile.cpu / (self.service.needs.get("cpu") or 1.0)
        for replica in self.replicas:
            replica.cpu = cpu if replica.state is _SERVING else None
            if replica.state is _SERVING:
                self.room.worked(replica.id, self._busy)
        p90 = profile.cold_s if profile.cold_p90_s is None else profile.cold_p90_s
        return Observation(
            now=now,
            arrived=came,
            over_s=1.0,
            replicas=self.replicas,
            wanted=self.wanted,
            service_time=self.time,
            lead=LeadTime(profile.cold_s, p90, node_s, node_p90_s),
            forecast=self.forecast,
            waiting=int(self.backlog),
            in_flight=int(max(self.inside - self.backlog, 0.0)),
            late=int(refused),
            concurrency=self.inside,
            dispersion=spread,
            spare_slots=self.room.spare_slots(self.index),
        )

    def step(self, second: int) -> None:
        """Ends the timeline's step where it is over."""
        line = self.timeline
        if (second + 1) % int(line.step_s) and second + 1 < len(self.parts):
            return
        line.offered.append(int(self._step[0]))
        line.missed.append(round(self._step[1]))
        line.wanted.append(self.wanted)
        line.ready.append(self.ready)
        line.p99_s.append(self.latencies[-1][0] if self.latencies else None)
        self._step = [0.0, 0.0]


class _World:
    """A `room.Host`: seconds in order, and between them starts that end."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        lasts = [service.traffic.trace.duration_s for service in scenario.services]
        self.seconds = max(lasts) if scenario.seconds is None else scenario.seconds
        self.start = self.now = scenario.start_s
        self.room = room_for(scenario)
        self._heap: list[tuple[float, int, Callable[[float], None]]] = []
        self._sequence = 0
        made = enumerate(scenario.services)
        self.fluids = [_Fluid(index, service, scenario, self.seconds, self.room) for index, service in made]

    def at(self, when: float, action: Callable[[float], None]) -> None:
        self._sequence += 1
        heappush(self._heap, (when, self._sequence, action))

    def run(self, progress: Callable[[float], None] | None) -> None:
        self.room.begin(self, self.start)
        for fluid in self.fluids:
            first = fluid.service.start_replicas
            self._want(fluid, fluid.service.bounds.least if first is None else first, self.start, warm=True)
        total = max(len(fluid.parts) for fluid in self.fluids)
        for second in range(total):
            now = self.start + second + 1.0
            flows = [fluid.flow(second) for fluid in self.fluids]
            self._until(now)
            pairs = list(zip(self.fluids, flows, strict=True))
            seen = [fluid.observe(now, *flow, second) for fluid, flow in pairs]
            decisions = [fluid.policy.decide(one) for fluid, one in zip(self.fluids, seen, strict=True)]
            counts_ = share(self.scenario, seen, decisions)
            for fluid, decision, count in zip(self.fluids, decisions, counts_, strict=True):
                self._act(fluid, decision, count, now)
                fluid.step(second)
            if progress is not None and second % 256 == 0:
                progress(second / total)

    def _until(self, now: float) -> None:
        while self._heap and self._heap[0][0] <= now:
            when, _, action = heappop(self._heap)
            self.now = when
            action(when)
        self.now = now

    def _act(self, fluid: _Fluid, decision: Decision, count: int, now: float) -> None:
        if count != fluid.wanted:
            fluid.acts.append(Act(now, fluid.wanted, count, decision.reason))
            self._want(fluid, count, now)

    def _want(self, fluid: _Fluid, count: int, now: float, *, warm: bool = False) -> None:
        fluid.wanted = count
        if len(fluid.replicas) > count:
            order = self._leaving(fluid)
            for one in order[: len(order) - count]:
                self._end(fluid, one, now)
        while len(fluid.replicas) < count:
            fluid.number += 1
            made = ScaledReplica(f"{fluid.service.name}-{fluid.number}", ReplicaState.PENDING, now)
            fluid.replicas.append(made)
            if self.room.ask(made.id, fluid.index, now):
                self._begin(fluid, made, now, 0.0 if warm else fluid.start_s())

    def _leaving(self, fluid: _Fluid) -> list[ScaledReplica]:
        """Those that serve nobody first; of equal ones as the room would have it, else the youngest."""
        found = {state: [one for one in reversed(fluid.replicas) if one.state is state] for state in _FIRST_TO_GO}
        by_name = {one.id: one for one in found[_SERVING]}
        return [
            *found[ReplicaState.PENDING],
            *found[ReplicaState.STARTING],
            *(by_name[name] for name in self.room.leaving(list(by_name))),
        ]

    def _begin(self, fluid: _Fluid, replica: ScaledReplica, now: float, start_s: float) -> None:
        fluid.begun[replica.id] = now
        replica.state = ReplicaState.STARTING

        def ready(then: float) -> None:
            if replica.id in fluid.begun:
                replica.state, replica.ready_at = _SERVING, then
                fluid.ready += 1

        if start_s <= 0.0:
            ready(now)
        else:
            self.at(now + start_s, ready)

    def _end(self, fluid: _Fluid, replica: ScaledReplica, now: float) -> None:
        fluid.replicas.remove(replica)
        begun = fluid.begun.pop(replica.id, None)
        if begun is not None:
            fluid.replica_s += now - begun
        fluid.ready -= replica.state is _SERVING
        replica.state = _GONE
        self.room.release(replica.id, now)

    def granted(self, replica: str, now: float) -> None:
        for fluid in self.fluids:
            for one in fluid.replicas:
                if one.id == replica:
                    self._begin(fluid, one, now, fluid.start_s())

    def node_lost(self, replicas: Sequence[str], now: float) -> None:
        for fluid in self.fluids:
            for one in [one for one in fluid.replicas if one.id in replicas]:
                self._end(fluid, one, now)
            self._want(fluid, fluid.wanted, now)

    def result(self) -> Result:
        node_s, cost, energy_wh = self.room.used(self.now)
        services = [self._service(fluid) for fluid in self.fluids]
        if not self.scenario.nodes:
            prices = [fluid.service.bounds.price_per_hour for fluid in self.fluids]
            cost += sum(price * one.replica_s / 3600 for price, one in zip(prices, services, strict=True))
        return Result(services, node_s=node_s, cost=cost, energy_wh=energy_wh, events=self._sequence, fast=True)

    def _service(self, fluid: _Fluid) -> ServiceResult:
        paid = fluid.replica_s + sum(self.now - begun for begun in fluid.begun.values())
        refused = round(fluid.refused)
        p50, p95, p99 = _quantiles(fluid.latencies)
        return ServiceResult(
            service=fluid.service.name,
            policy=fluid.policy.name,
            offered=int(fluid.offered),
            late=0,
            refused=refused,
            outcomes={"ok": int(fluid.offered) - refused, "shed": refused},
            p50_s=p50,
            p95_s=p95,
            p99_s=p99,
            replica_s=paid,
            spare_s=0.0,
            acts=fluid.acts,
            timeline=fluid.timeline,
            seconds=self.seconds,
            sum_latency_s=fluid.sum_s,
        )


def _parts(service: Service, seconds: float) -> list[list[int]]:
    """Requests in each sixteenth of each second. The last few are kept: a search asks for the same ones again."""
    traffic = service.traffic
    key = (id(traffic.trace), traffic.seed, seconds)
    if key not in _kept:
        while len(_kept) >= _KEPT:
            del _kept[next(iter(_kept))]
        _kept[key] = (traffic.trace, _drawn(service, seconds))
    return _kept[key][1]


def _drawn(service: Service, seconds: float) -> list[list[int]]:
    found = counts(service.traffic, 1.0 / _PARTS)
    wanted = int(np.ceil(seconds)) * _PARTS
    whole: NDArray[np.int64] = np.zeros(wanted, dtype=np.int64)
    whole[: min(wanted, len(found))] = found[:wanted]
    split: list[list[int]] = whole.reshape(-1, _PARTS).tolist()
    return split


def _starts(profile: Profile, random: Random) -> Callable[[], float]:
    if profile.cold_p90_s is None or profile.cold_p90_s <= profile.cold_s:
        return lambda: profile.cold_s
    spread = log(profile.cold_p90_s / profile.cold_s) / _Z90
    return lambda: profile.cold_s * exp(spread * random.gauss(0.0, 1.0))


def _quantiles(latencies: list[tuple[float, float]]) -> tuple[float, float, float]:
    if not latencies:
        return 0.0, 0.0, 0.0
    found = np.array(sorted(latencies))
    shares = np.cumsum(found[:, 1]) / found[:, 1].sum()
    p50, p95, p99 = (float(found[int(np.searchsorted(shares, q - 1e-9)), 0]) for q in (0.5, 0.95, 0.99))
    return p50, p95, p99
