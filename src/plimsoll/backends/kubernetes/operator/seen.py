"""What the operator sees of one service, condensed from watched objects: the input of every decision. Plain data, small
enough for a thousand services: of a pod that serves well next to nothing is kept.

`…_of(obj)` make it of objects as the API server sends them. Times are seconds since 1970.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, NamedTuple

from plimsoll.backends.kubernetes.names import NAMESPACE_LABEL, PAUSED_ANNOTATION, REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj


class ServiceKey(NamedTuple):
    namespace: str
    name: str

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


@dataclass(frozen=True, slots=True)
class ServiceObject:
    """A ModelService as it stands on the server. `version` (its resourceVersion) is not compared: who writes a status
    must not be told of it again."""

    key: ServiceKey
    uid: str
    generation: int
    spec: Obj
    labels: Mapping[str, str]
    annotations: Mapping[str, str]
    finalizers: tuple[str, ...]
    deleting: bool
    status: Obj
    created: float
    version: str = field(default="", compare=False)

    @property
    def paused(self) -> bool:
        return self.annotations.get(PAUSED_ANNOTATION) == "true"

    @property
    def body(self) -> Obj:
        """What the spec's parser takes."""
        meta: Obj = {"name": self.key.name, "namespace": self.key.namespace}
        if self.labels:
            meta["labels"] = dict(self.labels)
        return {"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": meta, "spec": self.spec}


@dataclass(frozen=True, slots=True)
class Workload:
    """A revision's Deployment or StatefulSet. `replicas`: wanted; `exist`, `ready`: what its status says, `settled`
    that this is of its latest spec. `failure`: why it can't make pods, in Kubernetes' words (quota, admission).
    `stuck`: it made no progress within its deadline."""

    name: str
    kind: str
    replicas: int
    exist: int = 0
    ready: int = 0
    settled: bool = True
    created: float = 0.0
    failure: str = ""
    stuck: bool = False
    deleting: bool = False
    version: str = field(default="", compare=False)


class Trouble(StrEnum):
    """What keeps a pod from serving, by who can mend it."""

    UNSCHEDULABLE = "unschedulable"
    IMAGE = "image"
    CONFIG = "config"  # a Secret or ConfigMap is missing
    FETCH = "fetch"  # its init step failed
    CRASH = "crash"
    MEMORY = "memory"  # killed at its limit


@dataclass(frozen=True, slots=True)
class Pod:
    """`trouble`: "" while nothing is known to be wrong; `words`: Kubernetes' or the process's own about it; `since`: of
    the trouble. `wants`: what it requests, kept only while it finds no node. `evicted`: why it must leave its node, the
    reason of its condition DisruptionTarget."""

    name: str
    revision: str
    ready: bool
    deleting: bool = False
    scheduled: bool = True
    trouble: Trouble | None = None
    words: str = ""
    since: float = 0.0
    restarts: int = 0
    exit_code: int | None = None
    image: str = ""
    wants: tuple[tuple[str, str], ...] = ()
    evicted: str = ""


@dataclass(frozen=True, slots=True)
class Owned:
    """Any object that we applied. `mark`: a digest of the fields that are ours and what stands in them (see `fields`);
    `ours`: we made it, it doesn't only carry our labels. `accepted`: of a route, what its Gateways say of it; `words`:
    of a route or an HPA, what is wrong with it."""

    service: ServiceKey | None
    mark: str
    version: str = field(compare=False)
    revision: str = ""
    ours: bool = True
    deleting: bool = False
    owns_count: bool = False  # our own apply still holds spec.replicas
    accepted: bool | None = None
    words: str = ""


@dataclass(frozen=True, slots=True)
class Revision:
    """A Revision object."""

    name: str
    service: ServiceKey
    number: int
    ready: str = ""  # the status of its condition Ready
    since: str = ""  # RFC 3339, of that
    replicas: int = 0
    ready_replicas: int = 0


@dataclass(frozen=True, slots=True)
class Figures:
    """What the controller measured of a service. None: not known."""

    desired: int | None = None
    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    requests_per_s: float | None = None
    error_rate: float | None = None
    within_budget: bool | None = None
    reason: str = ""


@dataclass(frozen=True, slots=True)
class Node:
    """What a node offers, for saying why a pod fits nowhere."""

    name: str
    allocatable: tuple[tuple[str, str], ...]
    taints: tuple[str, ...] = ()
    unschedulable: bool = False


# --- from objects -----------------------------------------------------------------------------------------------------


def service_of(obj: Obj) -> ServiceObject:
    meta = obj["metadata"]
    return ServiceObject(
        key=ServiceKey(meta["namespace"], meta["name"]),
        uid=meta["uid"],
        generation=meta.get("generation", 0),
        spec=obj.get("spec") or {},
        labels=meta.get("labels") or {},
        annotations={
            key: value
            for key, value in (meta.get("annotations") or {}).items()
            if key != "kubectl.kubernetes.io/last-applied-configuration"  # the spec once more
        },
        finalizers=tuple(meta.get("finalizers") or ()),
        deleting="deletionTimestamp" in meta,
        status=obj.get("status") or {},
        created=seconds(meta.get("creationTimestamp")),
        version=str(meta.get("resourceVersion") or ""),
    )


def workload_of(obj: Obj, kind: str) -> Workload:
    """`kind`: of the list it came in, whose items don't name it."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    failure, progress = conditions.get("ReplicaFailure", {}), conditions.get("Progressing", {})
    return Workload(
        name=meta["name"],
        kind=kind,
        replicas=spec.get("replicas", 1),
        exist=status.get("replicas", 0),
        ready=status.get("readyReplicas", 0),
        settled=status.get("observedGeneration", 0) >= meta.get("generation", 0),
        created=seconds(meta.get("creationTimestamp")),
        failure=str(failure.get("message") or "") if failure.get("status") == "True" else "",
        stuck=progress.get("status") == "False" and progress.get("reason") == "ProgressDeadlineExceeded",
        deleting="deletionTimestamp" in meta,
        version=meta.get("resourceVersion", ""),
    )


def pod_of(obj: Obj) -> Pod:
    meta, status = obj["metadata"], obj.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    ready = conditions.get("Ready", {}).get("status") == "True"
    leaving = conditions.get("DisruptionTarget", {})
    base = Pod(
        name=meta["name"],
        revision=(meta.get("labels") or {}).get(REVISION_LABEL, ""),
        ready=ready,
        deleting="deletionTimestamp" in meta,
        scheduled=bool((obj.get("spec") or {}).get("nodeName")),
        evicted=str(leaving.get("reason") or "") if leaving.get("status") == "True" else "",
    )
    return base if ready or base.deleting else _troubled(base, obj, conditions, status)


def _troubled(base: Pod, obj: Obj, conditions: Mapping[str, Any], status: Obj) -> Pod:
    placed = conditions.get("PodScheduled", {})
    if not base.scheduled and placed.get("status") == "False" and placed.get("reason") == "Unschedulable":
        return Pod(
            base.name,
            base.revision,
            ready=False,
            scheduled=False,
            trouble=Trouble.UNSCHEDULABLE,
            words=str(placed.get("message") or ""),
            since=seconds(placed.get("lastTransitionTime")) or seconds(obj["metadata"].get("creationTimestamp")),
            wants=_wants(obj),
        )
    for fetching, containers in ((True, "initContainerStatuses"), (False, "containerStatuses")):
        for one in status.get(containers) or ():
            found = _container(base, one, fetching=fetching)
            if found is not None:
                return found
    return base


_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError"})


def _container(base: Pod, one: Obj, *, fetching: bool) -> Pod | None:
    state = one.get("state") or {}
    waiting, running = state.get("waiting") or {}, "running" in state
    ended = state.get("terminated") or (one.get("lastState") or {}).get("terminated") or {}
    reason, words = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    restarts, code = int(one.get("restartCount") or 0), ended.get("exitCode")
    trouble: Trouble | None = None
    if reason in _IMAGE:
        trouble = Trouble.IMAGE
    elif reason in _CONFIG:
        trouble = Trouble.CONFIG
    elif ended and (code != 0 or (reason == "CrashLoopBackOff")) and not (running and restarts == 0):
        trouble = Trouble.FETCH if fetching else Trouble.CRASH
        if ended.get("reason") == "OOMKilled":
            trouble = Trouble.MEMORY
        words = str(ended.get("message") or "").strip() or str(ended.get("reason") or "")
    if trouble is None:
        return None
    return Pod(
        base.name,
        base.revision,
        ready=False,
        trouble=trouble,
        words=words,
        since=seconds(ended.get("finishedAt")),
        restarts=restarts,
        exit_code=code,
        image=str(one.get("image") or "") if trouble is Trouble.IMAGE else "",
    )


def _wants(obj: Obj) -> tuple[tuple[str, str], ...]:
    """Of its containers, by name; what several ask of the same stands beside each other."""
    found: dict[str, str] = {}
    for container in (obj.get("spec") or {}).get("containers") or ():
        resources = container.get("resources") or {}
        for name, amount in {**(resources.get("limits") or {}), **(resources.get("requests") or {})}.items():
            found[name] = str(amount) if name not in found else f"{found[name]} + {amount}"
    return tuple(sorted(found.items()))


def service_key(obj: Obj) -> ServiceKey | None:
    """Whose it is, by its labels; None where they name no service."""
    meta = obj["metadata"]
    labels = meta.get("labels") or {}
    name = labels.get(SERVICE_LABEL)
    return None if name is None else ServiceKey(labels.get(NAMESPACE_LABEL) or meta.get("namespace") or "", name)


def revision_of(obj: Obj) -> Revision:
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    return Revision(
        meta["name"],
        ServiceKey(meta["namespace"], str(spec.get("service") or "")),
        int(spec.get("number") or 0),
        str(conditions.get("Ready", {}).get("status") or ""),
        str(conditions.get("Ready", {}).get("lastTransitionTime") or ""),
        int(status.get("replicas") or 0),
        int(status.get("readyReplicas") or 0),
    )


def node_of(obj: Obj) -> Node:
    spec, status = obj.get("spec") or {}, obj.get("status") or {}
    taints = tuple(
        f"{one.get('key')}={one['value']}" if one.get("value") else str(one.get("key"))
        for one in spec.get("taints") or ()
        if one.get("effect") != "PreferNoSchedule"
    )
    amounts = status.get("allocatable") or {}
    allocatable = tuple(
        sorted((name, str(amount)) for name, amount in amounts.items() if not name.startswith("hugepages"))
    )
    return Node(obj["metadata"]["name"], allocatable, taints, bool(spec.get("unschedulable")))


def figures_of(found: Mapping[str, Any]) -> Figures:
    """One entry of the controller's `/plimsoll/status`."""
    known = Figures.__dataclass_fields__
    return Figures(**{key: value for key, value in found.items() if key in known and value is not None})


def seconds(stamp: Any) -> float:
    """Of an RFC 3339 time; 0 for none."""
    return datetime.fromisoformat(str(stamp)).timestamp() if stamp else 0.0


def stamp(now: float) -> str:
    """RFC 3339, as metav1.Time is written."""
    return datetime.fromtimestamp(now, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


# --- all of one service -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Seen:
    """All of one service at one moment. `mounts`: what kubelets say of volumes that can't be mounted, by pod."""

    service: ServiceObject
    workloads: Sequence[Workload] = ()
    pods: Sequence[Pod] = ()
    revisions: Sequence[Revision] = ()
    mounts: Mapping[str, str] = field(default_factory=dict)
    routes: Sequence[Owned] = ()
    scaler: str = ""  # why an HPA doesn't scale now
    figures: Figures | None = None
    namespace_ending: bool = False
    nodes: Sequence[Node] = ()

    def workload(self, name: str) -> Workload | None:
        return next((one for one in self.workloads if one.name == name), None)

    def pods_of(self, revision: str) -> list[Pod]:
        return [one for one in self.pods if one.revision == revision and not one.deleting]

    def ready_of(self, workload: Workload) -> int:
        """Ready replicas that both its status and its pods know of. A Deployment's status is of its ReplicaSet's, which
        is of a moment before: it may count pods that are being deleted."""
        return min(workload.ready, sum(one.ready for one in self.pods_of(workload.name)))

    @property
    def ready(self) -> int:
        return sum(map(self.ready_of, self.workloads))
