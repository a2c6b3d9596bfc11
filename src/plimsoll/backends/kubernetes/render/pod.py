"""A replica's pod: one container that passes the `restricted` Pod Security level, its probes, how it ends."""

import math
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.names import (
    CONFIG_DIR,
    GATEWAY,
    GATEWAY_NAME_VARIABLE,
    HIGH_PRIORITY,
    LIVE_PATH,
    LOW_PRIORITY,
    METRICS_PORT,
    MODEL_DIR,
    NORMAL_PRIORITY,
    READY_PATH,
    REPLICA_COMMAND,
    REPLICA_TLS_DIR,
    REPLICA_TLS_VARIABLE,
    REVISION_LABEL,
    SERVING_PORT,
    SYSTEM_NAMESPACE,
    WAIT_HEADER,
    serving_certificate,
)
from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.backends.kubernetes.render.accelerators import Devices, devices
from plimsoll.backends.kubernetes.render.merge import merged
from plimsoll.backends.kubernetes.render.model import ModelParts, model_parts
from plimsoll.backends.kubernetes.render.restricted import violations
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.backends.kubernetes.render.security import container_security, pod_security

CONTAINER = "model"  # what podTemplate calls the server's own container
PRE_STOP_S = 5  # endpoints reach gateways within a second, kube-proxies within a few
DRAIN_S = 10  # beyond the longest request: answers handed over, connections closed, the process gone
_PROBE_S = 1  # between two looks while starting
_WAIT_S = 2  # that such a look may last; where a replica can't wait, half of _PROBE_S is added to each start
_LIVE_S = 10  # between two looks at whether it lives
_THREADS = ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMEXPR_NUM_THREADS")


@dataclass(frozen=True, slots=True)
class Pod:
    """`template`: of a workload. `objects`: what the pods need beside it, of the same revision."""

    template: Obj
    objects: tuple[Obj, ...] = ()


def pod(scene: Scene, revision: str) -> Pod:
    """The pods of `revision`, whose ConfigMap has its name; `podTemplate` is merged last. Raises UserError."""
    model, found = model_parts(scene), devices(scene, revision)
    _say_requirements(scene)
    made = {"metadata": _metadata(scene, revision), "spec": _spec(scene, revision, model, found)}
    before = violations(made["spec"])
    for line in before:  # a folder of the node is all there can be
        scene.note(
            "Platform spec.modelCache", f"its namespaces can't enforce the restricted Pod Security level: {line}"
        )
    written = scene.service.spec.pod_template
    if written is not None:
        made = merged(made, {"metadata": written.metadata.model_dump(), "spec": written.spec})
        # What selects the pods, and what tools find them by, is no template's to change.
        made["metadata"]["labels"] |= _labels(scene, revision)
        for line in violations(made["spec"]):
            if line not in before:
                scene.note("spec.podTemplate", f"does not pass the restricted Pod Security level: {line}")
    return Pod(made, () if found is None else found.objects)


def _labels(scene: Scene, revision: str) -> dict[str, str]:
    labels: dict[str, str] = scene.meta("")["labels"] | scene.pod_labels | {REVISION_LABEL: revision}
    return labels


def _metadata(scene: Scene, revision: str) -> Obj:
    annotations = {
        # A plain Prometheus with the customary rules finds it; those with the operator have a PodMonitor.
        "prometheus.io/scrape": "true",
        "prometheus.io/port": str(METRICS_PORT),
        "prometheus.io/path": "/metrics",
        # Where replicas differ in what they hold, the controller raises it on the busy ones.
        "controller.kubernetes.io/pod-deletion-cost": "0",
        # Its emptyDirs can be made again; without this, Cluster Autoscaler keeps the node.
        "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
    }
    return {"labels": _labels(scene, revision), "annotations": annotations}


def _spec(scene: Scene, revision: str, model: ModelParts, found: Devices | None) -> Obj:
    volumes = [
        {"name": "config", "configMap": {"name": revision}},
        {"name": "tmp", "emptyDir": {}},
        *model.volumes,
        *_certificate(scene),
    ]
    spec: Obj = {
        "serviceAccountName": scene.name,
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": _priority_class(scene),
        "terminationGracePeriodSeconds": grace_s(scene),
        "securityContext": pod_security(),
        "imagePullSecrets": [{"name": name} for name in scene.options.image_pull_secrets],
        "nodeSelector": None if found is None else found.node_selector,
        "tolerations": None if found is None else list(found.tolerations),
        "topologySpreadConstraints": [_spread(scene, key) for key in _TOPOLOGY],
        "resourceClaims": None if found is None else list(found.claims),
        "initContainers": None if model.fetch is None else [_fetching(scene, model.fetch)],
        "containers": [_container(scene, revision, model, found)],
        "volumes": volumes,
    }
    return without_empty(spec)


def _priority_class(scene: Scene) -> str | None:
    """Only where services may take each other's place. Elsewhere all have one priority, so none can. A class that
    preempts nobody (`preemptionPolicy: Never`) would say that, too, but leave balloons their room."""
    if scene.platform is None or not scene.platform.spec.disruption.preempts:
        return None
    if scene.plain:
        scene.note("Platform spec.disruption.noCapacity", "PreemptLower needs the PriorityClasses of plimsoll install")
        return None
    priority = scene.service.spec.scaling.priority
    return HIGH_PRIORITY if priority > 0 else LOW_PRIORITY if priority < 0 else NORMAL_PRIORITY


def _certificate(scene: Scene) -> list[Obj]:
    """What replicas prove themselves by, where the platform wants TLS behind the gateway; the operator fills it."""
    if scene.platform is None or scene.platform.spec.gateway.replica_tls != "Required":
        return []
    if scene.plain:
        scene.note("Platform spec.gateway.replicaTls", "certificates are the operator's; without it, plain HTTP")
        return []
    secret = {"secretName": serving_certificate(scene.name), "defaultMode": 0o440}
    return [{"name": "certificate", "secret": secret}]


_TOPOLOGY = ("topology.kubernetes.io/zone", "kubernetes.io/hostname")


def _spread(scene: Scene, key: str) -> Obj:
    """Best effort: a replica on a crowded node serves more than one that waits for an empty one. Each revision by
    itself: where the old one's replicas are, which leave, says nothing of where the new one's must be."""
    return {
        "maxSkew": 1,
        "topologyKey": key,
        "whenUnsatisfiable": "ScheduleAnyway",
        "labelSelector": {"matchLabels": scene.pod_labels},
        "matchLabelKeys": [REVISION_LABEL],
    }


def grace_s(scene: Scene) -> int:
    """Longer than the sleep before the end, the longest request and the drain together, in whole seconds."""
    longest = max(scene.service.timeout_s, scene.service.predict_timeout_s)
    return math.ceil(PRE_STOP_S + longest + DRAIN_S)


def image_of(scene: Scene) -> str:
    return scene.service.spec.runtime.image or scene.options.image


def _say_requirements(scene: Scene) -> None:
    runtime = scene.service.spec.runtime
    if runtime.requirements and runtime.image is None:
        scene.note(
            "spec.runtime.requirements",
            f"{scene.options.image} may lack them; make an image that has them: plimsoll build FILE",
        )


def _fetching(scene: Scene, fetch: Obj) -> Obj:
    """In the server's own image, which has the fetcher; nothing of the user's environment, and no accelerator."""
    made: dict[str, Any] = {
        "name": fetch["name"],
        "image": image_of(scene),
        "command": fetch["command"],
        "env": fetch.get("env"),
        "resources": {"requests": {"cpu": "100m", "memory": "256Mi"}},
        "terminationMessagePolicy": "FallbackToLogsOnError",
        "securityContext": container_security(),
        "volumeMounts": fetch["volumeMounts"],
    }
    return without_empty(made)


def _container(scene: Scene, revision: str, model: ModelParts, found: Devices | None) -> Obj:
    made = resources(scene)
    if found is not None:
        made = merged(made, found.resources)
    claims = scene.service.spec.volume_claims
    return without_empty(
        {
            "name": CONTAINER,
            "image": image_of(scene),
            "command": list(REPLICA_COMMAND),
            "env": _env(scene, revision, model),
            "ports": [
                {"name": scene.serving, "containerPort": SERVING_PORT, "protocol": "TCP"},
                {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"},
            ],
            "resources": made,
            "startupProbe": _startup(scene),
            "readinessProbe": _probe(READY_PATH, period=5, failures=2),
            "livenessProbe": _probe(LIVE_PATH, period=_LIVE_S, failures=_live_failures(scene), timeout=5),
            "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
            "terminationMessagePolicy": "FallbackToLogsOnError",
            "securityContext": container_security(),
            "volumeMounts": [
                {"name": "config", "mountPath": CONFIG_DIR, "readOnly": True},
                {"name": "tmp", "mountPath": "/tmp"},
                *model.mounts,
                *({"name": one["name"], "mountPath": REPLICA_TLS_DIR, "readOnly": True} for one in _certificate(scene)),
                *({"name": claim.name, "mountPath": claim.mount_path} for claim in claims),
            ],
        }
    )


def startup_failures(scene: Scene) -> int:
    """How often the startup probe may fail: as long as loading may take, and one look more. (A model is fetched before
    the container starts, however long that takes.)"""
    return math.ceil(scene.service.load_timeout_s / _PROBE_S) + 1


def _startup(scene: Scene) -> Obj:
    """Answered the moment the replica is ready: a look each second would cost the first request half of one."""
    probe = _probe(READY_PATH, period=_PROBE_S, failures=startup_failures(scene), timeout=2 * _WAIT_S)
    probe["httpGet"]["httpHeaders"] = [{"name": WAIT_HEADER, "value": str(_WAIT_S)}]
    return probe


def _live_failures(scene: Scene) -> int:
    """A model that holds the interpreter's lock answers nobody: the replica itself ends after predictTimeout, and only
    one that doesn't is Kubernetes' to end. Restarting a merely busy one would make an overload worse."""
    return max(3, math.ceil(scene.service.predict_timeout_s / _LIVE_S) + 2)


def _probe(path: str, *, period: int, failures: int, timeout: int = 2) -> Obj:
    """On the metrics port: under overload the serving port's queue says nothing about being alive."""
    return {
        "httpGet": {"path": path, "port": "metrics", "scheme": "HTTP"},
        "periodSeconds": period,
        "timeoutSeconds": timeout,
        "failureThreshold": failures,
    }


def _field(path: str) -> Obj:
    return {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}


def _env(scene: Scene, revision: str, model: ModelParts) -> list[Obj]:
    threads = str(scene.service.threads)
    own: list[Obj] = [
        {"name": "POD_NAME", "valueFrom": _field("metadata.name")},
        {"name": "POD_NAMESPACE", "valueFrom": _field("metadata.namespace")},
        {"name": "POD_IP", "valueFrom": _field("status.podIP")},
        {"name": "PLIMSOLL_REVISION", "value": revision},
        *({"name": name, "value": threads} for name in _THREADS),
        {"name": "HOME", "value": "/tmp"},
    ]
    if model.model_path != MODEL_DIR:
        own.append({"name": "PLIMSOLL_MODEL_PATH", "value": model.model_path})
    if _certificate(scene):
        own.append({"name": REPLICA_TLS_VARIABLE, "value": REPLICA_TLS_DIR})
        if scene.options.system_namespace != SYSTEM_NAMESPACE:
            name = f"{GATEWAY}.{scene.options.system_namespace}.svc"
            own.append({"name": GATEWAY_NAME_VARIABLE, "value": name})
    users: list[Obj] = []
    for one in scene.service.spec.runtime.env:
        if one.secret_ref is None:
            users.append({"name": one.name, "value": one.value or ""})
        else:
            key = {"name": one.secret_ref.name, "key": one.secret_ref.key}
            users.append({"name": one.name, "valueFrom": {"secretKeyRef": key}})
    said = {one["name"] for one in users}
    return [one for one in own if one["name"] not in said] + users


def resources(scene: Scene) -> Obj:
    """What the container asks for. Without a word a replica gets one core, as on a laptop."""
    written = scene.service.spec.resources
    requests = {
        "cpu": written.requests.cpu or written.limits.cpu or "1",
        "memory": written.requests.memory or written.limits.memory,
    }
    limits = {"cpu": written.limits.cpu, "memory": written.limits.memory}
    return without_empty({"requests": without_empty(requests), "limits": without_empty(limits)})
