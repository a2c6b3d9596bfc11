"""`plimsoll uninstall`: Plimsoll leaves a cluster, with its services or without them."""

import asyncio
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from plimsoll.app.install import installed_objects
from plimsoll.backends.kubernetes.artifacts.references import MODEL_OF_LABEL
from plimsoll.backends.kubernetes.install import leaving
from plimsoll.backends.kubernetes.install.upgrading import named
from plimsoll.backends.kubernetes.names import API_VERSION, COMPONENT_LABEL, NAMESPACE_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.reach import Reach

Told = Callable[[str, str], None]
GONE_S = 120.0  # the operator lets requests in flight end first
_POLL_S = 0.2
_STAYS = ("Namespace",)  # Secrets of tenants are in it


async def services_of(reach: "Reach") -> list[Obj]:
    return await reach.list(API_VERSION, "ModelService")


async def uninstall(reach: "Reach", *, keep_services: bool, told: Told, wait_s: float = GONE_S) -> list[str]:
    """Returns notes for a person."""
    services = await services_of(reach)
    mine = await installed_objects(reach)
    notes: list[str] = []
    if keep_services:
        await _stop_acting(reach, mine, told, wait_s)
        await _free(reach, services, told)
        notes = leaving.notes(services) if services else []
    else:
        await _end_services(reach, services, told, wait_s)
    stay = (*_STAYS, "PriorityClass") if keep_services else _STAYS
    definitions = [one for one in mine if one["kind"] == "CustomResourceDefinition"]
    for obj in reversed([one for one in mine if one not in definitions]):
        if obj["kind"] not in stay and await reach.delete(obj):
            told(named(obj), "deleted")
    for obj in definitions:
        if await reach.delete(obj):
            told(named(obj), "deleted")
    spaces = [one["metadata"]["name"] for one in mine if one["kind"] == "Namespace"]
    if spaces:
        notes.append(
            f"namespace {', '.join(spaces)} stays, with its Secrets: kubectl delete namespace {' '.join(spaces)}"
        )
    if keep_services:
        notes.append("priority classes stay: pods are made with them")
    return notes


async def _end_services(reach: "Reach", services: Sequence[Obj], told: Told, wait_s: float) -> None:
    """While the operator is still there to let them end. Where none is, without it."""
    for one in services:
        await reach.delete(one)
    until = asyncio.get_running_loop().time() + wait_s
    left = list(services)
    while left and asyncio.get_running_loop().time() < until:
        left = await services_of(reach)
        if left:
            await asyncio.sleep(_POLL_S)
    for one in left:
        patch = leaving.unfinished(one)
        if patch is not None:
            await reach.patch(one, patch)
    for one in services:
        told(named(one), "deleted")
    for api_version, kind in leaving.GONE:
        for obj in await reach.list(api_version, kind, labels=f"{SERVICE_LABEL},{NAMESPACE_LABEL}"):
            await reach.delete(obj)


async def _stop_acting(reach: "Reach", mine: Sequence[Obj], told: Told, wait_s: float) -> None:
    """Those that would put back what is freed, or change its count."""
    namespaces = set()
    for obj in mine:
        component = obj["metadata"]["labels"].get(COMPONENT_LABEL)
        if obj["kind"] == "Deployment" and component in ("operator", "controller"):
            await reach.delete(obj)
            told(named(obj), "deleted")
            namespaces.add(obj["metadata"]["namespace"])
    until = asyncio.get_running_loop().time() + wait_s
    acting = f"{COMPONENT_LABEL} in (operator,controller)"
    for namespace in namespaces:
        while await reach.list("v1", "Pod", namespace, labels=acting):
            if asyncio.get_running_loop().time() > until:
                break  # a node that is away: whoever comes back finds nothing to act on
            await asyncio.sleep(_POLL_S)


async def _free(reach: "Reach", services: Sequence[Obj], told: Told) -> None:
    for api_version, kind in leaving.KEPT:
        for obj in await reach.list(api_version, kind, labels=SERVICE_LABEL):
            owner = next((one for one in services if leaving.belongs(obj, one)), None)
            if owner is not None:
                await _keep(reach, obj, owner, told)
    for obj in await reach.list("v1", "ConfigMap", labels=MODEL_OF_LABEL):  # the models themselves
        patch = leaving.freed(obj)
        if patch is not None:
            await reach.patch(obj, patch)
    for one in services:
        patch = leaving.unfinished(one)
        if patch is not None:
            await reach.patch(one, patch)
        await reach.delete(one)  # what is still its own goes with it: revisions that served before
        told(named(one), "deleted; its objects go on")
    # Last: until here the gateway leads to them.
    for api_version, kind in leaving.GONE:
        for obj in await reach.list(api_version, kind, labels=SERVICE_LABEL):
            if await reach.delete(obj):
                told(named(obj), "deleted")


async def _keep(reach: "Reach", obj: Obj, service: Obj, told: Told) -> None:
    if obj["kind"] in ("Deployment", "StatefulSet"):
        if leaving.is_spent(obj, service):
            return  # it goes with its owner
        count = leaving.count_without_us(obj, service)
        if count is not None:
            await reach.patch(obj, {"spec": {"replicas": count}}, sub="scale")
            told(named(obj), f"scaled to {count}: nobody would wake it")
    if obj["kind"] == "HTTPRoute":
        await reach.patch(obj, leaving.past_the_gateway(obj, service["metadata"]["name"]))
        told(named(obj), "leads past the gateway")
    patch = leaving.freed(obj)
    if patch is not None:
        await reach.patch(obj, patch)
