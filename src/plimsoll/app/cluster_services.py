"""Services on a cluster, as the commands need them: apply, look, logs, events, scale, delete."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any

from plimsoll.backends.kubernetes.artifacts.references import MODEL_OF_LABEL
from plimsoll.backends.kubernetes.install import telling
from plimsoll.backends.kubernetes.install.reach import NotServed, Reach
from plimsoll.backends.kubernetes.names import API_VERSION, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.by_hand import MOST, check_by_hand
from plimsoll.core.errors import UserError

if TYPE_CHECKING:
    from plimsoll.spec import ModelService

MANAGER = "plimsoll-apply"
KIND = "ModelService"
_POLL_S = 0.5
_NOT_INSTALLED = "the cluster has no ModelServices; install Plimsoll there first: plimsoll install --context NAME"


@dataclass(slots=True)
class Applied:
    """`change`: created, configured or unchanged. `failed`: why it isn't ready; "" while it is or nobody waited."""

    kind: str
    name: str
    namespace: str
    change: str
    generation: int = 0
    failed: str = ""
    url: str = ""
    extra: list[Obj] = field(default_factory=list)


def packed(paths: Sequence[str], namespace: str, *, no_other: bool = False) -> list[Obj]:
    """The files' objects in the order to apply them, small models as ConfigMaps. Raises SpecErrors, and UserError for a
    model that is too large for one."""
    from plimsoll.app.sources import check_namespace, named, service_files
    from plimsoll.backends.kubernetes.artifacts.packing import pack_small
    from plimsoll.spec import Documents, check_together, load_all_files

    found = load_all_files([named(file) for file in service_files([Path(path) for path in paths])])
    objects: list[Obj] = [one.dump() for one in (*found.platforms, *found.tenants)]
    for service in found.services if no_other else ():
        check_namespace(service, namespace)
    services = tuple(in_namespace(service, namespace) for service in found.services)
    check_together(Documents(services, found.tenants, found.platforms))  # two may now be in one namespace
    for service in services:
        placed = service
        if not placed.is_packed:
            placed, more = pack_small(placed, service.directory.absolute())
            objects += more
        objects.append(placed.dump())
    return objects


def in_namespace(service: "ModelService", namespace: str) -> "ModelService":
    if service.metadata.namespace is not None:
        return service
    from plimsoll.spec import ModelService

    document = service.dump()
    document["metadata"] = {"name": document["metadata"].pop("name"), "namespace": namespace} | document["metadata"]
    return ModelService.parse(document, service.origin)


async def apply(
    reach: Reach, paths: Sequence[str], told: Callable[[Applied], None], *, force: bool, no_other: bool = False
) -> list[Applied]:
    """`no_other`: services of another namespace than the context's are refused, not applied there. Raises UserError
    where another owns what the files say."""
    await _installed(reach)
    done = []
    for obj in packed(paths, reach.api.namespace, no_other=no_other):
        meta = obj["metadata"]
        namespace = meta.get("namespace", "")
        before = await reach.get(obj["apiVersion"], obj["kind"], meta["name"], namespace)
        after = await _apply(reach, obj, force)
        same = before is not None and before["metadata"].get("resourceVersion") == after["metadata"]["resourceVersion"]
        change = "created" if before is None else "unchanged" if same else "configured"
        one = Applied(obj["kind"], meta["name"], namespace, change, int(after["metadata"].get("generation", 0)))
        told(one)
        done.append(one)
    return done


async def _apply(reach: Reach, obj: Obj, force: bool) -> Obj:
    from plimsoll.backends.kubernetes.api import ApiError

    try:
        return await reach.apply(obj, MANAGER, force=force)
    except ApiError as error:
        name = f"{obj['kind'].lower()}/{obj['metadata']['name']}"
        if error.code == 409:
            raise UserError(f"{name}: others own what the file says: {error}; --force takes it over") from None
        if error.code in (400, 422):
            raise UserError(f"{name}: {error}") from None
        if error.code == 404 and "namespaces" in str(error):
            namespace = obj["metadata"].get("namespace")
            raise UserError(
                f"{name}: there is no namespace {namespace}; kubectl create namespace {namespace}"
            ) from None
        raise


async def _installed(reach: Reach) -> None:
    if KIND not in await reach.kinds(API_VERSION):
        raise UserError(_NOT_INSTALLED)


async def statuses(reach: Reach, name: str | None, *, everywhere: bool = False) -> list[Obj]:
    """As the admin API's services. Raises UserError for an unknown name, with the nearest."""
    await _installed(reach)
    if name is not None:
        service = await find(reach, name)
        pods = await reach.list("v1", "Pod", reach.api.namespace, labels=f"{SERVICE_LABEL}={name}")
        return [telling.told_of(service, pods)]
    namespace = "" if everywhere else reach.api.namespace
    services = await reach.list(API_VERSION, KIND, namespace)
    if namespace and not services:
        await _space_is_there(reach)
    pods = await reach.list("v1", "Pod", namespace, labels=SERVICE_LABEL)
    grouped: dict[tuple[str, str], list[Obj]] = {}
    for pod in pods:
        meta = pod["metadata"]
        grouped.setdefault((meta.get("namespace", ""), meta["labels"][SERVICE_LABEL]), []).append(pod)
    return [
        telling.told_of(
            one, grouped.get((one["metadata"]["namespace"], one["metadata"]["name"]), []), spaced=everywhere
        )
        for one in sorted(services, key=lambda one: (one["metadata"]["namespace"], one["metadata"]["name"]))
    ]


async def _space_is_there(reach: Reach) -> None:
    """Raises UserError where there is no such namespace, with the nearest. Who may not look is not told."""
    from plimsoll.backends.kubernetes.api import ApiError

    try:
        if await reach.get("v1", "Namespace", reach.api.namespace) is not None:
            return
        near = get_close_matches(reach.api.namespace, await namespaces(reach), n=1)
    except ApiError as error:
        if error.code == 403:
            return
        raise
    raise UserError(f"there is no namespace {reach.api.namespace}" + (f"; did you mean {near[0]}?" if near else ""))


async def namespaces(reach: Reach) -> list[str]:
    return sorted(one["metadata"]["name"] for one in await reach.list("v1", "Namespace"))


async def deployments(reach: Reach) -> list[str]:
    """That aren't a service's."""
    found = await reach.list("apps/v1", "Deployment", reach.api.namespace, labels=f"!{SERVICE_LABEL}")
    return sorted(one["metadata"]["name"] for one in found)


async def tenants(reach: Reach) -> list[str]:
    return sorted(one["metadata"]["name"] for one in await reach.list(API_VERSION, "Tenant"))


async def names(reach: Reach) -> list[str]:
    return sorted(one["metadata"]["name"] for one in await reach.list(API_VERSION, KIND, reach.api.namespace))


async def find(reach: Reach, name: str) -> Obj:
    await _installed(reach)
    found = await reach.get(API_VERSION, KIND, name, reach.api.namespace)
    if found is not None:
        return found
    known, where = await names(reach), f"in namespace {reach.api.namespace}"
    if not known:
        await _space_is_there(reach)
    near = get_close_matches(name, known, n=1)
    if near:
        raise UserError(f"no service {name!r} {where}; did you mean {near[0]}?")
    raise UserError(f"no service {name!r} {where}; there: {', '.join(known) or 'none'}")


async def logs(
    reach: Reach, name: str | None, told: Callable[[str, str], None], *, lines: int, follow: bool, replica: str | None
) -> str:
    """`told(pod, line)`. Returns the service's name. What a container that ended printed comes before its successor's.
    Raises UserError where no service is named and there are several, or no such replica."""
    name = name or await _only(reach)
    await find(reach, name)
    pods = await reach.list("v1", "Pod", reach.api.namespace, labels=f"{SERVICE_LABEL}={name}")
    chosen = [pod for pod in pods if replica in (None, pod["metadata"]["name"])]
    if replica is not None and not chosen:
        there = ", ".join(pod["metadata"]["name"] for pod in pods) or "none"
        raise UserError(f"{name} has no replica {replica}; there: {there}")
    for pod in sorted(chosen, key=lambda pod: str(pod["metadata"].get("creationTimestamp", ""))):
        await _log(reach, pod, told, lines, running=not follow)
    if follow:
        await _follow(reach, name, {pod["metadata"]["name"] for pod in chosen}, told, replica, lines)
    return name


async def _only(reach: Reach) -> str:
    await _installed(reach)
    known = await names(reach)
    if not known:
        await _space_is_there(reach)
    if len(known) != 1:
        raise UserError(f"name one of: {', '.join(known)}" if known else f"no services in {reach.api.namespace}")
    return known[0]


async def _log(reach: Reach, pod: Obj, told: Callable[[str, str], None], lines: int, *, running: bool) -> None:
    """What it printed before it was restarted; `running`: and since."""
    from plimsoll.backends.kubernetes.api import ApiError

    restarted = bool(telling.instance_of(pod)["restarts"])
    for previous in ([True] if restarted else []) + ([False] if running else []):
        path, params = await _log_at(reach, pod["metadata"]["name"])
        try:
            text = await reach.api.text(
                path, params | {"tailLines": str(lines)} | ({"previous": "true"} if previous else {})
            )
        except ApiError as error:
            if error.code in (400, 404):  # not started yet, or its log is gone
                continue
            raise
        for line in text.splitlines():
            told(pod["metadata"]["name"], line)


async def _log_at(reach: Reach, pod: str) -> tuple[str, dict[str, str]]:
    return await reach.path("v1", "Pod", reach.api.namespace, pod, "log"), {"container": telling.CONTAINER}


async def _follow(
    reach: Reach, name: str, seen: set[str], told: Callable[[str, str], None], replica: str | None, lines: int
) -> None:
    """Those that are there, with their last lines, and those that come. Until it is cancelled."""
    async with asyncio.TaskGroup() as group:
        for pod in sorted(seen):
            group.create_task(_tail(reach, pod, told, {"tailLines": str(lines)}))
        while replica is None:
            await asyncio.sleep(_POLL_S * 2)
            for one in await reach.list("v1", "Pod", reach.api.namespace, labels=f"{SERVICE_LABEL}={name}"):
                if one["metadata"]["name"] not in seen:
                    seen.add(one["metadata"]["name"])
                    group.create_task(_tail(reach, one["metadata"]["name"], told, {}))


async def _tail(reach: Reach, pod: str, told: Callable[[str, str], None], since: Mapping[str, str]) -> None:
    from plimsoll.backends.kubernetes.api import ApiError

    path, params = await _log_at(reach, pod)
    params |= {"follow": "true", **since}
    while True:
        try:
            async with reach.api.lines(path, params, silent_s=None) as coming:
                async for line in coming:
                    told(pod, line.decode("utf-8", "replace"))
            return
        except ApiError as error:
            if error.code != 400:
                return  # it is gone
            await asyncio.sleep(_POLL_S)  # its container is still to start


async def events(
    reach: Reach, name: str | None, told: Callable[[dict[str, Any]], None], *, follow: bool, everywhere: bool = False
) -> None:
    await _installed(reach)
    if name is not None:
        await find(reach, name)
    seen: set[tuple[str, int]] = set()
    while True:
        for event in await _events(reach, name, "" if everywhere else reach.api.namespace):
            key = event["seq"], hash(event["message"])
            if key not in seen:
                seen.add(key)
                told(event)
        if not follow:
            return
        await asyncio.sleep(_POLL_S * 2)


async def _events(reach: Reach, name: str | None, namespace: str) -> list[dict[str, Any]]:
    services = await reach.list(API_VERSION, KIND, namespace)
    objects: list[Obj] = []
    for kind in (("v1", "Pod"), ("apps/v1", "Deployment"), ("apps/v1", "ReplicaSet"), ("apps/v1", "StatefulSet")):
        objects += await reach.list(*kind, namespace, labels=SERVICE_LABEL)
    owners = telling.owners_of(services, objects)
    found = []
    for event in await reach.list("v1", "Event", namespace):
        service = telling.about(event, owners)
        if service is not None and name in (None, service):
            found.append(telling.event_of(event, service))
    return sorted(found, key=lambda one: (one["at"], one["seq"]))


async def scale(reach: Reach, name: str, replicas: int | None) -> Obj:
    """None: scaling decides again. Raises UserError for a count that nobody means."""
    service = await find(reach, name)
    if replicas is None:
        await reach.patch(service, {"spec": {"replicas": None}})
    else:
        check_by_hand(replicas, max(MOST, most_replicas(service)))
        await reach.patch(service, {"spec": {"replicas": replicas}}, sub="scale")
    return await find(reach, name)


def most_replicas(service: Obj) -> int:
    """Its maxReplicas, as it is where it isn't written."""
    return int(telling.told_of(service, [])["scaling"]["max_replicas"])


async def delete(reach: Reach, name: str) -> Obj | None:
    """`NAME`, `tenant/NAME` or `platform/NAME`. What is to be waited for: the service, None for others."""
    kind, slash, rest = name.partition("/")
    if not slash:
        service = await find(reach, name)
        await reach.delete(service)
        return service
    kinds = {"tenant": "Tenant", "platform": "Platform"}
    if kind not in kinds:
        raise UserError(f"{name}: expected NAME, tenant/NAME or platform/NAME")
    found = await reach.get(API_VERSION, kinds[kind], rest)
    if found is None:
        raise UserError(f"no {kind} {rest!r}")
    await reach.delete(found)
    return None


async def await_gone(reach: Reach, service: Obj, timeout_s: float) -> bool:
    until = asyncio.get_running_loop().time() + timeout_s
    meta = service["metadata"]
    while await reach.get(API_VERSION, KIND, meta["name"], meta["namespace"]) is not None:
        if asyncio.get_running_loop().time() > until:
            return False
        await asyncio.sleep(_POLL_S / 2)
    for packed_model in await reach.list(
        "v1", "ConfigMap", meta["namespace"], labels=f"{MODEL_OF_LABEL}={meta['name']}"
    ):
        owners = packed_model["metadata"].get("ownerReferences") or []
        if all(one["uid"] == meta["uid"] for one in owners):  # those of others go with the last of them
            await reach.delete(packed_model)
    return True


__all__ = [
    "Applied",
    "NotServed",
    "apply",
    "await_gone",
    "delete",
    "events",
    "logs",
    "scale",
    "statuses",
]
