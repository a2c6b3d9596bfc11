"""Who writes the count of replicas on a cluster, and what that one is given: an HPA, a ScaledObject, or nothing.

An HPA and a ScaledObject never stand beside each other: KEDA makes an HPA of its own.
"""

from dataclasses import dataclass
from typing import Literal

from plimsoll.backends.kubernetes.names import DESIRED_METRIC
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.core.units import parse_duration

Writer = Literal["Controller", "HPA", "KEDA", "Nobody"]
KEDA_API = "keda.sh/v1alpha1"
TOLERANCE_MINOR = 35  # behavior.*.tolerance: in the schema since 1.33, dropped silently until its gate is on by default
_SYNC_S = 15
_CPU = "70%"


@dataclass(frozen=True, slots=True)
class Count:
    """`writer`: who sets `spec.replicas` from now on. `replicas`: what a workload without a writer is given, None with
    one."""

    writer: Writer
    replicas: int | None = None


def count(scene: Scene) -> Count:
    """Under the operator the spec's own writer. Without it only what Kubernetes and KEDA can do alone."""
    scaling = scene.service.spec.scaling
    if not scene.plain:
        if scaling.writer == "KEDA" and not scene.options.has(KEDA_API):
            scene.note("spec.scaling.writer", f"KEDA is not installed ({KEDA_API} is not served); the count stays")
        return Count(scaling.writer)
    if scene.service.spec.replicas is not None:
        return Count("Nobody", scene.service.spec.replicas)
    if scaling.policy == "HPA":
        return Count("HPA")
    if scaling.writer == "KEDA" and scaling.policy == "Schedule" and scene.options.has(KEDA_API):
        return Count("KEDA")
    least = max(1, scene.service.min_replicas)
    if scaling.policy != "Fixed" and scene.service.max_replicas != least:
        scene.note(
            "spec.scaling",
            f"policy {scaling.policy} with writer {scaling.writer} needs the operator's controller; rendered plain, "
            f"{least} {'replica runs' if least == 1 else 'replicas run'} (policy: HPA scales without it)",
        )
    if scene.service.min_replicas == 0:
        scene.note("spec.scaling.minReplicas", "without a gateway nothing wakes a service from 0; 1 replica runs")
    return Count("Nobody", least)


def target_of(scene: Scene, active: str) -> Obj:
    return {"apiVersion": "apps/v1", "kind": scene.service.spec.workload, "name": active}


def hpa(scene: Scene, active: str) -> Obj:
    """`active`: the workload that it scales. On a count set by hand it keeps to that. Never below 1: from 1 to 0 and
    back is the controller's, and an HPA rests while the count is 0."""
    low, high = max(1, scene.service.min_replicas), scene.service.max_replicas
    by_hand = scene.service.spec.replicas
    if by_hand:
        low = high = by_hand
    spec = {
        "scaleTargetRef": target_of(scene, active),
        "minReplicas": low,
        "maxReplicas": max(low, high),
        "metrics": _own_metrics(scene) if scene.service.spec.scaling.policy == "HPA" else [_desired(scene)],
        "behavior": behavior(scene),
    }
    return {
        "apiVersion": "autoscaling/v2",
        "kind": "HorizontalPodAutoscaler",
        "metadata": scene.meta(scene.name),
        "spec": without_empty(spec),
    }


def _desired(scene: Scene) -> Obj:
    """The controller's count as a metric: at one a replica, the HPA wants just that many."""
    metric = {"name": DESIRED_METRIC, "selector": {"matchLabels": {"service": scene.name}}}
    return {"type": "External", "external": {"metric": metric, "target": {"type": "AverageValue", "averageValue": "1"}}}


def _own_metrics(scene: Scene) -> list[Obj]:
    """Of policy HPA: what Kubernetes measures, or requests a second of a pod. Of several the HPA takes the most."""
    wanted = scene.service.spec.scaling.hpa
    found: list[Obj] = []
    if wanted is not None and wanted.metric == "RequestsPerSecond":
        if scene.plain:
            scene.note(
                "spec.scaling.hpa.metric",
                "RequestsPerSecond is the metric requests_per_second of pods; something must serve it to the HPA: "
                "Plimsoll's controller, or an adapter",
            )
        value = {"type": "AverageValue", "averageValue": wanted.target}
        found.append({"type": "Pods", "pods": {"metric": {"name": "requests_per_second"}, "target": value}})
    else:
        found.append(_resource("cpu", (None if wanted is None else wanted.target) or _CPU))
    if wanted is not None and wanted.memory_target is not None:
        if scene.service.memory_request_bytes is None:
            scene.note("spec.scaling.hpa.memoryTarget", "is a share of resources.requests.memory, which is not written")
        found.append(_resource("memory", wanted.memory_target))
    return found


def _resource(name: str, target: str) -> Obj:
    share = {"type": "Utilization", "averageUtilization": int(target.removesuffix("%"))}
    return {"type": "Resource", "resource": {"name": name, "target": share}}


def behavior(scene: Scene) -> Obj | None:
    """On our own metric the HPA is a hand, not a head: no waiting, no tolerance, any step. On others it is Kubernetes'
    own, but for the window that the spec names."""
    window = scene.service.spec.scaling.scale_down.stabilization_window
    window_s = None if window is None else round(parse_duration(window))
    if scene.service.spec.scaling.policy == "HPA":
        return None if window_s is None else {"scaleDown": {"stabilizationWindowSeconds": window_s}}
    tolerance = "0" if scene.options.minor >= TOLERANCE_MINOR else None
    if tolerance is None:
        scene.note(
            "spec.scaling.writer",
            "before Kubernetes 1.35 an HPA ignores steps of less than a tenth; the controller's metric is rounded away "
            "from that",
        )
    at_once = [{"type": "Percent", "value": 1000, "periodSeconds": _SYNC_S},
               {"type": "Pods", "value": max(1, scene.service.max_replicas), "periodSeconds": _SYNC_S}]  # fmt: skip
    down = [{"type": "Percent", "value": 100, "periodSeconds": _SYNC_S}]
    # The window stood in the decision already; a second one would only delay it.
    return {
        "scaleUp": without_empty(
            {"stabilizationWindowSeconds": 0, "selectPolicy": "Max", "policies": at_once, "tolerance": tolerance}
        ),
        "scaleDown": without_empty({"stabilizationWindowSeconds": 0, "policies": down, "tolerance": tolerance}),
    }
