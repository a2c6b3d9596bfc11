"""Deployments make their pods themselves, without ReplicaSets between; else surge and deadlines as everybody knows."""

import hashlib
import math

from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller
from tests.kube.store import encode

HASH = "pod-template-hash"
STORE = ("apps", "deployments")


class Deployments(Controller):
    stores = (STORE, pods.PODS)

    def keys(self, event):
        if event.store == STORE:
            yield event.record.namespace, event.record.name
            return
        for owner in event.record.obj["metadata"].get("ownerReferences") or ():
            if owner["kind"] == "Deployment":
                yield event.record.namespace, owner["name"]

    def reconcile(self, key):
        record = self.api.store.get(STORE, *key)
        if record is None or "deletionTimestamp" in record.obj["metadata"]:
            return None
        obj = record.obj
        look = _Look(obj, pods.owned(self.api.store, obj))
        if not obj["spec"].get("paused"):
            self._roll(obj, look)
            look = _Look(obj, pods.owned(self.api.store, obj))
        self._status(obj, look)
        return look.next_s

    def _roll(self, obj, look):
        for _ in range(look.to_add()):
            pods.make(self.api, obj, obj["spec"]["template"], labels={HASH: look.hash})
        kind = self.api.kind("v1", "Pod")
        for pod in look.to_remove():
            self.api.delete_now(kind, pod.namespace, pod.name)

    def _status(self, obj, look):
        before = obj.get("status") or {}
        wanted, ready, available = look.wanted, look.count(look.all, ready=True), look.count(look.all)
        updated = len(look.new)
        conditions = before.get("conditions") or []
        enough = available >= wanted - look.unavailable
        conditions = pods.set_condition(
            conditions,
            "Available",
            "True" if enough else "False",
            "MinimumReplicasAvailable" if enough else "MinimumReplicasUnavailable",
            "Deployment has minimum availability." if enough else "Deployment does not have minimum availability.",
        )
        conditions = self._progress(obj, look, conditions, before)
        status = {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": len(look.all),
            "updatedReplicas": updated,
            "readyReplicas": ready,
            "availableReplicas": available,
            "unavailableReplicas": max(0, len(look.all) - available, wanted - available),
            "conditions": conditions,
        }
        pods.write_status(self.api, self.api.kind("apps/v1", "Deployment"), obj, status)

    def _progress(self, obj, look, conditions, before):
        done = not look.old and len(look.new) == look.wanted == look.count(look.new)
        if done:
            text = f'ReplicaSet "{obj["metadata"]["name"]}-{look.hash}" has successfully progressed.'
            return pods.set_condition(conditions, "Progressing", "True", "NewReplicaSetAvailable", text)
        now = (before.get("updatedReplicas", 0), before.get("readyReplicas", 0), before.get("observedGeneration"))
        then = len(look.new), look.count(look.all, ready=True), obj["metadata"]["generation"]
        old = pods.condition({"status": {"conditions": conditions}}, "Progressing")
        name = f"{obj['metadata']['name']}-{look.hash}"
        if now != then or old is None:
            others = [one for one in conditions if one["type"] != "Progressing"]
            text = f'ReplicaSet "{name}" is progressing.'
            return pods.set_condition(others, "Progressing", "True", "ReplicaSetUpdated", text)
        if old["status"] != "True" or old["reason"] == "NewReplicaSetAvailable":
            return conditions
        left = obj["spec"]["progressDeadlineSeconds"] - pods.seconds_since(old["lastUpdateTime"])
        if left <= 0:
            text = f'ReplicaSet "{name}" has timed out progressing.'
            return pods.set_condition(conditions, "Progressing", "False", "ProgressDeadlineExceeded", text)
        look.next_s = min(look.next_s or left + 0.1, left + 0.1)
        return conditions


class _Look:
    """A Deployment and its pods, and what should become of them."""

    def __init__(self, obj, found):
        spec = obj["spec"]
        self.hash = hashlib.sha256(encode(spec["template"])).hexdigest()[:10]
        self.wanted = spec.get("replicas", 1)
        self.all = found
        self.new = [pod for pod in found if pod.labels.get(HASH) == self.hash]
        self.old = [pod for pod in found if pod.labels.get(HASH) != self.hash]
        self._min_ready_s = spec.get("minReadySeconds", 0)
        self._recreate = spec["strategy"]["type"] == "Recreate"
        rolling = spec["strategy"].get("rollingUpdate") or {}
        self.surge = _share(rolling.get("maxSurge", "25%"), self.wanted, math.ceil)
        self.unavailable = _share(rolling.get("maxUnavailable", "25%"), self.wanted, math.floor)
        if self.surge == self.unavailable == 0:
            self.unavailable = 1
        waits = self._min_ready_s and any(pods.is_ready(pod.obj) for pod in found)
        self.next_s = 0.5 if waits and self.count(found) < len(found) else None

    def count(self, which, ready=False):
        """How many are available (or ready)."""
        return sum(pods.is_available(pod.obj, 0 if ready else self._min_ready_s) for pod in which)

    def to_add(self):
        if self._recreate and self.old:
            return 0
        return max(0, min(self.wanted - len(self.new), self.wanted + self.surge - len(self.all)))

    def to_remove(self):
        order = sorted(self.new, key=pods.first_to_go)
        yield from order[: max(0, len(self.new) - self.wanted)]
        if self._recreate:
            yield from self.old
            return
        old = sorted(self.old, key=pods.first_to_go)
        broken = [pod for pod in old if not pods.is_available(pod.obj, self._min_ready_s)]
        serving = self.count(self.all)
        room = max(0, serving - (self.wanted - self.unavailable))
        # old pods that don't serve cost nothing; those that do go as far as enough are left
        yield from broken[: max(0, len(self.all) - (self.wanted - self.unavailable))]
        yield from [pod for pod in old if pod not in broken][:room]


def _share(value, of, rounded):
    if isinstance(value, str) and value.endswith("%"):
        return rounded(of * int(value[:-1]) / 100)
    return int(value)
