"""One service in virtual time under the budget scaler: forecasts are the live ones, replicas start and die as told."""

from dataclasses import replace

import numpy as np

from plimsoll.core.scaling import Bounds, LeadTime, Observation, ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.forecast import Forecaster
from plimsoll.policy.scaling.budget import BudgetScaling, tail_of

P99_S = 0.1
MODEL = ServiceTime(0.004, 0.0015, 0.001, 1000)
READY, STARTING, FAILED = ReplicaState.READY, ReplicaState.STARTING, ReplicaState.FAILED
ONE = tail_of(MODEL, P99_S, None, burst=1.0, allowed=0.01).per_replica  # requests/s that one computes


def bounds(least=1, most=1000, **more):
    return Bounds(least, most, p99_s=P99_S, **more)


class Timeline:
    """`run(seconds, rate)` asks the scaler each second and returns the counts it wanted. `rate`: a number or a function
    of the seconds since `run` began; as many requests come each second, exactly, or Poisson where `seed` is given.
    `serves`: the share of what was learned that a replica really does. Fields may be changed between two runs."""

    def __init__(self, limits=None, *, start=1, cold_s=8.0, seed=None, now=0.0, **more):
        self.policy = BudgetScaling(limits or bounds())
        self.forecast = Forecaster()
        self.random = None if seed is None else np.random.default_rng(seed)
        self.now, self.wanted = now, start
        self.lead = LeadTime(cold_s, cold_s)
        self.replicas = [ScaledReplica(f"r{i}", READY, now, now) for i in range(start)]
        self.made = start
        self.starts_fail = False
        self.serves = 1.0
        self.more = more  # fields of each Observation
        self.decision = None
        self.decisions = []
        self.missed = self.offered = self.paid_s = 0

    def run(self, seconds, rate=0.0, *, metrics=True, step_s=1.0):
        counts = []
        for step in range(round(seconds / step_s)):
            expected = (rate(step * step_s) if callable(rate) else rate) * step_s
            self._grow(step_s)
            arrived = round(expected) if self.random is None else int(self.random.poisson(expected))
            if metrics:
                self.forecast.observe(self.now, arrived, step_s)
            seen = self.look(arrived, step_s)
            self._decide(seen if metrics else replace(seen, arrived=None))
            counts.append(self.wanted)
        return counts

    def look(self, arrived, over_s=1.0, **more):
        capacity = self.count(READY) * ONE * over_s * self.serves
        late = round(max(arrived - capacity, 0))
        self.offered += arrived
        self.missed += late
        fields = {"late": late, "service_time": MODEL, "lead": self.lead, **self.more, **more}
        return Observation(self.now, arrived, over_s, self.replicas, self.wanted, forecast=self.forecast, **fields)

    def kill(self, count):
        """They start again, as a backend sees to it."""
        for replica in [one for one in self.replicas if one.state is READY][:count]:
            replica.state, replica.asked_at, replica.ready_at = STARTING, self.now, None

    def count(self, state):
        return sum(one.state is state for one in self.replicas)

    def show(self, seen):
        """Asks the scaler about a look made by hand, and does as it says."""
        return self._decide(seen)

    def _grow(self, step_s):
        self.now += step_s
        self.paid_s += len(self.replicas) * step_s
        for replica in self.replicas:
            if replica.state is READY or self.now < replica.asked_at + self.lead.start_s:
                continue
            if self.starts_fail:
                self.lead = replace(self.lead, failed=self.lead.failed + 1)
                replica.state, replica.asked_at = FAILED, self.now  # tried again, after as long
            else:
                self.lead = replace(self.lead, failed=0)
                replica.state, replica.ready_at = READY, self.now

    def _decide(self, seen):
        decision = self.decision = self.policy.decide(seen)
        self.decisions.append(decision)
        limits = self.policy.bounds
        assert limits.least <= decision.replicas <= limits.most, decision
        assert "\n" not in decision.reason
        self.wanted = decision.replicas
        while len(self.replicas) > self.wanted:
            waiting = [one for one in self.replicas if one.state is not READY]
            self.replicas.remove((waiting or self.replicas)[-1])
        while len(self.replicas) < self.wanted:
            self.replicas.append(ScaledReplica(f"r{self.made}", STARTING, self.now))
            self.made += 1
        return decision
