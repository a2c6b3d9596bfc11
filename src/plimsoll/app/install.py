"""`plimsoll install` and `upgrade`: Plimsoll itself, printed, compared with a cluster, or applied to it."""

import asyncio
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from plimsoll.backends.kubernetes.install import Values, system_objects, values_of
from plimsoll.backends.kubernetes.install.upgrading import Upgrade, named, upgrade_of
from plimsoll.backends.kubernetes.names import API_VERSION, MANAGED_BY, MANAGED_BY_LABEL, NAME_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj, ObjectKey, key_of
from plimsoll.core.errors import HostError, SpecErrors, UserError

if TYPE_CHECKING:
    from plimsoll.backends.kubernetes.install.reach import Reach

MANAGER = "plimsoll-install"
ESTABLISHED_S = 30.0  # a definition is served within a second; more means that the API server refuses it
# A service may be called plimsoll, too.
OURS = f"{NAME_LABEL}={MANAGED_BY},{MANAGED_BY_LABEL}={MANAGED_BY},!{SERVICE_LABEL}"
_POLL_S = 0.2
_LOOKS = 5
# What is looked through for objects of an older version that are no longer made.
_KINDS = (
    ("v1", "Namespace"), ("scheduling.k8s.io/v1", "PriorityClass"), ("v1", "ServiceAccount"),
    ("rbac.authorization.k8s.io/v1", "ClusterRole"), ("rbac.authorization.k8s.io/v1", "ClusterRoleBinding"),
    ("rbac.authorization.k8s.io/v1", "Role"), ("rbac.authorization.k8s.io/v1", "RoleBinding"),
    ("networking.k8s.io/v1", "NetworkPolicy"), ("v1", "Service"), ("policy/v1", "PodDisruptionBudget"),
    ("apps/v1", "Deployment"), ("apps/v1", "DaemonSet"), ("autoscaling/v2", "HorizontalPodAutoscaler"),
    ("admissionregistration.k8s.io/v1", "ValidatingWebhookConfiguration"),
    ("apiregistration.k8s.io/v1", "APIService"), ("apiextensions.k8s.io/v1", "CustomResourceDefinition"),
)  # fmt: skip


def read_values(file: str | None, sets: Sequence[str], namespace: str | None) -> Values:
    """Raises UserError, SpecErrors."""
    from plimsoll.core.errors import SpecError
    from plimsoll.spec import read

    text = ""
    if file is not None and not (Path(file).is_file() and not Path(file).read_bytes().strip()):
        try:
            text = read(Path(file))
        except SpecError as error:
            raise SpecErrors([error]) from None
    more = [f"namespace={namespace}"] if namespace else []
    return values_of(text, file=file or "--set", sets=[*sets, *more])


def crd_objects() -> list[Obj]:
    from plimsoll.backends.kubernetes.crd import crds

    return list(crds())


def install_objects(values: Values, only: str | None = None) -> list[Obj]:
    """Definitions first. `only`: `crds` or `system`."""
    if only not in (None, "crds", "system"):
        raise UserError(f"--only {only}: expected crds or system")
    found = [] if only == "system" else crd_objects()
    return found if only == "crds" else found + system_objects(values)


async def apply_all(reach: "Reach", objects: Sequence[Obj], told: Callable[[str, str], None]) -> None:
    """In order; waits until definitions are served. `told(object, created|configured|unchanged)`. Raises UserError
    before anything is changed where an aggregated API is another's."""
    await refuse_foreign(reach, objects)
    waiting: list[Obj] = []
    for obj in objects:
        is_crd = obj["kind"] == "CustomResourceDefinition"
        if waiting and not is_crd:
            await _established(reach, waiting)
            waiting = []
        before = await reach.get(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], _home(obj))
        after = await reach.apply(obj, MANAGER, force=True)
        told(named(obj), _word(before, after))
        if is_crd:
            waiting.append(obj)
    await _established(reach, waiting)


def _home(obj: Obj) -> str:
    return str(obj["metadata"].get("namespace", ""))


def _word(before: Obj | None, after: Obj) -> str:
    if before is None:
        return "created"
    same = before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion")
    return "unchanged" if same else "configured"


async def _established(reach: "Reach", crds: Sequence[Obj]) -> None:
    until = asyncio.get_running_loop().time() + ESTABLISHED_S
    for crd in crds:
        while not await _is_established(reach, crd):
            if asyncio.get_running_loop().time() > until:
                raise HostError(
                    f"{crd['metadata']['name']} is not served after {ESTABLISHED_S:g} s; see kubectl get crd"
                )
            await asyncio.sleep(_POLL_S)
    reach.forget()


async def _is_established(reach: "Reach", crd: Obj) -> bool:
    found = await reach.get(crd["apiVersion"], crd["kind"], crd["metadata"]["name"])
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)


async def refuse_foreign(reach: "Reach", objects: Sequence[Obj]) -> None:
    """One cluster has one of each aggregated API: to take it over would take away what other autoscalers read."""
    for obj in objects:
        if obj["kind"] != "APIService":
            continue
        name = obj["metadata"]["name"]
        there = await reach.get(obj["apiVersion"], "APIService", name)
        owner = ((there or {}).get("spec") or {}).get("service")
        if owner and (owner.get("namespace"), owner.get("name")) != (
            obj["spec"]["service"]["namespace"],
            obj["spec"]["service"]["name"],
        ):
            raise UserError(
                f"{name} is served by {owner.get('namespace')}/{owner.get('name')}, and is one for the whole cluster: "
                "leave metricsApis off (writer: Controller and writer: KEDA need none)"
            )


async def plan_upgrade(reach: "Reach", objects: Sequence[Obj]) -> Upgrade:
    """Nothing is changed: the cluster is asked what applying would give."""
    there: dict[ObjectKey, Obj] = {}
    merged: dict[ObjectKey, Obj] = {}
    for obj in objects:
        found = await _before_and_after(reach, obj)
        if found is not None:
            key = key_of(obj)
            there[key] = found[0] | {"apiVersion": obj["apiVersion"], "kind": obj["kind"]}
            merged[key] = found[1]
    for obj in await installed_objects(reach):
        there.setdefault(key_of(obj), obj)
    services = await reach.list(API_VERSION, "ModelService")
    return upgrade_of(objects, there, merged, services)


async def _before_and_after(reach: "Reach", obj: Obj) -> tuple[Obj, Obj] | None:
    """Both of one version: what another writes in between (a controller its annotation, say) is no change of ours."""
    looks = 0
    while before := await reach.get(obj["apiVersion"], obj["kind"], obj["metadata"]["name"], _home(obj)):
        after = await reach.apply(obj, MANAGER, force=True, dry_run=True)
        looks += 1
        if looks == _LOOKS or before["metadata"].get("resourceVersion") == after["metadata"].get("resourceVersion"):
            return before, after
    return None


async def installed_objects(reach: "Reach") -> list[Obj]:
    """All that an installation made, of whatever version."""
    found: list[Obj] = []
    for api_version, kind in _KINDS:
        found += await reach.list(api_version, kind, labels=OURS)
    return found


async def remove(reach: "Reach", keys: Sequence[ObjectKey], told: Callable[[str, str], None]) -> None:
    for key in keys:
        obj = {"apiVersion": key.api_version, "kind": key.kind, "metadata": {"name": key.name}}
        if key.namespace:
            obj["metadata"]["namespace"] = key.namespace  # type: ignore[index]
        if await reach.delete(obj):
            told(named(key), "deleted")
