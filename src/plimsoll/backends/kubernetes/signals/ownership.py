"""Whose an APIService is. There is one of each name in a cluster, and KEDA, Datadog and prometheus-adapter install the
same: who takes another's away ends every HPA that read from it. Pure."""

from collections.abc import Mapping
from typing import Any

from plimsoll.backends.kubernetes.names import CONTROLLER_API, SYSTEM_NAMESPACE

EXTERNAL, CUSTOM = "v1beta1.external.metrics.k8s.io", "v1beta2.custom.metrics.k8s.io"
OURS = (EXTERNAL, CUSTOM)


def server_of(service: Mapping[str, Any] | None) -> str:
    """NAMESPACE/NAME of the Service that an APIService leads to; "" for none."""
    found = ((service or {}).get("spec") or {}).get("service") or {}
    return f"{found.get('namespace', '')}/{found['name']}" if found.get("name") else ""


def refusal(
    name: str, existing: Mapping[str, Any] | None, *, namespace: str = SYSTEM_NAMESPACE, service: str = CONTROLLER_API
) -> str:
    """Why we must not write the APIService `name`; "" where we may: there is none, or it is ours already. `existing`:
    as the API server has it."""
    owner = server_of(existing)
    if existing is None or owner == f"{namespace}/{service}":
        return ""
    who = owner or "the API server itself"
    return f"{name} is served by {who}: ours stays off (writer: Controller needs none; writer: KEDA works beside KEDA)"
