"""A pod as the controller needs it: what is kept of a watched one, and what its words mean. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from plimsoll.backends.kubernetes.names import METRICS_PORT, REVISION_LABEL, SERVICE_LABEL, SERVING_PORT
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.units import format_duration, parse_duration, parse_quantity
from plimsoll.ports.backend import ReplicaPhase

DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"
SAFE_TO_EVICT = "cluster-autoscaler.kubernetes.io/safe-to-evict"
DO_NOT_DISRUPT = "karpenter.sh/do-not-disrupt"

_IMAGE = frozenset({"ErrImagePull", "ImagePullBackOff", "InvalidImageName", "ErrImageNeverPull", "RegistryUnavailable"})
_CONFIG = frozenset({"CreateContainerConfigError", "CreateContainerError", "RunContainerError", "StartError"})
_BACK_OFF = re.compile(r"back-off (\S+) restarting")
_KILLED = (137, 143)  # SIGKILL and SIGTERM, as shells count
_LONGEST = 500


@dataclass(frozen=True, slots=True)
class Ended:
    """How the last life of a pod's container ended. `ran_s`: how long it ran, in whole seconds."""

    code: int
    reason: str
    message: str
    ran_s: float


@dataclass(frozen=True, slots=True)
class PodSeen:
    """What is kept of a pod. Times: unix seconds. `phase` and `reason`: as far as the pod itself tells them. `load_s`:
    what its startup probe leaves it. `marks`: our annotations, (deletion cost, safe to evict, do not disrupt)."""

    namespace: str
    name: str
    uid: str
    service: str  # NAMESPACE/NAME
    revision: str
    created: float
    phase: ReplicaPhase
    reason: str = ""
    node: str = ""
    ip: str = ""
    serving_port: int = SERVING_PORT
    metrics_port: int = METRICS_PORT
    placed: float | None = None
    pending: str = ""
    began: float | None = None  # the present life of its container
    ready: float | None = None
    running: bool = False
    restarts: int = 0
    back_off_s: float | None = None
    ended: Ended | None = None
    container: str = ""
    cpus: float = 1.0
    memory: str = ""
    load_s: float | None = None
    marks: tuple[str, str, str] = ("", "", "")
    labels: Mapping[str, str] = field(default_factory=dict)


def read_pod(obj: Obj) -> PodSeen | None:
    """None for a pod that is no replica's."""
    meta, spec, status = obj["metadata"], obj.get("spec") or {}, obj.get("status") or {}
    labels, annotations = meta.get("labels") or {}, meta.get("annotations") or {}
    service, revision = labels.get(SERVICE_LABEL), labels.get(REVISION_LABEL)
    if not service or not revision or not spec.get("containers"):
        return None
    container = spec["containers"][0]
    own = _named(status.get("containerStatuses") or (), container["name"])
    conditions = {one["type"]: one for one in status.get("conditions") or ()}
    placed, waiting = conditions.get("PodScheduled"), own.get("state", {}).get("waiting") or {}
    ready = conditions.get("Ready", {}).get("status") == "True"
    phase, reason = _phase(meta, status, own, ready=ready)
    resources = container.get("resources") or {}
    limits, requests = resources.get("limits") or {}, resources.get("requests") or {}
    return PodSeen(
        namespace=meta.get("namespace", "default"),
        name=meta["name"],
        uid=meta.get("uid", ""),
        service=f"{meta.get('namespace', 'default')}/{service}",
        revision=revision,
        created=unix(meta.get("creationTimestamp")) or 0.0,
        phase=phase,
        reason=reason[:_LONGEST],
        node=spec.get("nodeName") or "",
        ip=status.get("podIP") or "",
        serving_port=_port(container, "http", SERVING_PORT),
        metrics_port=_port(container, "metrics", METRICS_PORT),
        placed=_since(placed) if spec.get("nodeName") else None,
        # One with a nominated node only waits for those whose place it takes to end.
        pending="" if spec.get("nodeName") or status.get("nominatedNodeName") else _unschedulable(placed),
        began=unix((own.get("state", {}).get("running") or {}).get("startedAt")),
        ready=_since(conditions["Ready"]) if ready else None,
        running="running" in own.get("state", {}),
        restarts=int(own.get("restartCount") or 0),
        back_off_s=_back_off_s(str(waiting.get("message") or "")),
        ended=_ended(own),
        container=container["name"],
        cpus=parse_quantity(str(requests.get("cpu") or limits.get("cpu") or "1")),
        memory=str(limits.get("memory") or ""),
        load_s=_load_s(container.get("startupProbe")),
        labels=labels,
        marks=(
            annotations.get(DELETION_COST, ""),
            annotations.get(SAFE_TO_EVICT, ""),
            annotations.get(DO_NOT_DISRUPT, ""),
        ),
    )


def why_ended(pod: PodSeen, *, was_ready: bool, load_s: float | None = None) -> str:
    """One line on the end of its last life. `load_s`: what it had to get ready in, where that is known better."""
    ended = pod.ended
    if ended is None:
        return "ended without a reason"
    if ended.reason == "OOMKilled":
        return f"memory limit {pod.memory or 'of the node'} exceeded: the kernel's OOM killer ended it"
    limit_s = pod.load_s if load_s is None else load_s
    if not was_ready and ended.code in _KILLED and limit_s is not None and ended.ran_s + 1.0 >= limit_s:
        return f"load() did not finish within {format_duration(limit_s)}"
    if ended.message and (told := _told(ended.message)):
        return told
    if ended.code > 128:
        return f"killed by signal {ended.code - 128}"
    return f"ended by itself with exit status {ended.code}" if was_ready else (
        f"ended with exit status {ended.code} before it was ready"
    )  # fmt: skip


def unix(text: str | None) -> float | None:
    """Of an RFC 3339 time."""
    return None if not text else datetime.fromisoformat(text).timestamp()


def _told(message: str) -> str:
    """What the replica left as its last word; without one the kubelet took the end of the log: its last line."""
    lines = [line.strip() for line in message.splitlines() if line.strip()]
    if not lines:
        return ""
    line = lines[-1] if lines[0].startswith("{") else lines[0]
    found = re.search(r'"message": ?"((?:[^"\\]|\\.)*)"', line) if line.startswith("{") else None
    return (found[1] if found else line)[:_LONGEST]


def _phase(
    meta: Mapping[str, Any], status: Mapping[str, Any], own: Mapping[str, Any], *, ready: bool
) -> tuple[ReplicaPhase, str]:
    if meta.get("deletionTimestamp"):
        return ReplicaPhase.DRAINING, ""
    if status.get("phase") in {"Failed", "Succeeded"}:
        told = status.get("message") or status.get("reason") or "its pod ended"
        return ReplicaPhase.FAILED, str(told)
    for one in status.get("initContainerStatuses") or ():
        trouble = _trouble(one, f"init container {one.get('name')}: ")
        if trouble is not None:
            return trouble
    trouble = _trouble(own, "")
    if trouble is not None:
        return trouble
    return (ReplicaPhase.READY if ready else ReplicaPhase.STARTING), ""


def _trouble(container: Mapping[str, Any], start: str) -> tuple[ReplicaPhase, str] | None:
    """`start` is "" for the model's own container: its end is told by `why_ended`."""
    state = container.get("state") or {}
    waiting, terminated = state.get("waiting") or {}, state.get("terminated") or {}
    why, message = str(waiting.get("reason") or ""), str(waiting.get("message") or "")
    if why == "CrashLoopBackOff":
        last = (container.get("lastState") or {}).get("terminated") or {}
        told = _told(str(last.get("message") or "")) or f"ended with exit status {last.get('exitCode', '?')}"
        return ReplicaPhase.BACKING_OFF, f"{start}{told}" if start else ""
    if why in _IMAGE:
        return ReplicaPhase.BACKING_OFF, f"{start}image can't be pulled: {message or why}"
    if why in _CONFIG:
        return ReplicaPhase.FAILED, f"{start}{message or why}"
    if terminated and (not start or terminated.get("exitCode")):
        told = _told(str(terminated.get("message") or "")) or f"ended with exit status {terminated.get('exitCode')}"
        return ReplicaPhase.FAILED, f"{start}{told}" if start else ""
    return None


def _ended(own: Mapping[str, Any]) -> Ended | None:
    found = (own.get("state") or {}).get("terminated") or (own.get("lastState") or {}).get("terminated")
    if not found:
        return None
    began, finished = unix(found.get("startedAt")), unix(found.get("finishedAt"))
    return Ended(
        int(found.get("exitCode") or 0),
        str(found.get("reason") or ""),
        str(found.get("message") or "")[-4096:],
        max(0.0, finished - began) if began and finished else 0.0,
    )


def _unschedulable(condition: Mapping[str, Any] | None) -> str:
    """The scheduler's own words; "" where it hasn't looked yet."""
    if condition is None or condition.get("status") != "False":
        return ""
    return str(condition.get("message") or condition.get("reason") or "no node has room for it")[:_LONGEST]


def _since(condition: Mapping[str, Any] | None) -> float | None:
    return None if condition is None else unix(condition.get("lastTransitionTime"))


def _named(statuses: Sequence[Mapping[str, Any]], name: str) -> Mapping[str, Any]:
    return next((one for one in statuses if one.get("name") == name), {})


def _port(container: Mapping[str, Any], name: str, usual: int) -> int:
    return next((int(one["containerPort"]) for one in container.get("ports") or () if one.get("name") == name), usual)


def _load_s(probe: Mapping[str, Any] | None) -> float | None:
    """A startup probe may fail once more than loading may take: that look is not the model's."""
    if not probe:
        return None
    period = int(probe.get("periodSeconds") or 10)
    return float(int(probe.get("initialDelaySeconds") or 0) + period * (int(probe.get("failureThreshold") or 3) - 1))


def _back_off_s(message: str) -> float | None:
    found = _BACK_OFF.search(message)
    try:
        return None if found is None else parse_duration(found[1])
    except ValueError:
        return None
