"""A container and its pod: what has a key of its own in a ModelService, and what goes into `podTemplate`."""

import re
from collections.abc import Mapping
from typing import Any

from plimsoll.backends.kubernetes.objects import Obj, without_empty
from plimsoll.core.errors import UserError

CONTAINER = "model"  # what podTemplate calls the server's own container
_ACCELERATOR = re.compile(r"[a-z0-9.-]+\.[a-z0-9-]+/.+\Z")
_NOT_DEVICES = ("hugepages-", "kubernetes.io/", "requests.", "limits.")
# Fields of a pod that are the user's to say; the rest (grace, restart policy, DNS policy, …) is Kubernetes' default or
# the server's own.
_POD = (
    "nodeSelector", "affinity", "tolerations", "priorityClassName", "imagePullSecrets", "topologySpreadConstraints",
    "runtimeClassName", "schedulerName", "hostAliases", "dnsConfig", "serviceAccountName", "initContainers", "volumes",
)  # fmt: skip
# What an API server writes into each container where nothing was said.
_FILLED_IN: Obj = {
    "terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "resources": {},
}  # fmt: skip
_OWN_ENV = re.compile(r"(PLIMSOLL_.*|POD_NAME|POD_IP)\Z")
_OWN_VOLUMES = ("config", "tmp", "model")


def main_container(spec: Mapping[str, Any], notes: list[str]) -> Obj:
    """The one that listens; others become sidecars. Raises UserError where there is none."""
    containers: list[Obj] = list(spec.get("containers") or [])
    if not containers:
        raise UserError("the Deployment has no container")
    chosen = next((one for one in containers if one.get("ports")), containers[0])
    others = [str(one.get("name")) for one in containers if one is not chosen]
    if others:
        notes.append(
            f"podTemplate: {', '.join(others)} run beside the model as before; see whether they are still needed"
        )
    return chosen


def resources_of(container: Mapping[str, Any], notes: list[str]) -> Obj:
    written = container.get("resources") or {}
    found: Obj = {}
    for part in ("requests", "limits"):
        kept = {key: _text(value) for key, value in (written.get(part) or {}).items() if key in ("cpu", "memory")}
        if kept:
            found[part] = kept
    if not found and not any(note.startswith("resources.requests.") for note in notes):  # what is guessed is told
        notes.append("resources: the Deployment has none; measure with plimsoll profile, and write what it takes")
    return found


def _text(value: object) -> str:
    return str(value)


def accelerators_of(container: Mapping[str, Any]) -> dict[str, int]:
    """Extended resources, `{"nvidia.com/gpu": 1}`."""
    written = container.get("resources") or {}
    both = {**(written.get("requests") or {}), **(written.get("limits") or {})}
    return {
        name: int(str(count))
        for name, count in sorted(both.items())
        if _ACCELERATOR.match(name) and not name.startswith(_NOT_DEVICES) and str(count).isdecimal()
    }


def class_name(resource: str) -> str:
    """`nvidia.com/gpu` to `gpu`, `nvidia.com/mig-1g.10gb` to `mig-1g-10gb`."""
    return re.sub(r"[^a-z0-9]+", "-", resource.partition("/")[2].lower()).strip("-")[:63] or "gpu"


def env_of(container: Mapping[str, Any], notes: list[str]) -> tuple[list[Obj], list[Obj]]:
    """(as spec.runtime.env has them, those that only a pod can say)."""
    plain: list[Obj] = []
    special: list[Obj] = []
    for one in container.get("env") or []:
        source = one.get("valueFrom") or {}
        if _OWN_ENV.match(one["name"]):
            notes.append(f"runtime.env: {one['name']} is the server's own and is left out")
        elif "secretKeyRef" in source and not source["secretKeyRef"].get("optional"):
            ref = source["secretKeyRef"]
            plain.append({"name": one["name"], "secretRef": {"name": ref["name"], "key": ref["key"]}})
        elif source or "$(" in str(one.get("value", "")):
            special.append(one)
        else:
            plain.append({"name": one["name"], "value": str(one.get("value", ""))})
    return plain, special


def load_timeout_s(container: Mapping[str, Any]) -> int:
    """How long the probes let it start; 0: nothing was said."""
    startup = container.get("startupProbe") or {}
    if startup:
        return int(startup.get("initialDelaySeconds", 0)) + int(startup.get("periodSeconds", 10)) * int(
            startup.get("failureThreshold", 3)
        )
    live = container.get("livenessProbe") or {}
    return int(live.get("initialDelaySeconds", 0))


def pod_template(workload: Mapping[str, Any], container: Mapping[str, Any], env: list[Obj], notes: list[str]) -> Obj:
    """What has no key of its own."""
    template = workload["spec"]["template"]
    spec: Mapping[str, Any] = template["spec"]
    kept: Obj = {key: spec[key] for key in _POD if spec.get(key)}
    if kept.get("schedulerName") == "default-scheduler":
        del kept["schedulerName"]
    if "initContainers" in kept:
        kept["initContainers"] = list(map(_as_written, kept["initContainers"]))
    taken = [one["name"] for one in kept.get("volumes", []) if one["name"] in _OWN_VOLUMES]
    if taken:
        notes.append(f"podTemplate: the volume {taken[0]} has a name of the server's; rename it, and its mounts")
    own = without_empty(
        {
            "name": CONTAINER,
            "env": env,
            "envFrom": container.get("envFrom"),
            "volumeMounts": container.get("volumeMounts"),
        }
    )
    containers = [own] if len(own) > 1 else []
    others = [one for one in spec.get("containers") or [] if one.get("name") != container.get("name")]
    containers += map(_as_written, others)
    if containers:
        kept["containers"] = containers
    for key in ("hostNetwork", "hostPID", "hostIPC"):
        if spec.get(key):
            notes.append(f"podTemplate: {key} is left out: no restricted namespace takes it")
    if (spec.get("serviceAccountName") or "default") == "default":
        kept.pop("serviceAccountName", None)
    annotations = {
        key: value
        for key, value in ((template.get("metadata") or {}).get("annotations") or {}).items()
        if not key.startswith(("kubectl.kubernetes.io/", "prometheus.io/"))
    }
    found: Obj = {"metadata": {"annotations": annotations}} if annotations else {}
    return found | ({"spec": kept} if kept else {})


def _as_written(container: Mapping[str, Any]) -> Obj:
    return {key: value for key, value in container.items() if key not in _FILLED_IN or value != _FILLED_IN[key]}


def port_of(container: Mapping[str, Any]) -> int | None:
    ports = container.get("ports") or []
    return int(ports[0]["containerPort"]) if ports else None
