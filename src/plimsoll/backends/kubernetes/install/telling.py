"""A service on a cluster in the words of the local status, so that one table shows both; and its events. Pure."""

import datetime
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from plimsoll.backends.kubernetes.conditions import Reason
from plimsoll.backends.kubernetes.names import REVISION_LABEL, SERVICE_LABEL
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.units import parse_duration, parse_share

CONTAINER = "model"
_GOING = {Reason.STARTING, Reason.ROLLING_OUT}
# Of a container that waits; whatever else it waits for is its start.
_FAILING = ("CrashLoopBackOff", "ImagePullBackOff", "ErrImagePull", "CreateContainerConfigError", "InvalidImageName")


def told_of(service: Mapping[str, Any], pods: Iterable[Obj], *, spaced: bool = False) -> Obj:
    """One ModelService as the admin API's ServiceStatus. `spaced`: its name with its namespace before it."""
    meta, spec, status = service["metadata"], service.get("spec") or {}, service.get("status") or {}
    scaling, budget = spec.get("scaling") or {}, spec.get("budget") or {}
    conditions = {one["type"]: one for one in status.get("conditions") or []}
    latency = budget.get("latency") or {}
    least = scaling.get("minReplicas", 1)
    most = scaling.get("maxReplicas") or max(1, least)
    by_hand = spec.get("replicas")
    wanted = by_hand if by_hand is not None else status.get("desiredReplicas", least)
    phase, message = _phase(conditions)
    return {
        "name": f"{meta.get('namespace')}/{meta['name']}" if spaced else meta["name"],
        "namespace": meta.get("namespace"),
        "revision": status.get("revision") or "",
        "revision_number": "",
        "new_revision": status.get("newRevision") or "",
        "replicas": {"ready": status.get("readyReplicas", 0), "wanted": wanted},
        "requests_per_s": _number(status.get("requestsPerSecond")),
        "latency": {f"{key}_s": _seconds(status.get(key)) for key in ("p50", "p95", "p99")},
        "budget": {f"{key}_s": _seconds(latency.get(key)) for key in ("p50", "p95", "p99")}
        | {"error_rate": _share(budget.get("errorRate"))},
        "error_share": _share(status.get("errorRate")),
        "phase": phase,
        "message": message,
        "url": status.get("url") or "",
        "instances": [instance_of(pod) for pod in pods],
        "scaling": {"min_replicas": least, "max_replicas": most, "by_hand": by_hand},
        "fallback": [],
        "hints": _hints(conditions),
        "not_honoured": [],
    }


def _phase(conditions: Mapping[str, Obj]) -> tuple[str, str]:
    """(Ready | Progressing | Degraded | Failed, what is wrong)."""
    ready = conditions.get("Ready")
    if ready is None:
        return "Progressing", "the operator hasn't seen it yet; is it running? kubectl get pods -n plimsoll-system"
    words = str(ready.get("message", ""))
    if ready["status"] == "True":
        return ("Degraded", words) if ready.get("reason") == Reason.REVISION_FAILED else ("Ready", words)
    if ready["status"] == "Unknown" or ready.get("reason") in _GOING:
        return "Progressing", words
    return "Failed", f"{ready.get('reason')}: {words}"


def _hints(conditions: Mapping[str, Obj]) -> list[str]:
    """What else isn't as it should be."""
    return [
        f"{kind}: {one.get('message') or one.get('reason')}"
        for kind, one in conditions.items()
        if kind not in ("Ready", "ModelLoaded") and one.get("status") == "False"
    ]


def instance_of(pod: Mapping[str, Any]) -> Obj:
    """One pod as a replica of the local status."""
    meta, status = pod["metadata"], pod.get("status") or {}
    containers = status.get("containerStatuses") or []
    main: Mapping[str, Any] = next((one for one in containers if one.get("name") == CONTAINER), {})
    reason = _why(status, main)
    return {
        "id": meta["name"],
        "revision": (meta.get("labels") or {}).get(REVISION_LABEL, ""),
        "phase": _pod_phase(meta, status, main, reason),
        "pid": None,
        "restarts": sum(int(one.get("restartCount", 0)) for one in containers),
        "reason": reason,
        "node": (pod.get("spec") or {}).get("nodeName") or "",
        "log_tail": _last_words(main),
    }


def _pod_phase(meta: Mapping[str, Any], status: Mapping[str, Any], main: Mapping[str, Any], reason: str) -> str:
    if meta.get("deletionTimestamp"):
        return "draining"
    if any(one["type"] == "Ready" and one["status"] == "True" for one in status.get("conditions") or []):
        return "ready"
    waiting = ((main.get("state") or {}).get("waiting") or {}).get("reason", "")
    if waiting == "CrashLoopBackOff":
        return "backing_off"
    if waiting in _FAILING or status.get("phase") == "Failed":
        return "failed"
    return "starting"


def _why(status: Mapping[str, Any], main: Mapping[str, Any]) -> str:
    """Why a pod isn't ready, as the scheduler or the kubelet say it."""
    for one in status.get("conditions") or []:
        if one["type"] == "PodScheduled" and one["status"] == "False":
            return str(one.get("message") or one.get("reason") or "not scheduled")
    for one in status.get("initContainerStatuses") or []:
        ended = (one.get("state") or {}).get("terminated") or {}
        waits = (one.get("state") or {}).get("waiting") or {}
        if ended.get("exitCode") or waits.get("reason") in _FAILING:
            words = ended.get("message") or waits.get("message") or waits.get("reason") or "failed"
            return f"{one['name']}: {words}".strip()
    waiting = (main.get("state") or {}).get("waiting") or {}
    if waiting.get("reason") in _FAILING:
        return ": ".join(part for part in (waiting.get("reason"), waiting.get("message")) if part)
    return ""


def _last_words(main: Mapping[str, Any]) -> list[str]:
    """What the replica left where the kubelet looks for it."""
    for state in ("state", "lastState"):
        ended = (main.get(state) or {}).get("terminated") or {}
        if ended.get("message"):
            return str(ended["message"]).splitlines()
    return []


def _seconds(text: object) -> float | None:
    try:
        return parse_duration(str(text)) if text else None
    except ValueError:
        return None


def _share(text: object) -> float | None:
    try:
        return parse_share(str(text)) if text else None
    except ValueError:
        return None


def _number(text: object) -> float | None:
    try:
        return float(str(text).replace(",", "")) if text not in (None, "") else None
    except ValueError:
        return None


def event_of(event: Mapping[str, Any], service: str) -> Obj:
    """A Kubernetes event as one of the admin API's."""
    at = event.get("eventTime") or event.get("lastTimestamp") or event["metadata"].get("creationTimestamp") or ""
    count = int(event.get("count") or (event.get("series") or {}).get("count") or 1)
    about = (event.get("involvedObject") or {}).get("name", "")
    words = str(event.get("message") or event.get("note") or event.get("reason") or "")
    where = f"{about}: " if about and about != service else ""
    return {
        "seq": event["metadata"].get("uid", ""),
        "at": unix(at),
        "service": service,
        "kind": str(event.get("reason") or ""),
        "level": "warning" if event.get("type") == "Warning" else "info",
        "message": f"{where}{words}" + (f" (x{count})" if count > 1 else ""),
    }


def unix(stamp: str) -> float:
    """RFC 3339 to seconds since 1970; 0.0 for none."""
    try:
        return datetime.datetime.fromisoformat(stamp.replace("Z", "+00:00")).timestamp()
    except ValueError:
        return 0.0


def about(event: Mapping[str, Any], owners: Mapping[tuple[str, str], str]) -> str | None:
    """Which service an event is about; None: none of those. `owners`: (namespace, object) to service."""
    involved = event.get("involvedObject") or {}
    return owners.get((str(involved.get("namespace", "")), str(involved.get("name", ""))))


def owners_of(services: Sequence[Obj], objects: Iterable[Obj]) -> dict[tuple[str, str], str]:
    """(namespace, name) of what belongs to a service, itself included, to its name."""
    found = {
        (one["metadata"].get("namespace", ""), one["metadata"]["name"]): one["metadata"]["name"] for one in services
    }
    for obj in objects:
        service = (obj["metadata"].get("labels") or {}).get(SERVICE_LABEL)
        if service:
            found.setdefault((obj["metadata"].get("namespace", ""), obj["metadata"]["name"]), service)
    return found
