"""StatefulSets (names that stay, one after another, a claim each) and DaemonSets (one pod a node)."""

import hashlib

from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller
from tests.kube.store import clone, encode

REVISION = "controller-revision-hash"


def _owner_keys(event, kind):
    for owner in event.record.obj["metadata"].get("ownerReferences") or ():
        if owner["kind"] == kind:
            yield event.record.namespace, owner["name"]


def _hash(obj):
    return f"{obj['metadata']['name']}-{hashlib.sha256(encode(obj['spec']['template'])).hexdigest()[:10]}"


class StatefulSets(Controller):
    stores = (("apps", "statefulsets"), pods.PODS)

    def keys(self, event):
        if event.store == self.stores[0]:
            yield event.record.namespace, event.record.name
        else:
            yield from _owner_keys(event, "StatefulSet")

    def reconcile(self, key):
        record = self.api.store.get(self.stores[0], *key)
        if record is None or "deletionTimestamp" in record.obj["metadata"]:
            return
        obj = record.obj
        everything = {pod.name: pod for pod in self.api.store.owned_by(obj["metadata"]["uid"], pods.PODS)}
        self._step(obj, everything)
        self._status(obj)

    def _step(self, obj, found):
        """One thing at a time unless pods are managed in parallel."""
        spec, revision = obj["spec"], _hash(obj)
        parallel = spec.get("podManagementPolicy") == "Parallel"
        names = [f"{obj['metadata']['name']}-{place}" for place in range(spec.get("replicas", 1))]
        kind = self.api.kind("v1", "Pod")
        for place, name in enumerate(names):
            pod = found.get(name)
            if pod is None:
                self._make(obj, name, place, revision)
            elif pods.is_over(pod.obj):
                self.api.delete_now(kind, pod.namespace, name, 0)
            if not parallel and (pod is None or not pods.is_ready(pod.obj)):
                return
        spare = sorted((pod for name, pod in found.items() if name not in names), key=lambda pod: _ordinal(pod.name))
        stale = [found[name] for name in names if name in found and found[name].labels.get(REVISION) != revision]
        for pod in reversed(spare or stale):
            if "deletionTimestamp" not in pod.obj["metadata"]:
                self.api.delete_now(kind, pod.namespace, pod.name)
            if not parallel:
                return

    def _make(self, obj, name, place, revision):
        namespace = obj["metadata"]["namespace"]
        claims = obj["spec"].get("volumeClaimTemplates") or []
        for claim in claims:
            claim_name = f"{claim['metadata']['name']}-{name}"
            if self.api.store.get(("", "persistentvolumeclaims"), namespace, claim_name) is None:
                labels = claim["metadata"].get("labels") or {}
                meta = {"name": claim_name, "namespace": namespace, "labels": labels}
                body = {"metadata": meta, "spec": clone(claim["spec"]), "status": {"phase": "Bound"}}
                self.api.create_now("v1", "PersistentVolumeClaim", body)

        def change(pod):
            pod["spec"]["hostname"] = name
            volumes = pod["spec"].setdefault("volumes", [])
            for claim in claims:
                source = {"claimName": f"{claim['metadata']['name']}-{name}"}
                volumes.append({"name": claim["metadata"]["name"], "persistentVolumeClaim": source})

        labels = {REVISION: revision, "statefulset.kubernetes.io/pod-name": name,
                  "apps.kubernetes.io/pod-index": str(place)}  # fmt: skip
        pods.make(self.api, obj, obj["spec"]["template"], name=name, labels=labels, change=change)

    def _status(self, obj):
        found = pods.owned(self.api.store, obj)
        revision = _hash(obj)
        updated = [pod for pod in found if pod.labels.get(REVISION) == revision]
        ready = sum(pods.is_ready(pod.obj) for pod in found)
        done = len(updated) == len(found) == ready == obj["spec"].get("replicas", 1)
        before = obj.get("status") or {}
        status = {
            "observedGeneration": obj["metadata"]["generation"],
            "replicas": len(found),
            "readyReplicas": ready,
            "availableReplicas": ready,
            "updatedReplicas": len(updated),
            "currentReplicas": len(updated) if done else len(found) - len(updated),
            "updateRevision": revision,
            "currentRevision": revision if done else before.get("currentRevision", revision),
        }
        pods.write_status(self.api, self.api.kind("apps/v1", "StatefulSet"), obj, status)


def _ordinal(name):
    return int(name.rpartition("-")[2])


class DaemonSets(Controller):
    stores = (("apps", "daemonsets"), ("", "nodes"), pods.PODS)

    def keys(self, event):
        if event.store == self.stores[0]:
            yield event.record.namespace, event.record.name
        elif event.store == self.stores[1]:
            if event.type != "MODIFIED":
                yield from ((one.namespace, one.name) for one in self.api.store.list(self.stores[0]))
        else:
            yield from _owner_keys(event, "DaemonSet")

    def reconcile(self, key):
        record = self.api.store.get(self.stores[0], *key)
        if record is None or "deletionTimestamp" in record.obj["metadata"]:
            return
        obj = record.obj
        selector = (obj["spec"]["template"].get("spec") or {}).get("nodeSelector") or {}
        nodes = {
            node.name
            for node in self.api.store.list(("", "nodes"))
            if all(node.labels.get(name) == value for name, value in selector.items())
        }
        found, revision = pods.owned(self.api.store, obj), _hash(obj)
        kind = self.api.kind("v1", "Pod")
        for pod in found:
            if pod.obj["spec"].get("nodeName") not in nodes or pod.labels.get(REVISION) != revision:
                self.api.delete_now(kind, pod.namespace, pod.name)
        taken = {pod.obj["spec"].get("nodeName") for pod in pods.owned(self.api.store, obj)}
        for node in sorted(nodes - taken):
            pods.make(self.api, obj, obj["spec"]["template"], labels={REVISION: revision},
                      change=lambda pod, node=node: pod["spec"].update(nodeName=node))  # fmt: skip
        found = pods.owned(self.api.store, obj)
        ready = sum(pods.is_ready(pod.obj) for pod in found)
        status = {
            "observedGeneration": obj["metadata"].get("generation", 1),
            "desiredNumberScheduled": len(nodes),
            "currentNumberScheduled": len(found),
            "updatedNumberScheduled": len(found),
            "numberReady": ready,
            "numberAvailable": ready,
            "numberMisscheduled": 0,
        }
        pods.write_status(self.api, self.api.kind("apps/v1", "DaemonSet"), obj, status)
