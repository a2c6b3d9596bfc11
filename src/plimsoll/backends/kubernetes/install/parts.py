"""What the objects of an installation are made of: metadata, pods that pass `restricted`, ports, probes.

The functions here only place values: no branches on them. So the same functions, given placeholders, give the chart's
templates.
"""

from collections.abc import Mapping, Sequence
from typing import Any

from plimsoll.backends.kubernetes.install.values import Component, Values
from plimsoll.backends.kubernetes.names import (
    COMPONENT_LABEL,
    LIVE_PATH,
    MANAGED_BY,
    MANAGED_BY_LABEL,
    METRICS_PORT,
    NAME_LABEL,
    READY_PATH,
)
from plimsoll.backends.kubernetes.objects import Obj

USER = 65532  # the image's own; a number, so that the kubelet can see that it isn't root
TMP = {"name": "tmp", "mountPath": "/tmp"}
# While a Deployment rolls, the pods that leave must not say where the new ones stand: all of them would avoid a node
# with old pods, and stay together on another.
_OWN_REVISION = ["pod-template-hash"]


def labels(component: str) -> dict[str, str]:
    return {NAME_LABEL: MANAGED_BY, COMPONENT_LABEL: component, MANAGED_BY_LABEL: MANAGED_BY}


def selector(component: str) -> dict[str, str]:
    return {NAME_LABEL: MANAGED_BY, COMPONENT_LABEL: component}


def obj(api_version: str, kind: str, name: str, component: str, namespace: str = "", **rest: Any) -> Obj:
    meta: Obj = {"name": name} | ({"namespace": namespace} if namespace else {}) | {"labels": labels(component)}
    return {"apiVersion": api_version, "kind": kind, "metadata": meta} | rest


def image(values: Values) -> str:
    return f"{values.image.repository}:{values.image.tag}"


def pod_security() -> Obj:
    return {
        "runAsNonRoot": True,
        "runAsUser": USER,
        "runAsGroup": USER,
        "fsGroup": USER,
        "seccompProfile": {"type": "RuntimeDefault"},
    }


def container_security() -> Obj:
    return {"allowPrivilegeEscalation": False, "readOnlyRootFilesystem": True, "capabilities": {"drop": ["ALL"]}}


def field_env(name: str, path: str) -> Obj:
    return {"name": name, "valueFrom": {"fieldRef": {"apiVersion": "v1", "fieldPath": path}}}


def probe(path: str, period_s: int, failures: int, port: str = "metrics") -> Obj:
    return {
        "httpGet": {"path": path, "port": port},
        "periodSeconds": period_s,
        "timeoutSeconds": 2,
        "failureThreshold": failures,
    }


def ports(**named: int) -> list[Obj]:
    return [{"name": name.replace("_", "-"), "containerPort": port, "protocol": "TCP"} for name, port in named.items()]


def container(
    values: Values,
    name: str,
    command: Sequence[str],
    resources: Mapping[str, Any],
    *,
    env: Sequence[Obj] = (),
    ports: Sequence[Obj] = (),
    mounts: Sequence[Obj] = (),
    lifecycle: Obj | None = None,
) -> Obj:
    """One of Plimsoll's processes, with its probes on the metrics port."""
    return {
        "name": name,
        "image": image(values),
        "imagePullPolicy": values.image.pull_policy,
        "command": list(command),
        "env": [
            field_env("POD_NAME", "metadata.name"),
            field_env("POD_NAMESPACE", "metadata.namespace"),
            field_env("POD_IP", "status.podIP"),
            {"name": "HOME", "value": "/tmp"},
            *env,
        ],
        "ports": [*ports, {"name": "metrics", "containerPort": METRICS_PORT, "protocol": "TCP"}],
        "resources": resources,
        "startupProbe": probe(LIVE_PATH, 2, 60),
        "readinessProbe": probe(READY_PATH, 3, 2),
        "livenessProbe": probe(LIVE_PATH, 10, 3),
        **({"lifecycle": lifecycle} if lifecycle else {}),
        "securityContext": container_security(),
        "volumeMounts": [TMP, *mounts],
    }


def pod(
    values: Values,
    component: str,
    account: str,
    place: Component,
    main: Obj,
    *,
    grace_s: Any,
    volumes: Sequence[Obj] = (),
) -> Obj:
    """A pod template of one of Plimsoll's Deployments: one on each node and in each zone where that can be."""
    return {
        "metadata": {
            "labels": labels(component),
            "annotations": {
                "prometheus.io/scrape": "true",
                "prometheus.io/port": str(METRICS_PORT),
                "cluster-autoscaler.kubernetes.io/safe-to-evict": "true",
            },
        },
        "spec": {
            "serviceAccountName": account,
            "enableServiceLinks": False,
            "priorityClassName": "plimsoll-system",
            "terminationGracePeriodSeconds": grace_s,
            "securityContext": pod_security(),
            "imagePullSecrets": values.image.pull_secrets,
            "nodeSelector": place.node_selector,
            "tolerations": place.tolerations,
            "affinity": {
                "podAntiAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 100,
                            "podAffinityTerm": {
                                "labelSelector": {"matchLabels": selector(component)},
                                "matchLabelKeys": _OWN_REVISION,
                                "topologyKey": "kubernetes.io/hostname",
                            },
                        }
                    ]
                }
            },
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "topology.kubernetes.io/zone",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": selector(component)},
                    "matchLabelKeys": _OWN_REVISION,
                }
            ],
            "containers": [main],
            "volumes": [{"name": "tmp", "emptyDir": {"sizeLimit": "64Mi"}}, *volumes],
        },
    }


def deployment(
    values: Values, component: str, name: str, template: Obj, *, replicas: Any = None, surge: int = 1
) -> Obj:
    """`replicas`: None where an autoscaler writes it."""
    spec: Obj = {} if replicas is None else {"replicas": replicas}
    return obj(
        "apps/v1",
        "Deployment",
        name,
        component,
        values.namespace,
        spec=spec
        | {
            "revisionHistoryLimit": 3,
            "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": surge}},
            "selector": {"matchLabels": selector(component)},
            "template": template,
        },
    )
