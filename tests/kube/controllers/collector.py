"""The garbage collector (what has lost all its owners goes, in the background) and the end of namespaces."""

from tests.kube.api import Stale
from tests.kube.controllers.base import Controller


class GarbageCollector(Controller):
    """Keys: uids of objects that went; and (store, namespace, name) of those that name owners."""

    def keys(self, event):
        meta = event.record.obj["metadata"]
        if event.type == "DELETED":
            yield meta["uid"]
        elif meta.get("ownerReferences"):
            yield event.store, event.record.namespace, event.record.name
        if "foregroundDeletion" in (meta.get("finalizers") or ()) and "deletionTimestamp" in meta:
            yield event.store, event.record.namespace, event.record.name

    def reconcile(self, key):
        if isinstance(key, str):
            for dependent in tuple(self.api.store.owned.pop(key, ())):
                self.add(dependent)
            return
        store, namespace, name = key
        record = self.api.store.get(store, namespace, name)
        kind = self.api.registry.any_version(*store)
        if record is None or kind is None:
            return
        owners = record.obj["metadata"].get("ownerReferences") or []
        left = [owner for owner in owners if self._exists(owner, namespace)]
        if owners and not left:
            self.api.delete_now(kind, namespace, name)
        return

    def _exists(self, owner, namespace):
        kind = self.api.registry.by_kind(owner["apiVersion"], owner["kind"])
        if kind is None:
            return False
        found = self.api.store.get(kind.store, namespace if kind.namespaced else "", owner["name"])
        return found is not None and found.obj["metadata"]["uid"] == owner["uid"]


class Namespaces(Controller):
    """Every namespace has its default ServiceAccount and the cluster's CA; one that ends loses all it holds."""

    stores = None

    def keys(self, event):
        if event.store == ("", "namespaces"):
            yield event.record.name
        elif event.type == "DELETED" and event.record.namespace:
            found = self.api.store.get(("", "namespaces"), "", event.record.namespace)
            if found is not None and "deletionTimestamp" in found.obj["metadata"]:
                yield event.record.namespace

    def reconcile(self, key):
        found = self.api.store.get(("", "namespaces"), "", key)
        if found is None:
            return None
        if "deletionTimestamp" not in found.obj["metadata"]:
            if self.api.store.get(("", "serviceaccounts"), key, "default") is None:
                self.api.create_now("v1", "ServiceAccount", {"metadata": {"name": "default", "namespace": key}})
            return None
        left = 0
        for store, records in list(self.api.store.objects.items()):
            kind = self.api.registry.any_version(*store)
            if kind is None or not kind.namespaced:
                continue
            for namespace, name in [place for place in records if place[0] == key]:
                left += 1
                self._delete(kind, namespace, name)
        if any(place[0] == key for records in self.api.store.objects.values() for place in records):
            return None if left else 0.1

        def finalize(namespace):
            namespace["spec"]["finalizers"] = []

        self.api.change_now(self.api.kind("v1", "Namespace"), "", key, finalize)
        return None

    def _delete(self, kind, namespace, name):
        record = self.api.store.get(kind.store, namespace, name)
        if record is None or "deletionTimestamp" in record.obj["metadata"]:
            return
        try:
            self.api.delete_now(kind, namespace, name)
        except Stale:
            self.later(namespace, 0.01)
