"""`keda` as a scaling policy: KEDA's loop between zero and one, an HPA with KEDA's external metric above."""

from dataclasses import dataclass, replace
from typing import Any

from plimsoll.core.scaling import Bounds, Decision, Observation, ReplicaState
from plimsoll.policy.scaling.hpa import objects
from plimsoll.policy.scaling.hpa.autoscaler import ControllerSettings, HorizontalPodAutoscaler
from plimsoll.policy.scaling.hpa.objects import (
    MetricSpec,
    MetricType,
    Scale,
    ScalingRules,
    SeenMetrics,
    SelectPolicy,
    Spec,
    Target,
    TargetType,
)
from plimsoll.policy.scaling.keda.executor import Behavior, Fallback, ScaledObject, request_scale, with_fallback
from plimsoll.policy.scaling.kpa.windows import Buckets
from plimsoll.policy.scaling.reasons import change
from plimsoll.policy.scaling.seconds import PerSecond, is_time, sane
from plimsoll.policy.scaling.settings import led_by, number, read_settings, seconds, whole

QUEUE, RPS = "queue", "rps"
_TIMER_S = 0.25  # hosts look each second, give or take
_METRIC = "plimsoll"


@dataclass(frozen=True, slots=True)
class KedaSettings:
    """A ScaledObject with one trigger. `metric` queue: requests waiting or computing now; rps: requests a second over
    `window_s`. `target`: of it for one replica. `activation`: above it the service is active, at it not. `pause`: "",
    "in", "out", "all", or a count (paused-replicas). `down_s`: the HPA's stabilization; None: the service's, else 300.
    """

    metric: str = QUEUE
    target: float = 5.0  # KEDA's default of its queue triggers (SQS, Redis lists)
    activation: float = 0.0
    window_s: float = 60.0
    poll_s: float = 30.0
    cooldown_s: float = 300.0
    initial_cooldown_s: float = 0.0
    fallback: int | None = None
    failures: int = 3
    behavior: Behavior = Behavior.STATIC
    sync_s: float = 15.0
    tolerance: float = 0.1
    down_s: float | None = None
    pause: str = ""


def parse_settings(text: str) -> KedaSettings:
    """`queue=8` or `rps=400`, and more: docs/scaling-peers.md has every key. Raises ValueError."""
    known = {
        QUEUE: number(0.001, 1e9),
        RPS: number(0.001, 1e9),
        "activation": number(0.0, 1e9),
        "window": seconds,
        "poll": seconds,
        "cooldown": seconds,
        "initial-cooldown": seconds,
        "fallback": whole(0),
        "failures": whole(0),
        "behavior": _behavior,
        "sync": seconds,
        "tolerance": number(0.0, 100.0),
        "down": seconds,
        "pause": _pause,
    }
    found: dict[str, Any] = read_settings(led_by(QUEUE, text), known, "keda")
    if QUEUE in found and RPS in found:
        raise ValueError("keda: give queue or rps, not both")
    for key in ("window", "poll", "sync"):
        if not 1 <= found.get(key, 1.0) <= 3600:
            raise ValueError(f"keda: {key} must be from 1s to 1h")
    values = {key.replace("-", "_") + ("_s" if known[key] is seconds else ""): found[key] for key in found}
    for metric in (QUEUE, RPS):
        if metric in values:
            values |= {"metric": metric, "target": values.pop(metric)}
    return KedaSettings(**values)


def _behavior(text: str) -> Behavior:
    try:
        return Behavior(text)
    except ValueError:
        raise ValueError(f"expected {', '.join(Behavior)}") from None


def _pause(text: str) -> str:
    if text not in ("in", "out", "all") and not (text.isascii() and text.isdecimal()):
        raise ValueError("expected in, out, all, or a count of replicas")
    return text


class KedaScaling:
    """Looks at activity each 30 s and lets its HPA decide each 15 s. From zero it wakes at KEDA's next look, which can
    be 30 s later. Never raises."""

    def __init__(self, bounds: Bounds, settings: KedaSettings | None = None) -> None:
        self.settings = chosen = settings or KedaSettings()
        self.bounds = bounds
        self.name = "keda"
        self._most, self._least = max(bounds.most, 0), min(max(bounds.least, 0), max(bounds.most, 0))
        fallback = None if chosen.fallback is None else Fallback(chosen.failures, chosen.fallback, chosen.behavior)
        self.object = ScaledObject(
            min_replicas=self._least,
            cooldown_s=chosen.cooldown_s,
            initial_cooldown_s=chosen.initial_cooldown_s,
            fallback=fallback,
            paused=chosen.pause == "all" or chosen.pause.isdecimal(),
            pause_in=chosen.pause == "in",
            pause_out=chosen.pause == "out",
        )
        self._hpa = self._make()
        self._last_active: float | None = None
        self._failures = 0
        self._last: float | None = None
        self._poll_at = self._sync_at = 0.0
        self._decision: Decision | None = None

    def _make(self) -> HorizontalPodAutoscaler:
        chosen = self.settings
        down_s = chosen.down_s if chosen.down_s is not None else self.bounds.down_window_s
        milli = max(1, int(chosen.target * 1000))
        metric = MetricSpec(MetricType.EXTERNAL, _METRIC, Target(TargetType.AVERAGE_VALUE, milli))
        # As KEDA itself does it: a pause in one direction switches off that direction of the HPA.
        off = ScalingRules(select_policy=SelectPolicy.DISABLED)
        behavior = None
        if self.object.pause_in or self.object.pause_out:
            behavior = objects.Behavior(off if self.object.pause_out else None, off if self.object.pause_in else None)
        return HorizontalPodAutoscaler(
            Spec(self._most, max(self._least, 1), (metric,), behavior),
            ControllerSettings(
                tolerance=chosen.tolerance, downscale_stabilization_s=300.0 if down_s is None else down_s
            ),
        )

    def decide(self, seen: Observation) -> Decision:
        now, decision = seen.now, self._decision
        if not is_time(now):
            return self._hold(seen)
        if self._last is None or now < self._last:
            self._begin(now)
        self._last = now
        if self.settings.metric == RPS and seen.arrived is not None:
            self._take_in(now, seen.over_s, seen.arrived)
        polls, syncs = now >= self._poll_at - _TIMER_S, now >= self._sync_at - _TIMER_S
        if decision is None or polls or syncs:
            decision = self._decision = self._due(seen, polls=polls, syncs=syncs)
        if seen.arrived is None and decision.evidence.get("fallback") is not True:
            return self._hold(seen)
        return decision

    def _hold(self, seen: Observation) -> Decision:
        held = min(max(seen.wanted, self._least), self._most)
        return Decision(held, f"{change(seen.wanted, held)}: no metrics, held", {"metrics": False})

    def _begin(self, now: float) -> None:
        """The first look, or the clock went back: what is remembered of a time to come is of now."""
        if self._last is None:
            self.object = replace(self.object, created_at=now)
        self._poll_at, self._sync_at = now, now + self.settings.sync_s
        self._per_second, self._window = PerSecond(round(self.settings.window_s)), Buckets(self.settings.window_s)
        if self._last_active is not None:
            self._last_active = min(self._last_active, now)
        for past in self._hpa.recommendations or ():
            past.timestamp = min(past.timestamp, now)
        for event in (*self._hpa.up_events, *self._hpa.down_events):
            event.timestamp = min(event.timestamp, now)

    def _take_in(self, now: float, over_s: float, arrived: int) -> None:
        full = self._per_second.add(now, over_s, sane(arrived / over_s if over_s > 0 else 0.0))
        if full is not None:
            for second in range(full[0], full[1] + 1):
                self._window.record(second, full[2])

    def _value(self, seen: Observation) -> float | None:
        """The trigger's, now; None: it failed."""
        if seen.arrived is None:
            return None
        if self.settings.metric == QUEUE:
            return sane(float(seen.waiting + seen.in_flight))
        return self._window.average(seen.now + 0.5)

    def _due(self, seen: Observation, *, polls: bool, syncs: bool) -> Decision:
        now, before = seen.now, min(max(seen.wanted, 0), self._most)
        if self.object.paused:
            self._poll_at = self._sync_at = now + self.settings.poll_s
            count = int(self.settings.pause[:9]) if self.settings.pause.isdecimal() else seen.wanted
            held = min(max(count, self._least), self._most)
            return Decision(held, f"{change(seen.wanted, held)}: paused", {"paused": True})
        raw = self._value(seen)
        value, fallback, why = raw, False, ""
        after = before
        if polls:
            self._poll_at = _next(self._poll_at, now, self.settings.poll_s)
            value, fallback = self._read(raw, before)
            after, why = self._awake_or_asleep(after, value, fallback, now)
        if syncs:
            self._sync_at = _next(self._sync_at, now, self.settings.sync_s)
            value, fallback = self._read(raw, after)
            # An HPA that finds it just woken has seen it at 0 this time.
            after = self._spread(after, value, seen) if before else after
        return self._told(seen.wanted, after, value, fallback, why)

    def _read(self, raw: float | None, current: int) -> tuple[float | None, bool]:
        """Both loops read the trigger, and each failure counts."""
        read = with_fallback(self.object.fallback, raw, self.settings.target, current=current, failures=self._failures)
        self._failures = min(read.failures, 2**31)
        return read.value, read.fallback_active

    def _awake_or_asleep(self, current: int, value: float | None, fallback: bool, now: float) -> tuple[int, str]:
        active = fallback or (value is not None and value > self.settings.activation)
        result = request_scale(
            self.object, current=current, active=active, error=value is None, last_active=self._last_active, now=now
        )
        if result.last_active is not None:
            self._last_active = result.last_active
        said = {"ScalerCooldown": f"idle, to sleep after {self.settings.cooldown_s:g} s"}.get(result.active, "")
        return current if result.replicas is None else result.replicas, said

    def _spread(self, current: int, value: float | None, seen: Observation) -> int:
        """One round of the HPA; at 0 replicas it is off."""
        if current == 0:
            return 0
        alive = seen.count(ReplicaState.READY, ReplicaState.STARTING, ReplicaState.PENDING)
        external = {} if value is None else {_METRIC: [int(min(value * 1000, 2**50))]}
        found = self._hpa.reconcile(Scale(current, max(alive, 1)), (), SeenMetrics(external=external), now=seen.now)
        return found.replicas

    def _told(self, before: int, after: int, value: float | None, fallback: bool, why: str) -> Decision:
        held = min(max(after, self._least), self._most)
        chosen = self.settings
        unit = "waiting or computing" if chosen.metric == QUEUE else f"/s over {chosen.window_s:g} s"
        evidence: dict[str, object] = {"metric": chosen.metric, "value": value, "target": chosen.target}
        if fallback:
            evidence["fallback"] = True
            text = f"metrics failed {self._failures} times, fallback"
        elif value is None:
            text = "no metrics, held"
        else:
            text = f"{value:.4g} {unit}, target {chosen.target:g} a replica".replace(" /s", "/s")
        return Decision(held, f"{change(before, held)}: {text}" + (f"; {why}" if why and held else ""), evidence)


def _next(due: float, now: float, period_s: float) -> float:
    return due + period_s if abs(now - due) <= _TIMER_S else now + period_s
