"""What must be done to a service's objects so that they go on without Plimsoll: pure decisions, one object each."""

from collections.abc import Iterable, Mapping
from typing import Any

from plimsoll.backends.kubernetes.names import FINALIZER, GROUP, NAMESPACE_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.render.service import PORT

# Kinds that hold what serves, and those that only made sense with Plimsoll around.
KEPT = (
    ("apps/v1", "Deployment"), ("apps/v1", "StatefulSet"), ("v1", "Service"), ("v1", "ConfigMap"),
    ("v1", "ServiceAccount"), ("v1", "PersistentVolumeClaim"), ("policy/v1", "PodDisruptionBudget"),
    ("autoscaling/v2", "HorizontalPodAutoscaler"), ("gateway.networking.k8s.io/v1", "HTTPRoute"),
    ("resource.k8s.io/v1", "ResourceClaimTemplate"), ("monitoring.coreos.com/v1", "PodMonitor"),
    ("monitoring.coreos.com/v1", "ServiceMonitor"), ("resource.k8s.io/v1beta1", "ResourceClaimTemplate"),
)  # fmt: skip
GONE = (
    ("networking.k8s.io/v1", "NetworkPolicy"),  # lets in nobody but the gateway
    ("networking.k8s.io/v1", "Ingress"),  # stands beside the gateway, and leads to it
    ("gateway.networking.k8s.io/v1beta1", "ReferenceGrant"),
    ("keda.sh/v1alpha1", "ScaledObject"),  # asks our controller
)


def freed(obj: Mapping[str, Any]) -> Obj | None:
    """A merge patch after which nothing of ours owns it: else it would go with its ModelService. None: it is free."""
    owners = obj["metadata"].get("ownerReferences") or []
    left = [one for one in owners if not str(one.get("apiVersion", "")).startswith(f"{GROUP}/")]
    return None if len(left) == len(owners) else {"metadata": {"ownerReferences": left or None}}


def unfinished(service: Mapping[str, Any]) -> Obj | None:
    """A merge patch without our finalizer: nobody is left to act on it."""
    finalizers = service["metadata"].get("finalizers") or []
    left = [one for one in finalizers if one != FINALIZER]
    return None if len(left) == len(finalizers) else {"metadata": {"finalizers": left or None}}


def serving_workload(service: Mapping[str, Any]) -> str:
    """The workload that serves now; "" where none was ever ready."""
    status = service.get("status") or {}
    return str(status.get("scaleTarget") or status.get("revision") or "")


def belongs(obj: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    meta, of = obj["metadata"], service["metadata"]
    labels = meta.get("labels") or {}
    home = labels.get(NAMESPACE_LABEL) or meta.get("namespace")
    return bool(labels.get(SERVICE_LABEL) == of["name"] and home == of.get("namespace"))


def is_spent(workload: Mapping[str, Any], service: Mapping[str, Any]) -> bool:
    """A revision that another one has taken over from."""
    serving = serving_workload(service)
    return bool(serving and workload["metadata"]["name"] != serving)


def count_without_us(workload: Mapping[str, Any], service: Mapping[str, Any]) -> int | None:
    """Nobody wakes what is at zero any more. None: its count stays."""
    if (workload.get("spec") or {}).get("replicas", 1) != 0:
        return None
    return max(1, int(((service.get("spec") or {}).get("scaling") or {}).get("minReplicas", 1)))


def past_the_gateway(route: Mapping[str, Any], service: str) -> Obj:
    """A merge patch: the route leads to the service's own Service."""
    straight = [{"group": "", "kind": "Service", "name": service, "port": PORT}]
    return {"spec": {"rules": [rule | {"backendRefs": straight} for rule in route["spec"].get("rules") or []]}}


def notes(services: Iterable[Mapping[str, Any]]) -> list[str]:
    """What ends with Plimsoll, though the models go on."""
    found = [
        "without a gateway: no tenants, quotas, caches, fallbacks or holding from zero; replicas still keep the budget",
        "without a controller: counts stay as they are; render the services with policy HPA, or scale by hand",
    ]
    hpas = sorted(
        one["metadata"]["name"]
        for one in services
        if ((one.get("spec") or {}).get("scaling") or {}).get("writer") in ("HPA", "KEDA")
    )
    if hpas:
        found.append(f"autoscalers of {', '.join(hpas)} may read metrics that nobody serves: they keep the last count")
    return found
