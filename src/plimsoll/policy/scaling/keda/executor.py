"""KEDA in its own terms: when a ScaledObject goes from zero to its fewest replicas and back, and what it does about
metrics that fail.

Sources: kedacore/keda, pkg/scaling/executor/scale_scaledobjects.go (`RequestScale`), pkg/fallback/fallback.go.
"""

from dataclasses import dataclass
from enum import StrEnum


class Behavior(StrEnum):
    """Fallback.behavior: what counts as the replicas to fall back to."""

    STATIC = "static"
    CURRENT = "currentReplicas"
    HIGHER = "currentReplicasIfHigher"
    LOWER = "currentReplicasIfLower"


@dataclass(frozen=True, slots=True)
class Fallback:
    """After more than `failure_threshold` failures in a row the metric is what asks for `replicas`."""

    failure_threshold: int
    replicas: int
    behavior: Behavior = Behavior.STATIC

    @property
    def valid(self) -> bool:
        return self.failure_threshold >= 0 and self.replicas >= 0


@dataclass(frozen=True, slots=True)
class ScaledObject:
    """The parts of a ScaledObject that decide. `min_replicas` None is 0. `idle_replicas`: while inactive, instead of
    `min_replicas`. The pauses and `force_activation` are KEDA's annotations."""

    min_replicas: int | None = None
    idle_replicas: int | None = None
    cooldown_s: float = 300.0
    initial_cooldown_s: float = 0.0
    created_at: float = float("-inf")
    fallback: Fallback | None = None
    paused: bool = False
    pause_in: bool = False
    pause_out: bool = False
    force_activation: bool = False


@dataclass(frozen=True, slots=True)
class ScaleResult:
    """`replicas` None: leave them. `last_active` None: unchanged. `active`, `ready`: the conditions' reasons."""

    replicas: int | None
    last_active: float | None
    active: str
    ready: str = "ScaledObjectReady"


def request_scale(
    so: ScaledObject, *, current: int, active: bool, error: bool, last_active: float | None, now: float
) -> ScaleResult:
    """One round of KEDA's loop. `active`: any trigger's value is above its activation threshold; `error`: any trigger
    failed; `last_active`: as the last results said, None: never."""
    if so.paused:
        return ScaleResult(None, None, "Paused")
    least = so.min_replicas or 0
    if active or so.force_activation:
        return _awake(so, current, least, error=error, now=now)
    failing = "TriggerError" if error and so.fallback is None else "ScaledObjectReady"
    if error and (so.fallback is None or so.fallback.replicas != 0):
        # Nothing is known: neither down (an HPA never comes back from 0 by itself) nor up.
        return ScaleResult(None, None, "ScalerNotActive", failing)
    above_idle = so.idle_replicas is not None and current > so.idle_replicas
    if above_idle or (current > 0 and least == 0):
        return _to_sleep(so, least, last_active, now)
    if so.idle_replicas is None and current < least:
        return ScaleResult(least, None, "ScalerNotActive")
    return ScaleResult(None, None, "ScalerNotActive")


def _awake(so: ScaledObject, current: int, least: int, *, error: bool, now: float) -> ScaleResult:
    if current == 0 or (so.idle_replicas is not None and current < least):
        if so.pause_out:
            return ScaleResult(None, None, "ScalerActive")
        return ScaleResult(max(least, 1), now, "ScalerActive")
    if error:
        return ScaleResult(None, None, "ScalerActive", "PartialTriggerError")
    return ScaleResult(None, now, "ScalerActive")


def _to_sleep(so: ScaledObject, least: int, last_active: float | None, now: float) -> ScaleResult:
    if so.pause_in:
        return ScaleResult(None, None, "ScalerNotActive")
    # Scaled by somebody else and never active under KEDA: only the initial cooldown counts.
    since, cooldown_s = (so.created_at, so.initial_cooldown_s) if last_active is None else (last_active, so.cooldown_s)
    if since + cooldown_s < now:
        return ScaleResult(least if so.idle_replicas is None else so.idle_replicas, None, "ScalerNotActive")
    return ScaleResult(None, None, "ScalerCooldown")


@dataclass(frozen=True, slots=True)
class Read:
    """A metric after fallback. `value` None: the error goes on to the HPA, which then holds. `failures`: in a row,
    counted only where there is a valid fallback."""

    value: float | None
    fallback_active: bool
    failures: int


def with_fallback(
    fallback: Fallback | None, value: float | None, target: float, *, current: int, failures: int
) -> Read:
    """KEDA's `GetMetricsWithFallback` for an AverageValue target. `value` None: the scaler failed. `current`: replicas
    now; `failures`: in a row before this one."""
    if fallback is None or not fallback.valid:
        return Read(value, False, failures)
    if value is not None:
        return Read(value, False, 0)
    failures += 1
    if failures <= fallback.failure_threshold:
        return Read(None, False, failures)
    match fallback.behavior:
        case Behavior.CURRENT:
            replicas = current
        case Behavior.HIGHER:
            replicas = max(current, fallback.replicas)
        case Behavior.LOWER:
            replicas = min(current, fallback.replicas)
        case _:
            replicas = fallback.replicas
    return Read(int(target * 1000 * replicas) / 1000, True, failures)
