"""What nodes have ahead of time: models, images, and room."""

from typing import Any

from plimsoll.backends.kubernetes.artifacts.references import CACHE_MOUNT
from plimsoll.backends.kubernetes.install.parts import (
    TMP,
    container_security,
    field_env,
    image,
    labels,
    obj,
    pod_security,
    selector,
)
from plimsoll.backends.kubernetes.install.roles import READ, Rule, cluster_role
from plimsoll.backends.kubernetes.install.values import Balloon, PrePull, Scheduling, Values
from plimsoll.backends.kubernetes.names import BALLOON_PRIORITY, MODEL_CACHE, SYSTEM_PRIORITY
from plimsoll.backends.kubernetes.objects import Obj

CACHE_COMMAND = ("python", "-m", "plimsoll.app.model_cache")
_SMALL = {"requests": {"cpu": "1m", "memory": "16Mi"}, "limits": {"memory": "64Mi"}}


def model_cache(values: Values) -> list[Obj]:
    """Brings the models of all services to each node, and is alone in writing there: replicas mount the folder
    read-only. The folder belongs to the node, so root of the container would own it; a first container hands it to the
    unprivileged user and ends."""
    cache, home = values.model_cache, values.model_cache.namespace
    volume = {"name": "cache", "mountPath": CACHE_MOUNT}
    hand_over = _quiet(
        values, "hand-over", ("chown", "65532:65532", CACHE_MOUNT), mounts=[volume]
    ) | {
        "securityContext": container_security()
        | {"runAsNonRoot": False, "runAsUser": 0, "capabilities": {"drop": ["ALL"], "add": ["CHOWN"]}}
    }  # fmt: skip
    main = _quiet(
        values,
        "model-cache",
        (*CACHE_COMMAND, "--to", CACHE_MOUNT, "--host-path", str(cache.host_path)),
        mounts=[TMP, volume],
    ) | {
        "resources": cache.resources,
        "env": [field_env("NODE_NAME", "spec.nodeName"), {"name": "HOME", "value": "/tmp"}],
    }
    volumes: list[Obj] = [
        {"name": "tmp", "emptyDir": {}},
        {"name": "cache", "hostPath": {"path": cache.host_path, "type": "DirectoryOrCreate"}},
    ]
    spec = _pod_spec(values, cache, [main], priority=SYSTEM_PRIORITY) | {
        "serviceAccountName": MODEL_CACHE,
        "terminationGracePeriodSeconds": 30,
        "automountServiceAccountToken": True,
        "initContainers": [hand_over],
        "volumes": volumes,
    }
    account = obj("v1", "ServiceAccount", MODEL_CACHE, "model-cache", home)
    role = cluster_role(
        MODEL_CACHE, "model-cache", (Rule("plimsoll.dev", ("modelservices", "platforms"), READ, "which models"),)
    )
    bound = obj(
        "rbac.authorization.k8s.io/v1",
        "ClusterRoleBinding",
        MODEL_CACHE,
        "model-cache",
        roleRef={"apiGroup": "rbac.authorization.k8s.io", "kind": "ClusterRole", "name": MODEL_CACHE},
        subjects=[{"kind": "ServiceAccount", "name": MODEL_CACHE, "namespace": home}],
    )
    return [account, role, bound, _daemon_set(MODEL_CACHE, "model-cache", home, spec)]


def pre_pull(values: Values, one: PrePull) -> list[Obj]:
    """The image as a first container that ends at once: when it has run, the node has it."""
    name = f"plimsoll-pull-{one.name}"
    pull = _quiet(values, "pull", one.command) | {"image": one.image, "imagePullPolicy": "IfNotPresent"}
    spec = _pod_spec(values, one, [_waiting(values)], priority=BALLOON_PRIORITY) | {"initContainers": [pull]}
    return [_daemon_set(name, name, values.namespace, spec)]


def balloon(values: Values, one: Balloon) -> list[Obj]:
    """Grace of zero: whoever needs the room has it at once."""
    name = f"plimsoll-balloon-{one.name}"
    waiting = _waiting(values) | {"resources": one.resources}
    spec = _pod_spec(values, one, [waiting], priority=BALLOON_PRIORITY)
    body = {
        "replicas": one.replicas,
        "revisionHistoryLimit": 1,
        "selector": {"matchLabels": selector(name)},
        "template": {"metadata": {"labels": labels(name) | {"plimsoll.dev/balloon": one.name}}, "spec": spec},
    }
    return [obj("apps/v1", "Deployment", name, name, values.namespace, spec=body)]


def _waiting(values: Values) -> Obj:
    return _quiet(values, "wait", ("sleep", "infinity"))


def _quiet(values: Values, name: str, command: Any, mounts: list[Obj] | None = None) -> Obj:
    return {
        "name": name,
        "image": image(values),
        "imagePullPolicy": values.image.pull_policy,
        "command": command if not isinstance(command, tuple) else list(command),
        "resources": _SMALL,
        "securityContext": container_security(),
        "volumeMounts": mounts or [],
    }


def _pod_spec(values: Values, place: Scheduling, containers: list[Obj], *, priority: str) -> Obj:
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "priorityClassName": priority,
        "terminationGracePeriodSeconds": 0,
        "securityContext": pod_security(),
        "imagePullSecrets": values.image.pull_secrets,
        "nodeSelector": place.node_selector,
        "tolerations": place.tolerations,
        "containers": containers,
    }


def _daemon_set(name: str, component: str, namespace: str, spec: Obj) -> Obj:
    body = {
        "updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": "10%"}},
        "selector": {"matchLabels": selector(component)},
        "template": {"metadata": {"labels": labels(component)}, "spec": spec},
    }
    return obj("apps/v1", "DaemonSet", name, component, namespace, spec=body)
