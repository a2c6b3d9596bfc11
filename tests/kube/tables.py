"""metav1.Table, as `kubectl get` prints it: printer columns, a few built-in kinds, else NAME and AGE."""

import datetime
import re


def table(kind, records, rv, wide_objects="Metadata"):
    columns = _columns(kind)
    rows = [row(kind, record.obj, columns, wide_objects) for record in records]
    definitions = [{"name": name, "type": sort, "format": "name" if name == "Name" else "", "description": "",
                    "priority": priority} for name, sort, priority, _ in columns]  # fmt: skip
    return {"kind": "Table", "apiVersion": "meta.k8s.io/v1", "metadata": {"resourceVersion": str(rv)},
            "columnDefinitions": definitions, "rows": rows}  # fmt: skip


def row(kind, obj, columns=None, include="Metadata"):
    cells = [cell(obj) for _, _, _, cell in columns or _columns(kind)]
    found = {"cells": cells}
    if include == "Object":
        found["object"] = obj
    elif include == "Metadata":
        found["object"] = {"kind": "PartialObjectMetadata", "apiVersion": "meta.k8s.io/v1", "metadata": obj["metadata"]}
    return found


def _name(obj):
    return obj["metadata"]["name"]


def age(text):
    if not text:
        return "<unknown>"
    then = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    seconds = max(0, int((datetime.datetime.now(datetime.UTC) - then).total_seconds()))
    for size, unit in ((86400, "d"), (3600, "h"), (60, "m")):
        if seconds >= 2 * size:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def _columns(kind):
    """(name, type, priority, cell of an object)."""
    first = ("Name", "string", 0, _name)
    if kind.crd is not None and (listed := kind.crd.get("additionalPrinterColumns")):
        return [first, *(_printer(column) for column in listed)]
    if kind.crd is None and kind.kind in _BUILT_IN:
        middle = [(name, "string", 0, cell) for name, cell in _BUILT_IN[kind.kind]]
        return [first, *middle, _AGE]
    return [first, _AGE]


_AGE = ("Age", "string", 0, lambda obj: age(obj["metadata"].get("creationTimestamp")))


def _printer(column):
    path = column["jsonPath"]

    def cell(obj):
        value = jsonpath(obj, path)
        if value is None:
            return None
        if column["type"] == "date":
            return age(value)
        return value if column["type"] in ("integer", "number", "boolean") else str(value)

    sort = "string" if column["type"] == "date" else column["type"]
    return column["name"], sort, column.get("priority", 0), cell


_STEP = re.compile(r"""\.([A-Za-z0-9_/-]+)|\[(\d+)\]|\['([^']+)'\]|\[\?\(@\.(\w+)\s*==\s*["']([^"']*)["']\)\]|\[\*\]""")


def jsonpath(obj, path):
    """The subset that printer columns use: `.a.b[0]`, `['x.y/z']`, `[?(@.type=="Ready")]`. None where nothing is."""
    path = path.strip("{}")
    for match in _STEP.finditer(path.replace(r"\.", "\0")):
        name, place, quoted, key, wanted = (part.replace("\0", ".") if part else part for part in match.groups())
        if place is not None:
            obj = obj[int(place)] if isinstance(obj, list) and len(obj) > int(place) else None
        elif key is not None:
            obj = next((one for one in obj or () if one.get(key) == wanted), None)
        else:
            obj = obj.get(name or quoted) if isinstance(obj, dict) else None
        if obj is None:
            return None
    return obj


def _status(obj, *names):
    return [(obj.get("status") or {}).get(name) or 0 for name in names]


def _pod_ready(obj):
    found = (obj.get("status") or {}).get("containerStatuses") or []
    return f"{sum(bool(one.get('ready')) for one in found)}/{len(obj['spec'].get('containers') or ())}"


def _pod_status(obj):
    if "deletionTimestamp" in obj["metadata"]:
        return "Terminating"
    for one in (obj.get("status") or {}).get("containerStatuses") or ():
        for state in ("waiting", "terminated"):
            if reason := (one.get("state") or {}).get(state, {}).get("reason"):
                return reason
    return (obj.get("status") or {}).get("phase", "Pending")


def _node_status(obj):
    conditions = (obj.get("status") or {}).get("conditions") or ()
    ready = any(one["type"] == "Ready" and one["status"] == "True" for one in conditions)
    return ("Ready" if ready else "NotReady") + (",SchedulingDisabled" if obj["spec"].get("unschedulable") else "")


def _pod_restarts(obj):
    return str(sum(one.get("restartCount", 0) for one in (obj.get("status") or {}).get("containerStatuses") or ()))


def _concerned(obj):
    found = obj.get("involvedObject") or {}
    return f"{found.get('kind', '').lower()}/{found.get('name', '')}"


_BUILT_IN = {
    "Pod": [("Ready", _pod_ready), ("Status", _pod_status), ("Restarts", _pod_restarts)],
    "Deployment": [
        ("Ready", lambda obj: f"{_status(obj, 'readyReplicas')[0]}/{obj['spec'].get('replicas', 1)}"),
        ("Up-to-date", lambda obj: str(_status(obj, "updatedReplicas")[0])),
        ("Available", lambda obj: str(_status(obj, "availableReplicas")[0])),
    ],
    "StatefulSet": [("Ready", lambda obj: f"{_status(obj, 'readyReplicas')[0]}/{obj['spec'].get('replicas', 1)}")],
    "Node": [("Status", _node_status)],
    "Namespace": [("Status", lambda obj: (obj.get("status") or {}).get("phase", "Active"))],
    "Service": [
        ("Type", lambda obj: obj["spec"].get("type", "ClusterIP")),
        ("Cluster-IP", lambda obj: obj["spec"].get("clusterIP", "<none>")),
    ],
    "Event": [
        ("Type", lambda obj: obj.get("type", "")),
        ("Reason", lambda obj: obj.get("reason", "")),
        ("Object", _concerned),
        ("Message", lambda obj: obj.get("message", "")),
    ],
}  # fmt: skip
