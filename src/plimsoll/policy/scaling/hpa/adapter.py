"""`hpa-cpu` and `hpa-rps`: what a HorizontalPodAutoscaler would do with a service, as a ScalingPolicy.

Replicas become pods, what was seen becomes the metrics that metrics-server or an adapter would have, and the algorithm
itself is `autoscaler.HorizontalPodAutoscaler`.
"""

from collections import deque
from collections.abc import Sequence
from dataclasses import replace
from math import inf

from plimsoll.core.scaling import Bounds, Decision, Observation, ReplicaState, ScaledReplica
from plimsoll.policy.scaling.hpa import words
from plimsoll.policy.scaling.hpa.arithmetic import MAX_INT32
from plimsoll.policy.scaling.hpa.autoscaler import ControllerSettings, HorizontalPodAutoscaler
from plimsoll.policy.scaling.hpa.objects import (
    MetricSpec,
    MetricType,
    Pod,
    PodMetric,
    PodUsage,
    Scale,
    SeenMetrics,
    Spec,
    Target,
    TargetType,
)
from plimsoll.policy.scaling.hpa.replicas import CONTAINER, as_pod
from plimsoll.policy.scaling.hpa.settings import HpaSettings, default_target_rps, parse_settings

__all__ = ["HpaScaling", "HpaSettings", "default_target_rps", "parse_settings"]

RPS = "requests_per_second"
MOST_MILLI = 2**40  # with it no sum over 2^20 replicas leaves int64
MOST_ARRIVED = 10**15


class HpaScaling:
    """Looks at metrics each `settings.sync_s`, the first time one period after it was made, as the controller does, and
    repeats its last decision in between.

    A HorizontalPodAutoscaler with these metrics can neither leave 0 nor reach it: at least one replica is kept wherever
    `bounds.most` allows. Spares are no pods of its own; what is draining does not count.
    """

    def __init__(self, bounds: Bounds, settings: HpaSettings | None = None) -> None:
        self.settings = settings or HpaSettings()
        self.name = self.settings.flavour
        self.bounds = bounds
        self._most = min(max(bounds.most, 0), MAX_INT32)
        self._least = min(max(bounds.least, 1), self._most)
        self._target_milli = 0
        self._autoscaler = self._make()
        self._decision: Decision | None = None
        self._last = 0.0  # when it was asked last
        self._due = 0.0
        self._requests: deque[tuple[float, float, float]] = deque()  # (until, seconds, requests in them)
        self._cpu: dict[str, list[float]] = {}  # by replica: sum of what was seen since the last sync, how often
        self._pods: dict[str, tuple[ReplicaState, float | None, Pod]] = {}

    def decide(self, seen: Observation) -> Decision:
        now = seen.now
        decision = self._decision
        if decision is None or not now >= self._last:
            decision = self._begin(seen)
        if seen.arrived is None:
            self._cpu.clear()  # an average over the gap would be of a time long gone
            return words.held(seen.wanted, self._least, self._most, "no metrics arrived")
        if self.settings.flavour == "hpa-cpu":
            self._see_cpu(seen.replicas)
        else:
            self._see_requests(now, seen.arrived, seen.over_s)
        self._last = now
        if now >= self._due:
            self._due = now + self.settings.sync_s
            decision = self._decision = self._sync(seen)
        return decision

    def _make(self) -> HorizontalPodAutoscaler:
        settings = self.settings
        down_s = settings.down_s if settings.down_s is not None else self.bounds.down_window_s
        if settings.flavour == "hpa-cpu":
            metric = MetricSpec(MetricType.RESOURCE, "cpu", Target(TargetType.UTILIZATION, settings.target_cpu))
        else:
            metric = MetricSpec(MetricType.PODS, RPS, Target(TargetType.AVERAGE_VALUE, 1))
        return HorizontalPodAutoscaler(
            Spec(self._most, self._least, (metric,), settings.behavior),
            ControllerSettings(
                tolerance=settings.tolerance,
                downscale_stabilization_s=300.0 if down_s is None else down_s,
                cpu_initialization_period_s=settings.cpu_initialization_s,
                initial_readiness_delay_s=settings.readiness_delay_s,
            ),
        )

    def _begin(self, seen: Observation) -> Decision:
        """The first look, or the clock went back: what is remembered of a time to come is of now."""
        now = seen.now
        self._last, self._due = now, now + self.settings.sync_s
        self._requests.clear()
        self._cpu.clear()
        for past in self._autoscaler.recommendations or ():
            past.timestamp = min(past.timestamp, now)
        for event in (*self._autoscaler.up_events, *self._autoscaler.down_events):
            event.timestamp = min(event.timestamp, now)
        why = f"first look at the metrics in {self.settings.sync_s:g} s"
        self._decision = words.held(seen.wanted, self._least, self._most, why)
        return self._decision

    def _see_cpu(self, replicas: Sequence[ScaledReplica]) -> None:
        sums = self._cpu
        for seen in replicas:
            cpu = seen.cpu
            if cpu is not None:
                entry = sums.get(seen.id)
                if entry is None:
                    sums[seen.id] = [cpu, 1.0]
                else:
                    entry[0] += cpu
                    entry[1] += 1.0

    def _see_requests(self, now: float, arrived: int, over_s: float) -> None:
        """Looks may overlap (`over_s` longer than the time since the last one) or leave gaps."""
        if not 0 < over_s < inf:
            return
        length = min(now - self._requests[-1][0], over_s) if self._requests else over_s
        if length > 0:
            self._requests.append((now, length, min(max(arrived, 0), MOST_ARRIVED) * (length / over_s)))

    def _sync(self, seen: Observation) -> Decision:
        if self._most == 0:
            return words.held(seen.wanted, 0, 0, "the most is 0")
        metrics = self._cpu_metrics(seen) if self.settings.flavour == "hpa-cpu" else self._rps_metrics(seen)
        before, found = self._pods, {}
        running = []
        ready = alive = 0
        for replica in seen.replicas:
            state = replica.state
            if state is ReplicaState.SPARE:
                continue
            entry = before.get(replica.id)
            if entry is None or entry[0] is not state or entry[1] != replica.ready_at:
                entry = (state, replica.ready_at, as_pod(replica))
            found[replica.id] = entry
            running.append(entry[2])
            ready += state is ReplicaState.READY
            alive += state is not ReplicaState.DRAINING and state is not ReplicaState.FAILED
        self._pods = found
        # A scale of 0 would switch the autoscaler off; see the class's docstring.
        scale = Scale(min(max(seen.wanted, 1), MAX_INT32), alive)
        result = self._autoscaler.reconcile(scale, running, metrics, now=seen.now)
        target = self._target_milli or self.settings.target_cpu
        around = words.Around(seen.wanted, ready, self._least, self._most, target, self._autoscaler.tolerances)
        return words.told(result, around)

    def _cpu_metrics(self, seen: Observation) -> SeenMetrics:
        now, usage = seen.now, []
        for name, (total, count) in self._cpu.items():
            mean = total / count
            if 0.0 <= mean < inf:
                milli = round(min(mean * 1000.0, MOST_MILLI))
                usage.append(PodUsage(name, {CONTAINER: {"cpu": milli}}, now, self.settings.sync_s))
        self._cpu.clear()
        return SeenMetrics(usage=usage)

    def _rps_metrics(self, seen: Observation) -> SeenMetrics:
        """The rate over the window, in equal parts on the replicas that are ready: the others have no metric yet."""
        now, requests = seen.now, self._requests
        while requests and requests[0][0] <= now - self.settings.window_s:
            requests.popleft()
        target = self.settings.target_rps
        if target is None:
            target = default_target_rps(seen.service_time, self.bounds.p99_s, self.bounds.max_batch)
        self._aim(max(1, min(int(target * 1000), MOST_MILLI)))
        ready = [replica.id for replica in seen.replicas if replica.state is ReplicaState.READY]
        seconds = sum(entry[1] for entry in requests)
        if not ready or not seconds > 0:
            return SeenMetrics()
        rate = sum(entry[2] for entry in requests) / seconds
        metric = PodMetric(int(min(rate * 1000.0 / len(ready), MOST_MILLI)), now, self.settings.window_s)
        return SeenMetrics(pods={RPS: dict.fromkeys(ready, metric)})

    def _aim(self, milli: int) -> None:
        if milli != self._target_milli:
            self._target_milli = milli
            metric = MetricSpec(MetricType.PODS, RPS, Target(TargetType.AVERAGE_VALUE, milli))
            self._autoscaler.spec = replace(self._autoscaler.spec, metrics=(metric,))
