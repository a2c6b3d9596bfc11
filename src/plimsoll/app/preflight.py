"""`plimsoll preflight`: asks a cluster what it has; `backends.kubernetes.install.preflight` judges."""

import re
from collections.abc import Awaitable
from typing import TYPE_CHECKING, Any, TypeVar

from plimsoll.backends.kubernetes.install.preflight import ApiOwner, Facts, accelerators_of
from plimsoll.backends.kubernetes.install.values import Values
from plimsoll.backends.kubernetes.objects import Obj

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.reach import Reach

T = TypeVar("T")

# Of what `install` writes, one of each sort that is commonly kept from people.
_NEEDED = (
    ("create", "apiextensions.k8s.io", "customresourcedefinitions"),
    ("create", "rbac.authorization.k8s.io", "clusterroles"),
    ("create", "rbac.authorization.k8s.io", "clusterrolebindings"),
    ("create", "scheduling.k8s.io", "priorityclasses"),
    ("create", "admissionregistration.k8s.io", "validatingwebhookconfigurations"),
    ("create", "", "namespaces"),
)
_NEEDED_INSIDE = (("create", "apps", "deployments"), ("create", "", "services"), ("create", "", "serviceaccounts"))


async def gather(reach: "Reach", values: Values) -> Facts:
    """Raises ApiError only for what everybody may see; what is forbidden becomes a finding."""
    version = await reach.api.get("/version")
    groups = (await reach.api.get("/apis")).get("groups") or []
    apis = frozenset(one["groupVersion"] for group in groups for one in group.get("versions") or [])
    nodes = await _allowed(reach.list("v1", "Node"))
    sets = await _allowed(reach.list("apps/v1", "DaemonSet"))
    offered, promised = accelerators_of(nodes) if nodes is not None else (None, ())
    return Facts(
        version=str(version.get("gitVersion", "")),
        minor=int(re.sub(r"\D", "", str(version.get("minor", "0"))) or 0),
        apis=apis,
        owners=await _owners(reach),
        daemon_sets=None if sets is None else tuple(f"{_meta(one, 'namespace')}/{_meta(one, 'name')}" for one in sets),
        policy_kinds=tuple(sorted(group["name"] for group in groups)),
        accelerators=offered,
        expected=promised,
        device_classes=await _names(reach, "resource.k8s.io/v1", "DeviceClass"),
        ingress_classes=await _names(reach, "networking.k8s.io/v1", "IngressClass"),
        security=await _security(reach, values.namespace),
        forbidden=await _forbidden(reach, values),
    )


def _meta(obj: Obj, key: str) -> str:
    return str(obj["metadata"].get(key, ""))


async def _allowed(asked: "Awaitable[T]") -> "T | None":
    from plimsoll.backends.kubernetes.api import ApiError

    try:
        return await asked
    except ApiError as error:
        if error.code in (403, 404):
            return None
        raise


async def _names(reach: "Reach", api_version: str, kind: str) -> tuple[str, ...]:
    return tuple(_meta(one, "name") for one in await _allowed(reach.list(api_version, kind)) or [])


async def _owners(reach: "Reach") -> dict[str, ApiOwner]:
    """Of aggregated APIs; the server's own have no service."""
    found = {}
    for one in await _allowed(reach.list("apiregistration.k8s.io/v1", "APIService")) or []:
        service: dict[str, Any] = (one.get("spec") or {}).get("service") or {}
        if not service:
            continue
        conditions = (one.get("status") or {}).get("conditions") or []
        state: dict[str, Any] = next((each for each in conditions if each.get("type") == "Available"), {})
        found[_meta(one, "name")] = ApiOwner(
            f"{service.get('namespace')}/{service.get('name')}",
            state.get("status", "True") == "True",
            str(state.get("message", "")),
        )
    return found


async def _security(reach: "Reach", namespace: str) -> str | None:
    found = await _allowed(reach.get("v1", "Namespace", namespace))
    labels = ((found or {}).get("metadata") or {}).get("labels") or {}
    return None if found is None else str(labels.get("pod-security.kubernetes.io/enforce", ""))


async def _forbidden(reach: "Reach", values: Values) -> tuple[str, ...]:
    found = [
        f"{verb} {resource}" for verb, group, resource in _NEEDED if not await reach.may(verb, group, resource)
    ] + [
        f"{verb} {resource} in {values.namespace}"
        for verb, group, resource in _NEEDED_INSIDE
        if not await reach.may(verb, group, resource, values.namespace)
    ]  # fmt: skip
    return tuple(found)
