"""What the server fills into Kubernetes' own kinds, as far as somebody reads it again."""

import base64
import random
import string

from tests.kube.errors import invalid

_LETTERS = "bcdfghjklmnpqrstvwxz2456789"


def suffix(length=5):
    return "".join(random.choices(_LETTERS, k=length))


def fill(kind, obj, before, allocate):
    """`before`: None for a new object. `allocate()` gives a cluster IP."""
    filler = _FILLERS.get(kind.kind)
    if filler is not None and kind.crd is None:
        filler(obj, before, allocate)


def _workload(obj, before, allocate):
    spec = obj.setdefault("spec", {})
    spec.setdefault("replicas", 1)
    template = spec.setdefault("template", {})
    template.setdefault("metadata", {})
    _pod_spec(template.setdefault("spec", {}))
    spec.setdefault("revisionHistoryLimit", 10)


def _deployment(obj, before, allocate):
    _workload(obj, before, allocate)
    spec = obj["spec"]
    spec.setdefault("progressDeadlineSeconds", 600)
    strategy = spec.setdefault("strategy", {})
    if strategy.setdefault("type", "RollingUpdate") == "RollingUpdate":
        rolling = strategy.setdefault("rollingUpdate", {})
        rolling.setdefault("maxSurge", "25%")
        rolling.setdefault("maxUnavailable", "25%")


def _stateful_set(obj, before, allocate):
    _workload(obj, before, allocate)
    obj["spec"].setdefault("podManagementPolicy", "OrderedReady")
    obj["spec"].setdefault("updateStrategy", {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}})


def _pod(obj, before, allocate):
    spec = obj.setdefault("spec", {})
    _pod_spec(spec)
    spec.setdefault("enableServiceLinks", True)
    spec.setdefault("serviceAccountName", "default")
    if before is None:
        obj.setdefault("status", {}).setdefault("phase", "Pending")
        obj["status"].setdefault("qosClass", "Burstable")


def _pod_spec(spec):
    spec.setdefault("restartPolicy", "Always")
    spec.setdefault("terminationGracePeriodSeconds", 30)
    spec.setdefault("dnsPolicy", "ClusterFirst")
    spec.setdefault("schedulerName", "default-scheduler")
    spec.setdefault("securityContext", {})
    for container in [*(spec.get("containers") or ()), *(spec.get("initContainers") or ())]:
        container.setdefault("imagePullPolicy", "IfNotPresent")
        container.setdefault("terminationMessagePath", "/dev/termination-log")
        container.setdefault("terminationMessagePolicy", "File")
        container.setdefault("resources", {})
        for port in container.get("ports") or ():
            port.setdefault("protocol", "TCP")
        for name in ("startupProbe", "readinessProbe", "livenessProbe"):
            if probe := container.get(name):
                for key, value in _PROBE.items():
                    probe.setdefault(key, value)
                if "httpGet" in probe:
                    probe["httpGet"].setdefault("scheme", "HTTP")


_PROBE = {"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3}


def _service(obj, before, allocate):
    spec = obj.setdefault("spec", {})
    spec.setdefault("type", "ClusterIP")
    spec.setdefault("sessionAffinity", "None")
    for port in spec.get("ports") or ():
        port.setdefault("protocol", "TCP")
        port.setdefault("targetPort", port["port"])
    if spec["type"] == "ExternalName":
        return
    spec.setdefault("internalTrafficPolicy", "Cluster")
    if not spec.get("clusterIP"):
        spec["clusterIP"] = ((before or {}).get("spec") or {}).get("clusterIP") or allocate()
    spec.setdefault("clusterIPs", [spec["clusterIP"]])


def _secret(obj, before, allocate):
    obj.setdefault("type", "Opaque")
    for key, value in (obj.pop("stringData", None) or {}).items():
        obj.setdefault("data", {})[key] = base64.b64encode(value.encode()).decode()


def _hpa(obj, before, allocate):
    obj.setdefault("spec", {}).setdefault("minReplicas", 1)


def _namespace(obj, before, allocate):
    obj.setdefault("spec", {}).setdefault("finalizers", ["kubernetes"])
    obj.setdefault("status", {}).setdefault("phase", "Active")
    labels = obj["metadata"].setdefault("labels", {})
    labels.setdefault("kubernetes.io/metadata.name", obj["metadata"]["name"])


_FILLERS = {
    "Deployment": _deployment,
    "ReplicaSet": _workload,
    "StatefulSet": _stateful_set,
    "Pod": _pod,
    "Service": _service,
    "Secret": _secret,
    "HorizontalPodAutoscaler": _hpa,
    "Namespace": _namespace,
}


def check(kind, obj, before):
    """The few refusals that tests rely on; a real server has thousands."""
    name = obj["metadata"].get("name", "")
    causes = []
    allowed = set(string.ascii_lowercase + string.digits + "-.") | (
        set(":") if kind.group == "rbac.authorization.k8s.io" else set()
    )
    if not name or set(name) - allowed or len(name) > 253:
        causes.append(("metadata.name", f'Invalid value: "{name}": a lowercase RFC 1123 subdomain must consist of '
                       "lower case alphanumeric characters, '-' or '.'"))  # fmt: skip
    spec = obj.get("spec") if isinstance(obj.get("spec"), dict) else {}
    if kind.group == "apps" and kind.kind in ("Deployment", "StatefulSet", "ReplicaSet"):
        causes += _workload_causes(spec, before)
    if before is not None and before.get("immutable") and kind.kind in ("ConfigMap", "Secret"):
        changed = [key for key in ("data", "binaryData", "immutable") if obj.get(key) != before.get(key)]
        causes += [(key, "Forbidden: field is immutable when `immutable` is set") for key in changed]
    if causes:
        raise invalid(kind, name, causes)


def _workload_causes(spec, before):
    if spec.get("replicas", 0) < 0:
        yield "spec.replicas", f"Invalid value: {spec['replicas']}: must be greater than or equal to 0"
    selector = spec.get("selector")
    if not selector:
        yield "spec.selector", "Required value"
        return
    labels = ((spec.get("template") or {}).get("metadata") or {}).get("labels") or {}
    if any(labels.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        yield "spec.template.metadata.labels", "Invalid value: `selector` does not match template `labels`"
    if before is not None and before["spec"].get("selector") != selector:
        yield "spec.selector", "Invalid value: field is immutable"
    if not ((spec.get("template") or {}).get("spec") or {}).get("containers"):
        yield "spec.template.spec.containers", "Required value"
