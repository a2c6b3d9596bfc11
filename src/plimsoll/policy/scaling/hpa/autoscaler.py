"""One HorizontalPodAutoscaler and what it remembers: `reconcile` is one round of the controller's loop."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from plimsoll.policy.scaling.hpa import behavior
from plimsoll.policy.scaling.hpa.calculator import Proposal, ReplicaCalculator
from plimsoll.policy.scaling.hpa.metrics import Look, compute
from plimsoll.policy.scaling.hpa.objects import (
    MetricSpec,
    MetricType,
    Pod,
    Recommendation,
    Scale,
    ScaleEvent,
    ScalingRules,
    SeenMetrics,
    Spec,
    Target,
    TargetType,
    Tolerances,
)

# What the API server fills in for a spec without metrics.
DEFAULT_METRICS = (MetricSpec(MetricType.RESOURCE, "cpu", Target(TargetType.UTILIZATION, 80)),)

ABLE = "AbleToScale"
ACTIVE = "ScalingActive"
LIMITED = "ScalingLimited"
AT_ZERO = "ScaledToZero"


@dataclass(frozen=True, slots=True)
class ControllerSettings:
    """kube-controller-manager's flags and gates, with its defaults.

    `configurable_tolerance`: the gate HPAConfigurableTolerance, on since 1.35: `behavior.*.tolerance` counts.
    `scale_to_zero`: the gate HPAScaleToZero. `zero_needs_condition`: what a scale of 0 means. False, as until 1.35: the
    autoscaler is disabled, unless minReplicas is 0. True, as since 1.36: it is disabled unless the condition
    ScaledToZero says that the autoscaler itself went to 0.
    """

    tolerance: float = 0.1
    downscale_stabilization_s: float = 300.0
    cpu_initialization_period_s: float = 300.0
    initial_readiness_delay_s: float = 30.0
    configurable_tolerance: bool = True
    scale_to_zero: bool = False
    zero_needs_condition: bool = False
    pod_level: bool = True


@dataclass(frozen=True, slots=True)
class Condition:
    status: bool
    reason: str


@dataclass(frozen=True, slots=True)
class Reconciled:
    """What one round came to.

    `replicas`: spec.replicas from now on. `rescale`: whether that is a change to write. `asked`: what the metrics asked
    for, `stabilized`: after the window; None where no metric was looked at. `limited`: why the count is not
    `stabilized` (`behavior.UP_LIMIT` and so on), or DesiredWithinRange. `metric`: which metric decided. `seen`: a
    Proposal a metric of the spec, None for those that failed. `error`: why metrics failed; with `asked` None nothing
    was decided by metrics at all.
    """

    replicas: int
    rescale: bool = False
    reason: str = ""
    asked: int | None = None
    stabilized: int | None = None
    limited: str = ""
    metric: str = ""
    seen: tuple[Proposal | None, ...] = ()
    error: str = ""


@dataclass(slots=True)
class HorizontalPodAutoscaler:
    """`recommendations` None: the first round records the replicas it finds, so that the first scale-down waits for the
    window, too; an empty list: there is no such memory. `conditions` as in the status, by type."""

    spec: Spec
    settings: ControllerSettings = field(default_factory=ControllerSettings)
    recommendations: list[Recommendation] | None = None
    up_events: list[ScaleEvent] = field(default_factory=list)
    down_events: list[ScaleEvent] = field(default_factory=list)
    conditions: dict[str, Condition] = field(default_factory=dict)
    calculator: ReplicaCalculator = field(init=False)
    tolerances: Tolerances = field(init=False)
    up_rules: ScalingRules | None = field(init=False, default=None)
    down_rules: ScalingRules | None = field(init=False, default=None)

    def __post_init__(self) -> None:
        settings, rules = self.settings, self.spec.behavior
        self.calculator = ReplicaCalculator(
            settings.cpu_initialization_period_s, settings.initial_readiness_delay_s, pod_level=settings.pod_level
        )
        up = down = settings.tolerance
        if rules is not None:
            self.up_rules = behavior.scale_up_rules(rules.scale_up)
            self.down_rules = behavior.scale_down_rules(rules.scale_down, int(settings.downscale_stabilization_s))
            if settings.configurable_tolerance:
                up = up if self.up_rules.tolerance is None else self.up_rules.tolerance
                down = down if self.down_rules.tolerance is None else self.down_rules.tolerance
        self.tolerances = Tolerances(scale_down=down, scale_up=up)

    def reconcile(self, scale: Scale, pods: Sequence[Pod], metrics: SeenMetrics, *, now: float) -> Reconciled:
        """One round at `now`. It takes the change for done: a `rescale` is remembered as an event. Never raises."""
        current, most = scale.spec_replicas, self.spec.max_replicas
        least = 1 if self.spec.min_replicas is None else self.spec.min_replicas
        self.conditions[ABLE] = Condition(True, "SucceededGetScale")
        if self.recommendations is None:
            self.recommendations = [Recommendation(current, now)]
        if current == 0:
            if self._is_disabled(least):
                self.conditions[ACTIVE] = Condition(False, "ScalingDisabled")
                if not self.settings.scale_to_zero:
                    self.conditions.pop(AT_ZERO, None)
                return Reconciled(0, reason="scaling is disabled since the replica count of the target is zero")
        elif current > most:
            found = Reconciled(most, reason="Current number of replicas above Spec.MaxReplicas")
            return self._rescaled(current, least, found, now)
        elif current < least:
            found = Reconciled(least, reason="Current number of replicas below Spec.MinReplicas")
            return self._rescaled(current, least, found, now)
        return self._by_metrics(scale, least, pods, metrics, now)

    def _is_disabled(self, least: int) -> bool:
        if not self.settings.zero_needs_condition:
            return least != 0
        at_zero = self._went_to_zero()
        return not (at_zero and (least != 0 or self._outside_metrics()))

    def _went_to_zero(self) -> bool:
        condition = self.conditions.get(AT_ZERO)
        return self.settings.scale_to_zero and condition is not None and condition.status

    def _outside_metrics(self) -> bool:
        return any(metric.type in (MetricType.OBJECT, MetricType.EXTERNAL) for metric in self.spec.metrics)

    def _by_metrics(
        self, scale: Scale, least: int, pods: Sequence[Pod], metrics: SeenMetrics, now: float
    ) -> Reconciled:
        current = scale.spec_replicas
        specs = self.spec.metrics or DEFAULT_METRICS
        computed = compute(specs, Look(scale, pods, metrics, self.calculator, self.tolerances, now))
        if computed.replicas is None:
            self.conditions[ACTIVE] = Condition(False, computed.reason)
            return Reconciled(current, seen=computed.seen, error=computed.error)
        self.conditions[ACTIVE] = Condition(True, "ValidMetricFound")
        desired = max(computed.replicas, 0)
        reason = ""
        if desired > current:
            reason = f"{computed.metric} above target"
        elif desired < current:
            reason = "All metrics below target"
        stabilized, replicas, limited = self._normalized(current, desired, least, now)
        if current == 0 and least != 0 and replicas < least and self._went_to_zero():
            replicas = least
            reason = reason or "Current number of replicas below Spec.MinReplicas"
        found = Reconciled(
            replicas, False, reason, desired, stabilized, limited, computed.metric, computed.seen, computed.error
        )
        return self._rescaled(current, least, found, now)

    def _normalized(self, current: int, desired: int, least: int, now: float) -> tuple[int, int, str]:
        """(stabilized, replicas, why not stabilized)."""
        past = self.recommendations if self.recommendations is not None else []
        most = self.spec.max_replicas
        if self.up_rules is None or self.down_rules is None:
            window_s = self.settings.downscale_stabilization_s
            stabilized = behavior.stabilize(past, desired, window_s=window_s, now=now)
            held = "ScaleDownStabilized"
            replicas, limited = behavior.convert(current, stabilized, least, most)
        else:
            stabilized = behavior.stabilize_with_behavior(
                past,
                current,
                desired,
                up_window_s=self.up_rules.stabilization_window_s or 0,
                down_window_s=self.down_rules.stabilization_window_s or 0,
                now=now,
            )
            held = "ScaleUpStabilized" if desired >= current else "ScaleDownStabilized"
            args = behavior.RateArgs(current, stabilized, least, most, self.up_rules, self.down_rules)
            replicas, limited = behavior.convert_with_behavior(args, self.up_events, self.down_events, now=now)
        self.conditions[ABLE] = Condition(True, held if stabilized != desired else "ReadyForNewScale")
        self.conditions[LIMITED] = Condition(replicas != stabilized, limited)
        return stabilized, replicas, limited

    def _rescaled(self, current: int, least: int, found: Reconciled, now: float) -> Reconciled:
        wanted = found.replicas
        if wanted == current:
            return found
        self.conditions[ABLE] = Condition(True, "SucceededRescale")
        if wanted > current:
            behavior.store_event(self.up_events, self.up_rules, wanted - current, now=now)
        else:
            behavior.store_event(self.down_events, self.down_rules, current - wanted, now=now)
        if not self.settings.scale_to_zero:
            self.conditions.pop(AT_ZERO, None)
        elif current > 0 and wanted == 0 and least == 0 and self._outside_metrics():
            self.conditions[AT_ZERO] = Condition(True, "ScaledToZero")
        else:
            self.conditions[AT_ZERO] = Condition(False, "NotScaledToZero")
        return replace(found, rescale=True)
