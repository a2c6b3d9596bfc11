"""Knative's way to zero and back: bounds, initial scale, the idle window, the grace in which the activator takes over.

Source: knative/serving, pkg/reconciler/autoscaling/kpa/scaler.go (`scale`, `handleScaleToZero`), kpa.go
(`computeActiveCondition`), resources/target.go (`ResolveMetricTarget`).
"""

from dataclasses import dataclass
from enum import StrEnum

UNKNOWN = -1  # a scale: nothing is known yet
ACTIVATION_BUFFER_S = 30.0
TARGET_MIN = 0.01  # autoscaling.TargetMin


class Activity(StrEnum):
    """The PodAutoscaler's condition `Active`: True, False, Unknown."""

    ACTIVE = "Active"
    INACTIVE = "Inactive"
    ACTIVATING = "Activating"


@dataclass(frozen=True, slots=True)
class ZeroSettings:
    """`min_scale`, `max_scale`: 0 is no bound. `retention_s`: how long the last pod stays after the service became
    inactive, whatever the network says."""

    min_scale: int = 0
    max_scale: int = 0
    initial_scale: int = 1
    enable: bool = True
    stable_window_s: float = 60.0
    grace_s: float = 30.0
    retention_s: float = 0.0
    progress_deadline_s: float = 600.0
    target_burst_capacity: float = 211.0
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Standing:
    """How the service stands: its activity since `since`; whether it ever had its initial scale; for how long requests
    have gone by way of the activator; whether a probe meets the activator (what the network says)."""

    activity: Activity
    since: float
    initialized: bool = False
    proxy_for_s: float = 0.0
    probe_meets_activator: bool = True


@dataclass(frozen=True, slots=True)
class Applied:
    """`want`: the scale to show and to judge activity by. `apply`: whether to set it."""

    want: int
    apply: bool


def bounded(settings: ZeroSettings, standing: Standing, desired: int, now: float) -> Applied:
    """Knative's `scaler.scale`: from the autoscaler's desired scale to what is set."""
    if desired < 0 and standing.activity is not Activity.ACTIVATING:
        return Applied(desired, False)
    least = settings.min_scale if settings.reachable else 0
    if settings.initial_scale > 1 and not standing.initialized and settings.reachable:
        least = max(least, settings.initial_scale)
    if desired < least:
        desired = least
    elif settings.max_scale and desired > settings.max_scale:
        desired = settings.max_scale
    return _to_zero(settings, standing, now) if desired == 0 else Applied(desired, True)


def _to_zero(settings: ZeroSettings, standing: Standing, now: float) -> Applied:
    if not settings.enable:
        return Applied(1, True)
    for_s = now - standing.since
    if standing.activity is Activity.ACTIVATING:
        if for_s > settings.progress_deadline_s + ACTIVATION_BUFFER_S:
            return Applied(0, True)  # it can't start: give up
        return Applied(UNKNOWN, False)
    if standing.activity is Activity.ACTIVE:
        if for_s >= settings.stable_window_s:
            return Applied(0, False)  # this marks it inactive; the grace begins
        return Applied(1, True)
    if settings.target_burst_capacity != -1 and not standing.probe_meets_activator:
        return Applied(0, False)
    retention_s = settings.retention_s if settings.reachable else 0.0
    if for_s >= max(settings.grace_s, retention_s):
        return Applied(0, True)
    if for_s < retention_s:
        return Applied(0, False)
    return Applied(0, standing.proxy_for_s >= settings.grace_s)


def ready_threshold(settings: ZeroSettings, initialized: bool) -> int:
    """Ready pods from which the service is active (`activeThreshold`)."""
    least = settings.min_scale if settings.reachable else 0
    return max(least, 1 if initialized else settings.initial_scale)


def next_activity(activity: Activity, *, want: int, ready: int, threshold: int) -> Activity:
    """Knative's table of `computeActiveCondition`. `want` -1: unknown."""
    if want == 0 or threshold == 0:
        return Activity.INACTIVE
    if want < 0 and activity is Activity.INACTIVE:
        return Activity.INACTIVE
    return Activity.ACTIVATING if ready < threshold else Activity.ACTIVE


def resolve_target(
    *, total: float, utilization: float, target: float | None = None, container_concurrency: float = 0.0
) -> tuple[float, float]:
    """Knative's (target, total) of a pod. `total`: the metric's default; `target`: the service's own;
    `container_concurrency`: the hard limit of requests inside one pod, 0 without (0 for requests a second, too)."""
    total = container_concurrency or total
    if target is not None:
        total = min(target, container_concurrency) if container_concurrency else target
    return max(TARGET_MIN, total * utilization), total
