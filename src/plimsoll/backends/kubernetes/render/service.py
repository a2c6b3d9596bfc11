"""A service's address and its identity in its namespace."""

import re

from plimsoll.backends.kubernetes.names import COMPONENT_LABEL
from plimsoll.backends.kubernetes.objects import Obj, digest_of
from plimsoll.backends.kubernetes.render.scene import Scene

PORT, TLS_PORT = 80, 443
_LONGEST = 58  # with `-pods` after it
_DNS_1035 = re.compile(r"[a-z]([-a-z0-9]*[a-z0-9])?\Z")


def service_account(scene: Scene) -> Obj | None:
    """One a service, without a token: a model never speaks to the API server. None where podTemplate names another,
    such as one that a cloud knows (workload identity)."""
    template = scene.service.spec.pod_template
    if template is not None and template.spec.get("serviceAccountName", scene.name) != scene.name:
        return None
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": scene.meta(scene.name),
        "automountServiceAccountToken": False,
    }


def service_object(scene: Scene) -> Obj:
    """All ready pods, whatever their revision. Its labels are mirrored on its EndpointSlices, where gateways look.
    Raises SpecError for a name that no Service can have."""
    if not _DNS_1035.match(scene.name):
        message = f"{scene.name} begins with a digit, which a Service's name can't; expected such as m-{scene.name}"
        raise scene.service.problem("metadata.name", message)
    ports: list[Obj] = [
        {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
    ]
    if scene.secure:
        ports.append(
            {"name": "https", "port": TLS_PORT, "targetPort": "https", "protocol": "TCP", "appProtocol": "https"}
        )
    if scene.platform is not None and scene.platform.spec.monitoring == "ServiceMonitor":
        ports.append({"name": "metrics", "port": 9090, "targetPort": "metrics", "protocol": "TCP"})
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": scene.meta(scene.name, labels=scene.pod_labels),
        "spec": {"type": "ClusterIP", "selector": scene.pod_labels, "ports": ports},
    }


def headless_name(scene: Scene) -> str:
    """A Service's name may have 63 characters, as a ModelService's."""
    name = scene.name if len(scene.name) <= _LONGEST else f"{scene.name[: _LONGEST - 11]}-{digest_of(scene.name, 10)}"
    return f"{name}-pods"


def headless_service(scene: Scene) -> Obj | None:
    """What gives a StatefulSet's pods their names; None for a Deployment. It isn't what gateways look at: its slices
    carry Kubernetes' own label `service.kubernetes.io/headless`."""
    if scene.service.spec.workload != "StatefulSet":
        return None
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": scene.meta(headless_name(scene), labels={COMPONENT_LABEL: "pods"}),
        "spec": {
            "clusterIP": "None",
            "publishNotReadyAddresses": True,
            "selector": scene.pod_labels,
            "ports": [{"name": "http", "port": PORT, "targetPort": scene.serving, "protocol": "TCP"}],
        },
    }
