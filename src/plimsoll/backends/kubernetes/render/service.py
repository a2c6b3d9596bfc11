"""A service's address and its identity in its namespace."""

from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.render.scene import Scene

PORT = 80


def service_account(scene: Scene) -> Obj:
    """One a service, without a token: a model never speaks to the API server."""
    return {
        "apiVersion": "v1",
        "kind": "ServiceAccount",
        "metadata": scene.meta(scene.name),
        "automountServiceAccountToken": False,
    }


def service_object(scene: Scene) -> Obj:
    """All ready pods, whatever their revision. Its labels are mirrored on its EndpointSlices, where gateways look."""
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": scene.meta(scene.name, labels=scene.pod_labels),
        "spec": {
            "type": "ClusterIP",
            "selector": scene.pod_labels,
            "ports": [
                {"name": "http", "port": PORT, "targetPort": "http", "protocol": "TCP", "appProtocol": "http"},
            ],
        },
    }
