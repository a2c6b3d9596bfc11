"""What the controller published last, as autoscalers ask for it. Pure, but for the event that wakes followers.

A count is told for `count_s` after the controller stood by it last, raw figures for `values_s` after traffic was heard
of last. Older ones are refused with the reason: an HPA then keeps the count it has, and says so in its conditions.
"""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from plimsoll.backends.kubernetes.names import DESIRED_METRIC, SIGNALS
from plimsoll.backends.kubernetes.signals.rounding import published
from plimsoll.backends.kubernetes.signals.selector import Requirement
from plimsoll.ports.signals import PodSignal, ServiceSignal

PodLabels = Callable[[str, str], Mapping[str, str] | None]


class SignalError(Exception):
    """Refused. `code` and `reason`: as the API has them."""

    code, reason = 500, "InternalError"


class NoSuchMetric(SignalError):
    code, reason = 404, "NotFound"


class TooOld(SignalError):
    code, reason = 503, "ServiceUnavailable"


@dataclass(frozen=True, slots=True)
class Bounds:
    """Seconds. The controller stands by each count each second."""

    count_s: float = 15.0
    values_s: float = 30.0
    pods_s: float = 15.0


@dataclass(frozen=True, slots=True)
class Value:
    """`age_s`: when it was measured, before now."""

    name: str  # of the service, or of the pod
    labels: Mapping[str, str]
    value: float
    age_s: float


class SignalBook:
    """`ports.signals.SignalSink`. `tolerance`: of the cluster's HPAs towards our counts; 0 where the rendered ones set
    it so. `pod_labels`: of a pod, by namespace and name; None: unknown."""

    def __init__(self, *, pod_labels: PodLabels, tolerance: float = 0.0, bounds: Bounds | None = None) -> None:
        self.tolerance = tolerance
        self.news = asyncio.Event()  # replaced at each publication: whoever waits on the old one wakes
        self._pod_labels, self._bounds = pod_labels, bounds or Bounds()
        self._services: dict[str, dict[str, ServiceSignal]] = {}  # by namespace and name

    def publish(self, signals: Sequence[ServiceSignal]) -> None:
        services: dict[str, dict[str, ServiceSignal]] = {}
        for signal in signals:
            services.setdefault(signal.namespace, {})[signal.name] = signal
        self._services = services
        self.news.set()
        self.news = asyncio.Event()

    def count(self, namespace: str, name: str, now: float) -> int:
        """Replicas that are wanted. Raises NoSuchMetric for a service that isn't known, TooOld."""
        signal = self._services.get(namespace, {}).get(name)
        if signal is None:
            raise NoSuchMetric(f"there is no ModelService {namespace}/{name}")
        self._check_count(signal, now)
        assert signal.desired is not None
        return signal.desired

    def value(self, namespace: str, name: str, now: float) -> float:
        """The same, as it is published: past an HPA's tolerance."""
        wanted = self.count(namespace, name, now)
        return published(wanted, self._services[namespace][name].current, self.tolerance)

    def external(self, namespace: str, metric: str, selector: Requirement, now: float) -> list[Value]:
        """One of each service that the selector fits, by the label `service` and the service's own. Raises NoSuchMetric
        for a name that is none of ours, TooOld where one of them is: a sum without it would be wrong."""
        if metric not in (DESIRED_METRIC, *SIGNALS):
            raise NoSuchMetric(f"there is no metric {metric}; there are {', '.join((DESIRED_METRIC, *SIGNALS))}")
        found = []
        for name, signal in sorted(self._services.get(namespace, {}).items()):
            labels = {**signal.labels, "service": name}
            if not selector(labels):
                continue
            if metric == DESIRED_METRIC:
                found.append(Value(name, labels, self.value(namespace, name, now), max(0.0, now - signal.desired_at)))
                continue
            at = self._check_values(signal, now)
            if (value := signal.values.get(metric)) is not None:
                found.append(Value(name, labels, value, max(0.0, now - at)))
        return found

    def of_pods(self, namespace: str, metric: str, selector: Requirement, pod: str | None, now: float) -> list[Value]:
        """Of the pod named, or of those that the selector fits. Pods that have said nothing of late are left out, as
        autoscalers expect it of pods without metrics. Raises NoSuchMetric."""
        if metric not in SIGNALS:
            raise NoSuchMetric(f"pods have no metric {metric}; they have {', '.join(SIGNALS)}")
        found = []
        for signal in self._services.get(namespace, {}).values():
            for one in signal.pods:
                if pod in {None, one.pod} and (told := self._of_pod(namespace, one, metric, selector, now)):
                    found.append(told)
        if pod is not None and not found:
            raise NoSuchMetric(f"pod {namespace}/{pod} has no {metric}")
        return found

    def _of_pod(self, namespace: str, one: PodSignal, metric: str, selector: Requirement, now: float) -> Value | None:
        value, age_s = one.values.get(metric), now - one.at
        labels = self._pod_labels(namespace, one.pod)
        if value is None or labels is None or age_s > self._bounds.pods_s or not selector(labels):
            return None
        return Value(one.pod, labels, value, max(0.0, age_s))

    def _check_count(self, signal: ServiceSignal, now: float) -> None:
        name, age_s = f"{signal.namespace}/{signal.name}", now - signal.desired_at
        if signal.desired is None:
            raise TooOld(f"nothing was decided for {name} yet")
        if age_s > self._bounds.count_s:
            raise TooOld(f"the count of {name} is {age_s:.0f} s old: this controller stands still")

    def _check_values(self, signal: ServiceSignal, now: float) -> float:
        name = f"{signal.namespace}/{signal.name}"
        if signal.values_at is None:
            raise TooOld(signal.holding or f"no gateway has told of {name} yet")
        if (age_s := now - signal.values_at) > self._bounds.values_s:
            raise TooOld(signal.holding or f"what is known of {name} is {age_s:.0f} s old")
        return signal.values_at
