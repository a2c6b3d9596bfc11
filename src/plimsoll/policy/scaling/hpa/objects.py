"""What the algorithm looks at, in Kubernetes' own terms: pods, their metrics, the HorizontalPodAutoscaler's spec.

Quantities are int milli-units (`arithmetic.milli` reads "500m"), times are float seconds on the caller's clock, as
`now` is; a zero `time.Time` of Go is any time long ago. Utilization is in whole percent.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from plimsoll.core.errors import PlimsollError


class MetricError(PlimsollError):
    """No replica count can be computed from this metric. `reason`: the condition's, such as FailedGetResourceMetric."""

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class Phase(StrEnum):
    PENDING = "Pending"
    RUNNING = "Running"
    SUCCEEDED = "Succeeded"
    FAILED = "Failed"
    UNKNOWN = "Unknown"


class Status(StrEnum):
    """Of a condition."""

    TRUE = "True"
    FALSE = "False"
    UNKNOWN = "Unknown"


@dataclass(frozen=True, slots=True)
class ReadyCondition:
    """A pod's condition of type Ready."""

    status: Status
    last_transition_time: float = 0.0


@dataclass(frozen=True, slots=True)
class Container:
    """`requests`: milli-units by resource ("cpu", "memory"). `restart_always`: an init container with restartPolicy
    Always, a sidecar."""

    name: str
    requests: Mapping[str, int] = field(default_factory=dict)
    restart_always: bool = False


@dataclass(frozen=True, slots=True)
class Pod:
    """`ready` None: it has no Ready condition; `start_time` None: the kubelet has not acknowledged it. `deleted`: it
    has a deletion timestamp. `requests`, `overhead`: spec.resources.requests and spec.overhead, milli-units."""

    name: str
    phase: Phase = Phase.RUNNING
    ready: ReadyCondition | None = None
    start_time: float | None = None
    deleted: bool = False
    containers: Sequence[Container] = ()
    init_containers: Sequence[Container] = ()
    requests: Mapping[str, int] = field(default_factory=dict)
    overhead: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class PodMetric:
    """One pod's value of one metric: milli-units, taken at `timestamp` over the `window_s` before it."""

    value: int
    timestamp: float = 0.0
    window_s: float = 60.0


@dataclass(frozen=True, slots=True)
class PodUsage:
    """One item of the resource metrics API: milli-units by resource, by container."""

    pod: str
    containers: Mapping[str, Mapping[str, int]]
    timestamp: float = 0.0
    window_s: float = 60.0


class MetricType(StrEnum):
    RESOURCE = "Resource"
    CONTAINER_RESOURCE = "ContainerResource"
    PODS = "Pods"
    OBJECT = "Object"
    EXTERNAL = "External"


class TargetType(StrEnum):
    UTILIZATION = "Utilization"
    AVERAGE_VALUE = "AverageValue"
    VALUE = "Value"


@dataclass(frozen=True, slots=True)
class Target:
    """`value`: percent of the request for Utilization, milli-units otherwise."""

    type: TargetType
    value: int


@dataclass(frozen=True, slots=True)
class MetricSpec:
    """One of spec.metrics. `name`: the resource for Resource and ContainerResource, else the metric. `object`: which
    described object, for Object, in any notation that `SeenMetrics.objects` uses too. `type` is a str, so that one
    which the algorithm does not know can be told."""

    type: str
    name: str
    target: Target | None
    container: str = ""
    object: str = ""


@dataclass(frozen=True, slots=True)
class SeenMetrics:
    """What the metrics APIs answered: what is not here could not be had.

    `usage`: the resource metrics API's items. `pods`: by metric name, by pod. `objects`: by (object, metric name).
    `external`: by metric name, all series that match.
    """

    usage: Sequence[PodUsage] = ()
    pods: Mapping[str, Mapping[str, PodMetric]] = field(default_factory=dict)
    objects: Mapping[tuple[str, str], int] = field(default_factory=dict)
    external: Mapping[str, Sequence[int]] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Tolerances:
    """How far usage over target may be from 1 without any act."""

    scale_down: float = 0.1
    scale_up: float = 0.1

    def is_within(self, ratio: float) -> bool:
        return 1.0 - self.scale_down <= ratio <= 1.0 + self.scale_up


class RatePolicyType(StrEnum):
    PODS = "Pods"
    PERCENT = "Percent"


class SelectPolicy(StrEnum):
    """Which of several rate policies holds: the one that allows the largest change, the smallest, or none at all."""

    MAX = "Max"
    MIN = "Min"
    DISABLED = "Disabled"


@dataclass(frozen=True, slots=True)
class RatePolicy:
    """One of behavior.scaleUp.policies: at most `value` pods or percent in any `period_s`."""

    type: RatePolicyType
    value: int
    period_s: int


@dataclass(frozen=True, slots=True)
class ScalingRules:
    """behavior.scaleUp or behavior.scaleDown; what is None gets its default (`behavior.scale_up_rules`)."""

    stabilization_window_s: int | None = None
    select_policy: SelectPolicy | None = None
    policies: tuple[RatePolicy, ...] | None = None
    tolerance: float | None = None


@dataclass(frozen=True, slots=True)
class Behavior:
    scale_up: ScalingRules | None = None
    scale_down: ScalingRules | None = None


@dataclass(frozen=True, slots=True)
class Spec:
    """A HorizontalPodAutoscaler's spec. No metrics: cpu at 80% of its request, as the API server fills in."""

    max_replicas: int
    min_replicas: int | None = None
    metrics: tuple[MetricSpec, ...] = ()
    behavior: Behavior | None = None


@dataclass(frozen=True, slots=True)
class Scale:
    """The scale subresource of what is scaled."""

    spec_replicas: int
    status_replicas: int


@dataclass(slots=True)
class Recommendation:
    """A replica count that the metrics asked for, before stabilization."""

    replicas: int
    timestamp: float


@dataclass(slots=True)
class ScaleEvent:
    """`replica_change`: how many were added, or removed: positive in both directions' lists."""

    replica_change: int
    timestamp: float
    outdated: bool = False
