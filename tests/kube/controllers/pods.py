"""What controllers that make pods share: whose they are, which are ready, which go first."""

import datetime

from tests.kube import defaults
from tests.kube.api import timestamp
from tests.kube.store import clone

PODS = ("", "pods")
DELETION_COST = "controller.kubernetes.io/pod-deletion-cost"


def owned(store, owner):
    """Pods of `owner` that aren't over and aren't going."""
    found = store.owned_by(owner["metadata"]["uid"], PODS)
    return [pod for pod in found if "deletionTimestamp" not in pod.obj["metadata"] and not is_over(pod.obj)]


def is_over(pod):
    return (pod.get("status") or {}).get("phase") in ("Failed", "Succeeded")


def condition(obj, kind):
    return next((one for one in (obj.get("status") or {}).get("conditions") or () if one["type"] == kind), None)


def is_ready(pod):
    found = condition(pod, "Ready")
    return found is not None and found["status"] == "True"


def seconds_since(text):
    then = datetime.datetime.fromisoformat(text.replace("Z", "+00:00"))
    return (datetime.datetime.now(datetime.UTC) - then).total_seconds()


def is_available(pod, min_ready_s):
    return is_ready(pod) and (
        not min_ready_s or seconds_since(condition(pod, "Ready")["lastTransitionTime"]) >= min_ready_s
    )


def first_to_go(pod):
    """The order in which a ReplicaSet deletes: without a node, not ready, cheap by annotation, younger."""
    obj = pod.obj
    cost = int((obj["metadata"].get("annotations") or {}).get(DELETION_COST, "0"))
    born = datetime.datetime.fromisoformat(obj["metadata"]["creationTimestamp"].replace("Z", "+00:00")).timestamp()
    return bool(obj["spec"].get("nodeName")), is_ready(obj), cost, -born


def make(api, owner, template, *, name=None, labels=None, change=None):
    """A pod from a template, owned by `owner`."""
    meta = owner["metadata"]
    template = clone(template)
    pod = {
        "metadata": {
            **(template.get("metadata") or {}),
            "namespace": meta["namespace"],
            "name": name or f"{meta['name']}-{defaults.suffix()}",
            "ownerReferences": [reference(owner)],
        },
        "spec": template.get("spec") or {},
    }
    pod["metadata"].pop("creationTimestamp", None)
    pod["metadata"]["labels"] = {**(pod["metadata"].get("labels") or {}), **(labels or {})}
    if change is not None:
        change(pod)
    return api.create_now("v1", "Pod", pod)


def reference(owner):
    meta = owner["metadata"]
    return {
        "apiVersion": owner["apiVersion"],
        "kind": owner["kind"],
        "name": meta["name"],
        "uid": meta["uid"],
        "controller": True,
        "blockOwnerDeletion": True,
    }


def set_condition(conditions, kind, status, reason, message):
    """Returns the list with that condition; `lastTransitionTime` stays where the status does."""
    now = timestamp()
    old = next((one for one in conditions if one["type"] == kind), None)
    same = old is not None and old["status"] == status
    new = {"type": kind, "status": status, "reason": reason, "message": message}
    new["lastTransitionTime"] = old["lastTransitionTime"] if same else now
    unchanged = same and old.get("reason", "") == reason and old.get("message", "") == message
    new["lastUpdateTime"] = old.get("lastUpdateTime", now) if unchanged else now
    return [*(one for one in conditions if one["type"] != kind), new]


def write_status(api, kind, obj, status):
    """Zeros are left out, as Kubernetes' own controllers do."""
    kept = {key: value for key, value in status.items() if value not in (0, None, [])}
    if (obj.get("status") or {}) == kept:
        return

    def change(found):
        found["status"] = kept

    api.change_now(kind, obj["metadata"].get("namespace", ""), obj["metadata"]["name"], change, "status")
