"""A replica's pod: one container that passes the `restricted` Pod Security level, its probes, how it ends."""

import math

from plimsoll.backends.kubernetes.names import (
    CONFIG_DIR,
    LIVE_PATH,
    METRICS_PORT,
    READY_PATH,
    REPLICA_COMMAND,
    REVISION_LABEL,
    SERVING_PORT,
)
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.render.scene import Scene

CONTAINER = "replica"
PRE_STOP_S = 5  # endpoints reach gateways within a second, kube-proxies within a few
DRAIN_S = 30  # a replica's own drain, beyond the longest request
_MARGIN_S = 5
_PROBE_S = 2  # between two looks while starting
USER = 65532  # the image's user; a number, so that the kubelet can see it isn't root
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


def pod_template(scene: Scene, revision: str) -> Obj:
    """`metadata` and `spec` of the pods of `revision`, whose ConfigMap has its name."""
    volumes: list[Obj] = [
        {"name": "config", "configMap": {"name": revision}},
        {"name": "tmp", "emptyDir": {}},
    ]
    spec: Obj = {
        "serviceAccountName": scene.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "terminationGracePeriodSeconds": grace_s(scene),
        "securityContext": pod_security(),
        "imagePullSecrets": [{"name": name} for name in scene.options.image_pull_secrets],
        "containers": [_container(scene, revision)],
        "volumes": volumes,
    }
    metadata: Obj = {
        "labels": scene.meta("")["labels"] | scene.pod_labels | {REVISION_LABEL: revision},
        "annotations": _annotations(),
    }
    return {"metadata": metadata, "spec": without_empty(spec)}


def _annotations() -> Obj:
    return {
        # A plain Prometheus with the customary rules finds it; those with the operator have a PodMonitor.
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
        # Where replicas differ in what they hold, the controller raises it on the busy ones.
        "controller.kubernetes.io/pod-deletion-cost": "0",
        # Its emptyDirs can be made again; without this, Cluster Autoscaler keeps the node.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    }


def grace_s(scene: Scene) -> int:
    """Longer than the sleep before the end, the longest request and the drain together, in whole seconds."""
    longest = max(scene.service.timeout_s, scene.service.predict_timeout_s)
    return math.ceil(PRE_STOP_S + longest + DRAIN_S + _MARGIN_S)


def pod_security() -> Obj:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "fsGroupChangePolicy": "OnRootMismatch",  # a model cache has many files; a changed owner on each costs minutes
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Obj:
    return {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def _container(scene: Scene, revision: str) -> Obj:
    return without_empty(
        {
            "name": CONTAINER,
            "image": scene.options.image,
            "command": list(REPLICA_COMMAND),
            "env": _env(scene, revision),
            "ports": [
                {"name": "http", "containerPort": SERVING_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            ],
            "resources": resources(scene),
            "startupProbe": _probe(READY_PATH, period=_PROBE_S, failures=startup_failures(scene)),
            "readinessProbe": _probe(READY_PATH, period=5, failures=2),
            "livenessProbe": _probe(LIVE_PATH, period=10, failures=3),
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
            ],
        }
    )


def startup_failures(scene: Scene) -> int:
    """How often the startup probe may fail: as long as loading may take, and one look more."""
    return math.ceil(scene.service.load_timeout_s / _PROBE_S) + 1


def _probe(path: str, *, period: int, failures: int) -> Obj:
    """On the metrics port: under overload the serving port's queue says nothing about being alive."""
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def _field(path: str) -> Obj:
    return {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}


def _env(scene: Scene, revision: str) -> list[Obj]:
    threads = str(scene.service.threads)
    return [
        {"name": "POD_NAME", "valueFrom": _field("metadata.name")},
        {"name": "POD_NAMESPACE", "valueFrom": _field("metadata.namespace")},
        {"name": "POD_IP", "valueFrom": _field("status.podIP")},
        {"name": "PLIMSOLL_REVISION", "value": revision},
        *({"name": name, "value": threads} for name in _THREADS),
        {"name": "HOME", "value": "/tmp"},
    ]


def resources(scene: Scene) -> Obj:
    """What the container asks for. Without a word a replica gets one core, as on a laptop."""
    written = scene.service.spec.resources
    requests = without_empty(
        {
            "cpu": written.requests.cpu or written.limits.cpu or "1",
            "memory": written.requests.memory or written.limits.memory,
        }
    )
    limits = without_empty({"cpu": written.limits.cpu, "memory": written.limits.memory})
    return without_empty({"requests": requests, "limits": limits})
