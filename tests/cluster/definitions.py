"""Definitions of others' kinds: of KEDA, the Gateway API, the Prometheus operator. As their projects publish them, from
YAML files in the folder that PLIMSOLL_FOREIGN_CRDS names; without it stand-ins, which take any spec."""

import asyncio
import contextlib
import os
from pathlib import Path

import yaml
from tests.kube.errors import ApiError

GATEWAY_API, KEDA, MONITORING = "gateway.networking.k8s.io", "keda.sh", "monitoring.coreos.com"
_KINDS = (
    (GATEWAY_API, "v1", "HTTPRoute", "httproutes"),
    (GATEWAY_API, "v1beta1", "ReferenceGrant", "referencegrants"),
    (KEDA, "v1alpha1", "ScaledObject", "scaledobjects"),
    (MONITORING, "v1", "PodMonitor", "podmonitors"),
    (MONITORING, "v1", "ServiceMonitor", "servicemonitors"),
)
_ANY = {"type": "object", "x-kubernetes-preserve-unknown-fields": True}


def published():
    """What the folder has; [] without one."""
    if not (folder := os.environ.get("PLIMSOLL_FOREIGN_CRDS")):
        return []
    return [one for file in sorted(Path(folder).glob("*.yaml")) for one in yaml.safe_load_all(file.read_text()) if one]


def foreign():
    """All that a service may become an object of."""
    return published() or [_stand_in(*one) for one in _KINDS]


def _stand_in(group, version, kind, plural):
    meta = {"name": f"{plural}.{group}"}
    if group.endswith(".k8s.io"):
        meta["annotations"] = {"api-approved.kubernetes.io": "unapproved, a test's own"}
    schema = {"type": "object", "properties": {"spec": _ANY, "status": _ANY}}
    one = {"name": version, "served": True, "storage": True, "subresources": {"status": {}},
           "schema": {"openAPIV3Schema": schema}}  # fmt: skip
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": meta,
        "spec": {"group": group, "scope": "Namespaced", "names": {"plural": plural, "kind": kind}, "versions": [one]},
    }


async def define(api, crds):
    """Until they are served."""
    for crd in crds:
        await api.apply(crd)
    for crd in crds:
        await api.until("CustomResourceDefinition", crd["metadata"]["name"], test=established)
        for version in crd["spec"]["versions"]:
            if version["served"]:
                await discovered(api, f"{crd['spec']['group']}/{version['name']}", crd["spec"]["names"]["kind"])


async def undefine(api, crds):
    for crd in crds:
        with contextlib.suppress(ApiError):
            await api.delete("CustomResourceDefinition", crd["metadata"]["name"])


def established(crd):
    conditions = ((crd or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def discovered(api, api_version, kind, within_s=60):
    """Discovery follows a definition within a moment."""
    async with asyncio.timeout(within_s):
        while True:
            with contextlib.suppress(ApiError):
                return await api.resource(api_version, kind)
            await asyncio.sleep(0.1)
