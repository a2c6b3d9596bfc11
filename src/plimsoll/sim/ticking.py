"""Once a second: what is seen of a service, what its scaling policy says to it, and what was counted."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from plimsoll.core.scaling import Decision, Forecast, LeadTime, Observation, ReplicaState, ScaledReplica, ScalingPolicy
from plimsoll.core.service_time import ServiceTime
from plimsoll.sim.arrivals import Came
from plimsoll.sim.crew import Crew
from plimsoll.sim.gateway import Gateway
from plimsoll.sim.measure import Measure
from plimsoll.sim.result import Act, ServiceResult
from plimsoll.sim.room import Room
from plimsoll.sim.scenario import Service

TICK_S = 1.0
_SAMPLES_MOST = 1000  # what one replica's word weighs at most against another's
_READY = ReplicaState.READY


class Learning(Forecast, Protocol):
    """A forecast that is told what came."""

    def observe(self, now: float, arrived: int, over_s: float) -> None: ...


class Station:
    """One service in the world: its gateway, its replicas, its policy. `since`: of the last look."""

    def __init__(
        self,
        service: Service,
        gateway: Gateway,
        crew: Crew,
        measure: Measure,
        policy: ScalingPolicy,
        forecast: Learning,
        room: Room,
    ) -> None:
        self.service, self.gateway, self.crew, self.measure = service, gateway, crew, measure
        self.policy, self.forecast, self._room = policy, forecast, room
        self.offered = 0
        self.blind_until = float("-inf")  # metrics do not arrive
        self.acts: list[Act] = []
        self._prior = service.profile.service_time
        self.since = 0.0
        self._inside = 0
        self._spent = (0.0, 0.0)
        self._busy: dict[str, float] = {}

    def begin(self, now: float) -> None:
        bounds, count = self.service.bounds, self.service.start_replicas
        self.since = self.gateway.base = now
        self.crew.begin(bounds.least if count is None else count, now)

    def observe(self, now: float, came: Came) -> Observation:
        gateway, crew, arrived = self.gateway, self.crew, came.arrived
        over_s = max(now - self.since, 1e-9)
        self.offered += arrived
        late = self.measure.pour() + gateway.late
        inside = self.offered - gateway.outside
        # The integral of those inside over the second, from when each came and went.
        spent = self._inside * over_s + (arrived * over_s - came.after_s)
        spent -= (self.offered - inside - (self.offered - arrived - self._inside)) * over_s - gateway.ended_at_s
        gateway.late, gateway.ended_at_s, gateway.base = 0, 0.0, now
        self._inside, self.since = inside, now
        gateway.retries.record_request(now, arrived)
        blind = now < self.blind_until
        if not blind:
            self.forecast.observe(now, arrived, over_s)
        replicas = self._replicas(over_s, now, blind=blind)
        held = len(gateway.held)
        queued = sum(len(replica.queue) for replica in crew.replicas.values())
        return Observation(
            now=now,
            arrived=None if blind else arrived,
            over_s=0.0 if blind else over_s,
            replicas=replicas,
            wanted=crew.wanted,
            service_time=self._service_time(),
            lead=self._lead(),
            forecast=self.forecast,
            waiting=queued + held,
            in_flight=inside - held,
            late=late,
            concurrency=max(spent, 0.0) / over_s,
            dispersion=came.dispersion,
            spare_slots=self._room.spare_slots(crew.index),
        )

    def spares(self, decision: Decision, replicas: int) -> int:
        """Beside so many. What the service says goes before the policy's word; one that could never be promoted would
        be for nothing."""
        count = decision.spares if self.service.spares is None else self.service.spares
        return max(0, min(count, self.service.bounds.most - replicas))

    def act(self, decision: Decision, replicas: int, spares: int, now: float) -> None:
        """`replicas`, `spares`: what the decision gets, where services share what is there."""
        before = self.crew.wanted
        if replicas != before:
            self.acts.append(Act(now, before, replicas, decision.reason))
        self.crew.want(replicas, spares, now)
        self.measure.step(now, self.offered, self.crew.wanted, self.crew.count(_READY))

    @property
    def inside(self) -> int:
        return self.offered - self.gateway.outside

    def close(self, now: float) -> None:
        self._spent = self.crew.spent(now)
        self.measure.step(now, self.offered, self.crew.wanted, self.crew.count(_READY), last=True)

    def result(self, seconds: float) -> ServiceResult:
        measure, ended = self.measure, self.measure.ended
        batches, items = (sum(column) for column in zip(*self.crew.computed(), strict=True))
        return ServiceResult(
            service=self.service.name,
            policy=self.policy.name,
            offered=self.offered,
            late=measure.late,
            refused=measure.refused,
            outcomes={"ok": measure.ok} | {outcome.value: count for outcome, count in ended.items() if count},
            p50_s=measure.quantile_s(0.5),
            p95_s=measure.quantile_s(0.95),
            p99_s=measure.quantile_s(0.99),
            replica_s=self._spent[0],
            spare_s=self._spent[1],
            acts=self.acts,
            timeline=measure.timeline,
            seconds=seconds,
            mean_batch=items / batches if batches else 0.0,
            sum_latency_s=measure.sum_s,
        )

    def _service_time(self) -> ServiceTime:
        """The mean of what the replicas learned, weighted by how many batches taught each, as the controller does."""
        found = [replica.estimate for replica in self.crew.replicas.values() if replica.estimate.samples]
        if not found:
            return self._prior
        weights = [min(one.samples, _SAMPLES_MOST) for one in found]
        pairs, whole = list(zip(found, weights, strict=True)), sum(weights)
        return ServiceTime(
            sum(one.a_s * weight for one, weight in pairs) / whole,
            sum(one.c_s * weight for one, weight in pairs) / whole,
            sum(one.sd_s * weight for one, weight in pairs) / whole,
            sum(one.samples for one in found),
        )

    def _lead(self) -> LeadTime:
        start = self.crew.leads.estimate()
        node_s, node_p90_s = self._room.lead(self.crew.index)
        return replace(start, node_s=node_s, node_p90_s=node_p90_s)

    def _replicas(self, over_s: float, now: float, *, blind: bool) -> Sequence[ScaledReplica]:
        profile, busy = self.service.profile, self._busy
        share = profile.cpu / (self.service.needs.get("cpu") or 1.0)
        seen: list[ScaledReplica] = []
        now_busy: dict[str, float] = {}
        for name, replica in self.crew.replicas.items():
            one = replica.seen
            if one.ready_at is not None:
                until = now_busy[name] = replica.busy_until(now)
                worked_s = until - busy.get(name, 0.0)
                one.cpu = None if blind else share * worked_s / over_s
                self._room.worked(name, worked_s)
            seen.append(one)
        self._busy = now_busy
        return seen
