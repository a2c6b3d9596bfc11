"""Observations for tests of scaling policies: one service, made by hand."""

from plimsoll.core.scaling import LeadTime, Observation, ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime


class NoForecast:
    """For policies that don't look ahead."""

    def rate(self, ahead_s, quantile):
        return 0.0

    def burstiness(self):
        return 1.0


SERVICE_TIME = ServiceTime(0.004, 0.0015, 0.001, 1000)
LEAD = LeadTime(8.0, 9.0)


def replicas(ready=0, *, starting=0, draining=0, now=0.0, cpu=None):
    states = [ReplicaState.READY] * ready + [ReplicaState.STARTING] * starting + [ReplicaState.DRAINING] * draining
    return [
        ScaledReplica(f"r{i}", state, now, now if state is ReplicaState.READY else None, cpu)
        for i, state in enumerate(states)
    ]


def seen(now, *, rate=0.0, ready=1, wanted=None, over_s=1.0, metrics=True, **more):
    """`rate`: arrivals a second over `over_s`; `more`: fields of Observation."""
    return Observation(
        now=now,
        arrived=round(rate * over_s) if metrics else None,
        over_s=over_s,
        replicas=more.pop("replicas") if "replicas" in more else replicas(ready, now=now),
        wanted=ready if wanted is None else wanted,
        service_time=SERVICE_TIME,
        lead=LEAD,
        forecast=NoForecast(),
        **more,
    )


class World:
    """A policy in virtual time: replicas become ready `cold_s` after they were wanted, at once where it is 0; surplus
    ones go at once, the youngest first. `run(until, load)` asks it each second and returns the counts it wanted."""

    def __init__(self, policy, *, start=1, cold_s=0.0, now=0.0):
        self.policy = policy
        self.cold_s = cold_s
        self.now = now
        self.wanted = start
        self.fleet = [ScaledReplica(f"r{i}", ReplicaState.READY, now, now) for i in range(start)]
        self.decision = None
        self._made = start

    def run(self, until, *, rate=0.0, concurrency=0.0, queue=0, metrics=True):
        counts = []
        while self.now < until:
            self.now += 1.0
            for replica in self.fleet:
                if replica.state is ReplicaState.STARTING and self.now >= replica.asked_at + self.cold_s:
                    replica.state, replica.ready_at = ReplicaState.READY, self.now
            observation = seen(
                self.now,
                rate=rate,
                replicas=self.fleet,
                wanted=self.wanted,
                concurrency=concurrency,
                waiting=queue,
                metrics=metrics,
            )
            self.decision = self.policy.decide(observation)
            self.wanted = self.decision.replicas
            self._act()
            counts.append(self.wanted)
        return counts

    def _act(self):
        del self.fleet[self.wanted :]
        while len(self.fleet) < self.wanted:
            state = ReplicaState.STARTING if self.cold_s else ReplicaState.READY
            self.fleet.append(ScaledReplica(f"r{self._made}", state, self.now, None if self.cold_s else self.now))
            self._made += 1
