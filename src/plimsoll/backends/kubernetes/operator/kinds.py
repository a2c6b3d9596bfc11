"""The kinds of objects that services become: where they live in the API, and which of them not every cluster has."""

from collections.abc import Collection
from dataclasses import dataclass

from plimsoll.backends.kubernetes.api import path_of
from plimsoll.backends.kubernetes.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import ObjectKey

OWNED_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY},{SERVICE_LABEL}"


@dataclass(frozen=True, slots=True)
class Kind:
    """`foreign`: served only where somebody installed it. `shared`: of all services of a namespace, without an owner:
    applied, never pruned, not watched. `newer`: the API version that has the same objects, and counts where it is
    served."""

    api_version: str
    kind: str
    plural: str
    foreign: bool = False
    shared: bool = False
    newer: str = ""

    def served(self, apis: Collection[str]) -> bool:
        return self.api_version in apis and self.newer not in apis

    def path(self, namespace: str, name: str = "", subresource: str = "") -> str:
        return path_of(self.api_version, self.plural, namespace, name, subresource)


DEPLOYMENTS = Kind("apps/v1", "Deployment", "deployments")
STATEFUL_SETS = Kind("apps/v1", "StatefulSet", "statefulsets")
REVISIONS = Kind(API_VERSION, "Revision", "revisions")
SERVICES = Kind(API_VERSION, "ModelService", "modelservices")
WORKLOADS = (DEPLOYMENTS, STATEFUL_SETS)

OWNED = (
    Kind("v1", "ServiceAccount", "serviceaccounts"),
    Kind("v1", "ConfigMap", "configmaps"),
    Kind("v1", "Service", "services"),
    Kind("networking.k8s.io/v1", "NetworkPolicy", "networkpolicies"),
    Kind("networking.k8s.io/v1", "Ingress", "ingresses"),
    Kind("policy/v1", "PodDisruptionBudget", "poddisruptionbudgets"),
    Kind("autoscaling/v2", "HorizontalPodAutoscaler", "horizontalpodautoscalers"),
    Kind("gateway.networking.k8s.io/v1", "HTTPRoute", "httproutes", foreign=True),
    Kind("keda.sh/v1alpha1", "ScaledObject", "scaledobjects", foreign=True),
    Kind("monitoring.coreos.com/v1", "ServiceMonitor", "servicemonitors", foreign=True),
    Kind("monitoring.coreos.com/v1", "PodMonitor", "podmonitors", foreign=True),
    Kind("resource.k8s.io/v1", "ResourceClaimTemplate", "resourceclaimtemplates", foreign=True),
    Kind(
        "resource.k8s.io/v1beta1",
        "ResourceClaimTemplate",
        "resourceclaimtemplates",
        foreign=True,
        newer="resource.k8s.io/v1",
    ),  # before Kubernetes 1.34
)
SHARED = (
    Kind("v1", "PersistentVolumeClaim", "persistentvolumeclaims", shared=True),
    Kind("gateway.networking.k8s.io/v1beta1", "ReferenceGrant", "referencegrants", foreign=True, shared=True),
)

_BY_NAME = {(one.api_version, one.kind): one for one in (*WORKLOADS, REVISIONS, SERVICES, *OWNED, *SHARED)}

# What others look up when they start stands before them.
FIRST = frozenset({"ServiceAccount", "ConfigMap", "PersistentVolumeClaim", "NetworkPolicy", "ResourceClaimTemplate"})


def kind_of(key: ObjectKey) -> Kind:
    """KeyError for a kind that no service becomes."""
    return _BY_NAME[key.api_version, key.kind]
