"""`kpa` as a scaling policy: Knative's autoscaler and its way to zero, fed from observations.

Requests inside (waiting, held and computing) are its concurrency: Knative's queue-proxy and activator count the same.
"""

from dataclasses import dataclass
from math import floor, inf
from typing import Any

from plimsoll.core.scaling import Bounds, Decision, Observation, ReplicaState
from plimsoll.policy.scaling.kpa.autoscaler import TICK_S, Autoscaler, DeciderSpec, ScaleResult
from plimsoll.policy.scaling.kpa.windows import Buckets
from plimsoll.policy.scaling.kpa.zero import (
    UNKNOWN,
    Activity,
    Standing,
    ZeroSettings,
    bounded,
    next_activity,
    ready_threshold,
    resolve_target,
)
from plimsoll.policy.scaling.reasons import change
from plimsoll.policy.scaling.seconds import PerSecond, is_time, sane
from plimsoll.policy.scaling.settings import led_by, number, read_settings, seconds, share, whole

CONCURRENCY, RPS = "concurrency", "rps"
_DEFAULT_TOTAL = {CONCURRENCY: 100.0, RPS: 200.0}
_TIMER_S = 0.25  # a host that looks each second, give or take this, still ticks every 2 s


@dataclass(frozen=True, slots=True)
class KpaSettings:
    """Knative's settings with its defaults. `target`: requests inside, or requests a second, that a replica can take
    (100, 200); aimed at is `utilization` of it. `burst`: target-burst-capacity."""

    metric: str = CONCURRENCY
    target: float | None = None
    utilization: float = 0.7
    window_s: float = 60.0
    panic_window: float = 0.1  # of the window
    panic_threshold: float = 2.0
    max_up: float = 1000.0
    max_down: float = 2.0
    delay_s: float = 0.0
    activation: int = 0
    initial: int = 1
    burst: float = 211.0
    grace_s: float = 30.0
    retention_s: float = 0.0
    progress_deadline_s: float = 600.0


def parse_settings(text: str) -> KpaSettings:
    """`concurrency=100` or `rps=200`, and Knative's others by their names less what is repeated: see
    docs/scaling-peers.md. Ranges are Knative's. Raises ValueError."""
    known = {
        CONCURRENCY: number(0.01),
        RPS: number(0.01),
        "utilization": share,
        "window": seconds,
        "panic-window": share,
        "panic-threshold": _percentage,
        "max-up": number(1.0, above=True),
        "max-down": number(1.0, above=True),
        "delay": seconds,
        "activation": whole(1),
        "initial": whole(1),
        "burst": number(-1.0),
        "grace": seconds,
        "retention": seconds,
        "progress-deadline": seconds,
    }
    found: dict[str, Any] = read_settings(led_by(CONCURRENCY, text), known, "kpa")
    if CONCURRENCY in found and RPS in found:
        raise ValueError("kpa: give concurrency or rps, not both")
    if not 6 <= found.get("window", 60.0) <= 3600:
        raise ValueError("kpa: window must be from 6s to 1h")
    for key in ("window", "delay"):
        if found.get(key, 0.0) % 1:
            raise ValueError(f"kpa: {key} must be whole seconds")
    values = {key.replace("-", "_") + ("_s" if known[key] is seconds else ""): found[key] for key in found}
    for metric in (CONCURRENCY, RPS):
        if metric in values:
            values |= {"metric": metric, "target": values.pop(metric)}
    return KpaSettings(**values)


def _percentage(text: str) -> float:
    """`200%`, or 2 times: the panic threshold, 110% to 1000%."""
    value = number(0.0)(text.removesuffix("%"))
    value = value / 100 if text.endswith("%") or value > 10 else value
    if not 1.1 <= value <= 10:
        raise ValueError("expected 110% to 1000%")
    return value


class KpaScaling:
    """Decides each 2 s, and at once when a request comes at zero. Never raises."""

    def __init__(self, bounds: Bounds, settings: KpaSettings | None = None) -> None:
        self.settings = chosen = settings or KpaSettings()
        self.bounds = bounds
        total = _DEFAULT_TOTAL[chosen.metric]
        target, total = resolve_target(total=total, utilization=chosen.utilization, target=chosen.target)
        self.name = "kpa"
        self._spec = DeciderSpec(
            target_value=target,
            total_value=total,
            target_burst_capacity=chosen.burst,
            panic_threshold=chosen.panic_threshold,
            max_scale_up_rate=chosen.max_up,
            max_scale_down_rate=chosen.max_down,
            stable_window_s=chosen.window_s,
            scale_down_delay_s=chosen.delay_s,
            activation_scale=chosen.activation,
        )
        self._zero = ZeroSettings(
            min_scale=bounds.least,
            max_scale=bounds.most,
            initial_scale=chosen.initial,
            stable_window_s=chosen.window_s,
            grace_s=chosen.grace_s,
            retention_s=chosen.retention_s,
            progress_deadline_s=chosen.progress_deadline_s,
            target_burst_capacity=chosen.burst,
        )
        self._desired = UNKNOWN
        self._activity = Activity.ACTIVATING
        self._initialized = False
        self._last = -inf
        self._restart()

    def _restart(self) -> None:
        """At the beginning, and when the clock went back: what was measured is of a time that is yet to come."""
        chosen = self.settings
        panic_s = max(float(round(chosen.window_s * chosen.panic_window)), 1.0)
        self._per_second = PerSecond(round(chosen.window_s))
        self._stable, self._panic = Buckets(chosen.window_s), Buckets(panic_s)
        self._autoscaler: Autoscaler | None = None
        self._since = self._due = 0.0
        self._proxy_since: float | None = None
        self._decision: Decision | None = None

    def decide(self, seen: Observation) -> Decision:
        now = seen.now
        if seen.arrived is None or not is_time(now):
            return self._hold(seen)
        if now < self._last - 1.0:
            self._restart()
        self._last = now
        value, decision = self._take_in(seen), self._decision
        if decision is not None and now < self._due - _TIMER_S and not (self._desired == 0 and value > 0):
            return decision
        self._due = self._due + TICK_S if abs(now - self._due) <= _TIMER_S else now + TICK_S
        self._decision = self._decide(seen, now)
        return self._decision

    def _take_in(self, seen: Observation) -> float:
        """Fills the windows; the metric's value in this observation."""
        if self.settings.metric == RPS:
            value = sane((seen.arrived or 0) / seen.over_s if seen.over_s > 0 else 0.0)
        else:
            value = sane(seen.concurrency or float(seen.waiting + seen.in_flight))
        full = self._per_second.add(seen.now, seen.over_s, value)
        if full is not None:
            first, last, mean = full
            # Upstream without ready pods nobody reports an idle second, and after a window of such silence the mean
            # starts over: a burst at zero counts in full.
            if mean <= 0 and not seen.count(ReplicaState.READY):
                return value
            for second in range(first, last + 1):
                self._stable.record(second, mean)
                self._panic.record(second, mean)
        return value

    def _hold(self, seen: Observation) -> Decision:
        count = min(max(seen.wanted, self.bounds.least), self.bounds.most)
        self._decision = None
        return Decision(count, f"{change(seen.wanted, count)}: no metrics, held", {"metrics": False})

    def _decide(self, seen: Observation, now: float) -> Decision:
        ready = seen.count(ReplicaState.READY)
        if self._autoscaler is None:
            self._autoscaler = Autoscaler(self._spec, now=now, ready=ready)
            self._since = now
        second = floor(now + 0.5)
        stable = panic = None
        if not self._stable.is_empty(second):
            stable, panic = self._stable.average(second), self._panic.average(second)
        result = self._autoscaler.scale(now, stable, panic, ready)
        if result.valid:
            self._desired = result.desired
        want, replicas = self._reconcile(result, now, ready, seen.wanted)
        evidence = {
            "metric": self.settings.metric,
            "stable": stable,
            "panic": panic,
            "target": self._spec.target_value,
            "desired": self._desired,
            "ready": ready,
            "panicking": self._autoscaler.panic_since is not None,
            "activity": self._activity.value,
            "excess_burst_capacity": result.excess_burst_capacity,
        }
        return Decision(
            replicas,
            f"{change(seen.wanted, replicas)}: {self._why(replicas, want, stable or 0.0, panic or 0.0)}",
            evidence,
        )

    def _reconcile(self, result: ScaleResult, now: float, ready: int, current: int) -> tuple[int, int]:
        """Knative's reconciler: (scale wanted, replicas to set)."""
        proxy_for_s = now - self._proxy_since if self._proxy_since is not None else 0.0
        standing = Standing(self._activity, self._since, self._initialized, proxy_for_s)
        applied = bounded(self._zero, standing, self._desired, now)
        replicas = applied.want if applied.apply else current
        # Requests go past the activator only while there is capacity for a burst.
        if applied.want > 0 and result.valid and result.excess_burst_capacity >= 0:
            self._proxy_since = None
        elif self._proxy_since is None:
            self._proxy_since = now
        threshold = ready_threshold(self._zero, self._initialized)
        activity = next_activity(self._activity, want=applied.want, ready=ready, threshold=threshold)
        self._initialized = self._initialized or ready >= threshold
        if activity is not self._activity:
            self._activity, self._since = activity, now
        return applied.want, min(max(replicas, self.bounds.least), self.bounds.most)

    def _why(self, replicas: int, want: int, stable: float, panic: float) -> str:
        unit = "/s" if self.settings.metric == RPS else " inside"
        target = self._spec.target_value
        seen = (
            f"{stable:.4g}{unit} over {self.settings.window_s:g} s, {panic:.4g} in panic's window, {target:g} a replica"
        )
        if self._autoscaler is not None and self._autoscaler.panic_since is not None:
            return f"panic, nothing is taken away: {seen}"
        if want == 0 and replicas > 0:
            return f"idle, to zero once the grace of {self.settings.grace_s:g} s is over: {seen}"
        if self._desired > self.bounds.most:
            return f"{self._desired} wanted, the most is {self.bounds.most}: {seen}"
        return seen
