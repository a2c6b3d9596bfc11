"""All that the watches have brought, by service: what `Seen` is made of. One thread, no I/O.

Each `take_…` is a watch's `on_change`; `changed(key, how)` is called for what may need a look at a service.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping
from enum import Enum, auto
from typing import NamedTuple

from plimsoll.backends.kubernetes.names import MANAGED_BY, MANAGED_BY_LABEL, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj, ObjectKey
from plimsoll.backends.kubernetes.operator.apply import newer
from plimsoll.backends.kubernetes.operator.fields import mark_of, owns_count
from plimsoll.backends.kubernetes.operator.kinds import Kind
from plimsoll.backends.kubernetes.operator.seen import (
    Figures,
    Node,
    Owned,
    Pod,
    Revision,
    Seen,
    ServiceKey,
    ServiceObject,
    Workload,
    pod_of,
    service_key,
    workload_of,
)
from plimsoll.backends.kubernetes.watching import Change, Key


class How(Enum):
    SPEC = auto()  # look at once
    STATE = auto()  # a little later: what belongs together comes together
    DRIFT = auto()


class KeptWorkload(NamedTuple):
    owned: Owned
    workload: Workload
    version: str  # so that a change of it alone is told, too


class KeptPod(NamedTuple):
    service: ServiceKey
    pod: Pod


class Mount(NamedTuple):
    """A kubelet's word that a pod's volume can't be mounted."""

    pod: str
    words: str


Changed = Callable[[ServiceKey, How], None]


class Cache:
    """`drifted(key, object, owned)`: whether it is other than was applied; the keeper of what was applied knows."""

    def __init__(
        self, changed: Changed, drifted: Callable[[ServiceKey, ObjectKey, Owned | None], bool] = lambda *_: False
    ) -> None:
        self.services: dict[ServiceKey, ServiceObject] = {}
        self.figures: dict[ServiceKey, Figures] = {}
        self.ending: set[str] = set()
        self.nodes: Mapping[Key, Node] = {}
        self.owned: dict[ServiceKey, dict[ObjectKey, Owned]] = defaultdict(dict)
        self._workloads: dict[ServiceKey, dict[str, Workload]] = defaultdict(dict)
        self._pods: dict[ServiceKey, dict[str, Pod]] = defaultdict(dict)
        self._revisions: dict[ServiceKey, dict[str, Revision]] = defaultdict(dict)
        self._mounts: dict[tuple[str, str], dict[Key, str]] = defaultdict(dict)
        self._whose: dict[tuple[str, str], ServiceKey] = {}
        self._changed, self._drifted = changed, drifted

    # --- what decisions see -------------------------------------------------------------------------------------------

    def seen(self, key: ServiceKey) -> Seen | None:
        service = self.services.get(key)
        if service is None:
            return None
        pods, owned = tuple(self._pods.get(key, {}).values()), self.owned.get(key, {})
        mounts: dict[str, str] = {}
        if self._mounts:
            for pod in pods:
                words = self._mounts.get((key.namespace, pod.name))
                if words and not pod.ready:
                    mounts[pod.name] = next(reversed(words.values()))
        homeless = any(not pod.scheduled for pod in pods)
        return Seen(
            service=service,
            workloads=tuple(self._workloads.get(key, {}).values()),
            pods=pods,
            revisions=tuple(self._revisions.get(key, {}).values()),
            mounts=mounts,
            routes=tuple(one for name, one in owned.items() if name.kind == "HTTPRoute"),
            scaler=next((one.words for name, one in owned.items() if name.kind == HPA and one.words), ""),
            figures=self.figures.get(key),
            namespace_ending=key.namespace in self.ending,
            nodes=tuple(self.nodes.values()) if homeless else (),
        )

    def keys(self) -> Iterable[ServiceKey]:
        """Of services, and of those that are gone and left something."""
        return {*self.services, *(key for key, owned in self.owned.items() if owned)}

    def forget(self, key: ServiceKey) -> None:
        for kept in (self.figures, self._workloads, self._pods, self._revisions, self.owned):
            if not kept.get(key):
                kept.pop(key, None)

    def stands(self, service: ServiceObject) -> None:
        """What the server answered to our own write, sooner than the watch brings it."""
        known = self.services.get(service.key)
        if known is not None and known.uid == service.uid and newer(service.version, known.version):
            self.services[service.key] = service

    # --- what watches bring -------------------------------------------------------------------------------------------

    def take_service(self, change: Change, key: Key, kept: ServiceObject) -> None:
        name = ServiceKey(*key)
        before = self.services.get(name)
        if change is Change.DELETED:
            self.services.pop(name, None)
            self._changed(name, How.SPEC)
            return
        if before is not None and before.uid == kept.uid and newer(before.version, kept.version):
            return
        self.services[name] = kept
        if before is None or _asks_other(before, kept):
            self._changed(name, How.SPEC)
        elif before.status != kept.status:
            self._changed(name, How.STATE)

    def take_workload(self, kind: Kind, change: Change, key: Key, kept: KeptWorkload) -> None:
        service = kept.owned.service
        if service is None:
            return
        workloads = self._workloads[service]
        if change is Change.DELETED:
            workloads.pop(key.name, None)
        else:
            before = workloads.get(key.name)
            workloads[key.name] = kept.workload
            if before is None or before != kept.workload or before.version != kept.workload.version:
                self._changed(service, How.STATE)
        self.take_owned(kind, change, key, kept.owned)

    def take_pod(self, change: Change, key: Key, kept: KeptPod) -> None:
        pods = self._pods[kept.service]
        if change is Change.DELETED:
            pods.pop(key.name, None)
            self._whose.pop((key.namespace, key.name), None)
        else:
            pods[key.name] = kept.pod
            self._whose[key.namespace, key.name] = kept.service
        self._changed(kept.service, How.STATE)

    def take_revision(self, change: Change, key: Key, kept: Revision) -> None:
        if change is Change.DELETED:
            self._revisions[kept.service].pop(key.name, None)
        else:
            self._revisions[kept.service][key.name] = kept

    def take_mount(self, change: Change, key: Key, kept: Mount) -> None:
        place = (key.namespace, kept.pod)
        if change is Change.DELETED:
            self._mounts[place].pop(key, None)
            if not self._mounts[place]:
                del self._mounts[place]
            return
        self._mounts[place][key] = kept.words
        service = self._whose.get(place)
        if service is not None:
            self._changed(service, How.STATE)

    def take_owned(self, kind: Kind, change: Change, key: Key, kept: Owned) -> None:
        if kept.service is None:
            return
        name = ObjectKey(kind.api_version, kind.kind, key.namespace, key.name)
        owned = self.owned[kept.service]
        before = owned.get(name)
        if change is Change.DELETED:
            owned.pop(name, None)
        else:
            owned[name] = kept
        if self._drifted(kept.service, name, None if change is Change.DELETED else kept):
            self._changed(kept.service, How.DRIFT)
        elif (kept.accepted, kept.words) != ((True, "") if before is None else (before.accepted, before.words)):
            self._changed(kept.service, How.STATE)
        elif kept.service not in self.services and change is not Change.DELETED:
            self._changed(kept.service, How.STATE)  # its service is gone: an orphan

    def take_namespace(self, change: Change, key: Key, ending: bool) -> None:
        was = key.name in self.ending
        if change is not Change.DELETED and ending:
            self.ending.add(key.name)
        else:
            self.ending.discard(key.name)
        if was != (key.name in self.ending):
            for service in self.services:
                if service.namespace == key.name:
                    self._changed(service, How.SPEC)


def _asks_other(before: ServiceObject, now: ServiceObject) -> bool:
    return (
        before.uid != now.uid
        or before.generation != now.generation
        or before.deleting != now.deleting
        or before.finalizers != now.finalizers
        or before.annotations != now.annotations
        or before.labels != now.labels
    )


# --- what watches keep ------------------------------------------------------------------------------------------------


def keep_owned(obj: Obj, *, kind: Kind) -> Owned | None:
    """None for what carries our labels and no service's. Its owner tells whose it is: labels are edited by hand."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    owners = meta.get("ownerReferences") or ()
    owner = next((one["name"] for one in owners if one.get("kind") == "ModelService"), None)
    service = service_key(obj) if owner is None else ServiceKey(str(meta.get("namespace", "")), owner)
    if service is None:
        return None
    accepted, words = _accepted(obj) if kind.kind == "HTTPRoute" else (True, _stopped(obj) if kind.kind == HPA else "")
    return Owned(
        service=service,
        mark=mark_of(obj, kind.kind),
        version=str(meta.get("resourceVersion") or ""),
        revision=labels.get(REVISION_LABEL, ""),
        ours=service.namespace != meta.get("namespace") or any(one.get("kind") == "ModelService" for one in owners),
        deleting="deletionTimestamp" in meta,
        owns_count=kind.kind in ("Deployment", "StatefulSet") and owns_count(obj),
        accepted=accepted,
        words=words,
    )


def keep_workload(obj: Obj, *, kind: Kind) -> KeptWorkload | None:
    """Those of revisions alone: what is rendered plain carries no revision's label."""
    owned = keep_owned(obj, kind=kind)
    if owned is None or not owned.revision or not owned.ours:
        return None
    return KeptWorkload(owned, workload_of(obj, kind.kind), owned.version)


def keep_pod(obj: Obj) -> KeptPod | None:
    service = service_key(obj)
    return None if service is None else KeptPod(service, pod_of(obj))


def keep_mount(obj: Obj) -> Mount | None:
    """Of an event FailedMount."""
    about = obj.get("involvedObject") or obj.get("regarding") or {}
    if about.get("kind") != "Pod":
        return None
    return Mount(str(about.get("name")), str(obj.get("message") or obj.get("note") or ""))


def keep_namespace(obj: Obj) -> bool | None:
    return "deletionTimestamp" in obj["metadata"] or (obj.get("status") or {}).get("phase") == "Terminating"


def _accepted(obj: Obj) -> tuple[bool | None, str]:
    """What Gateways say of a route: True where one takes it, None where none has looked yet."""
    said: list[tuple[str, str]] = []
    for parent in (obj.get("status") or {}).get("parents") or ():
        for one in parent.get("conditions") or ():
            if one.get("type") in ("Accepted", "ResolvedRefs"):
                said.append((str(one.get("status")), str(one.get("message") or one.get("reason") or "")))
    if not said:
        return None, ""
    refused = [words for status, words in said if status == "False"]
    return (False, refused[0]) if refused else (True, "")


def _stopped(obj: Obj) -> str:
    """Why an HPA keeps its last count; at 0 replicas it rests by design."""
    for one in (obj.get("status") or {}).get("conditions") or ():
        if (
            one.get("type") == "ScalingActive"
            and one.get("status") == "False"
            and one.get("reason") != "ScalingDisabled"
        ):
            return str(one.get("message") or one.get("reason") or "")
    return ""


HPA = "HorizontalPodAutoscaler"
POD_SELECTOR = f"{MANAGED_BY_LABEL}={MANAGED_BY},{SERVICE_LABEL},{REVISION_LABEL}"
