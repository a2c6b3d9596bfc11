"""The end of nodes: one whose Lease is old is Unknown and its pods aren't ready; later its pods go."""

import datetime

from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller

NODES, LEASES = ("", "nodes"), ("coordination.k8s.io", "leases")
LEASE_NAMESPACE = "kube-node-lease"


class NodeLifecycle(Controller):
    """`grace_s`: how old a Lease may be; `evict_s`: how long after that its pods are deleted. Kubernetes: 40 and 300 s.
    Nodes without a Lease are left alone."""

    stores = (NODES, LEASES)
    grace_s, evict_s = 8.0, 10.0

    _blind = False
    _since = datetime.datetime.fromtimestamp(0, datetime.UTC)  # Leases that end before count from here

    def blind(self, so):
        """Nobody can renew a Lease meanwhile; as with a controller manager that goes and comes with its server."""
        self._since, self._blind = datetime.datetime.now(datetime.UTC), so

    def keys(self, event):
        if event.store == NODES or event.record.namespace == LEASE_NAMESPACE:
            yield event.record.name

    def reconcile(self, key):
        node, lease = self.api.store.get(NODES, "", key), self.api.store.get(LEASES, LEASE_NAMESPACE, key)
        if node is None or lease is None:
            return None
        renewed = datetime.datetime.fromisoformat(lease.obj["spec"]["renewTime"].replace("Z", "+00:00"))
        if self._blind:
            return 1.0
        age_s = (datetime.datetime.now(datetime.UTC) - max(renewed, self._since)).total_seconds()
        if age_s <= self.grace_s:
            self._taint(node.obj, [])
            return self.grace_s - age_s + 0.05
        self._unknown(node.obj)
        self._taint(node.obj, ["NoSchedule", "NoExecute"])
        evicts = age_s > self.grace_s + self.evict_s
        kind = self.api.kind("v1", "Pod")
        for pod in self.api.store.list(pods.PODS):
            if pod.obj["spec"].get("nodeName") != key:
                continue
            if pods.is_ready(pod.obj):
                self.api.change_now(kind, pod.namespace, pod.name, _not_ready, "status")
            if evicts and "deletionTimestamp" not in pod.obj["metadata"]:
                self.api.delete_now(kind, pod.namespace, pod.name)
        return 1.0

    def _unknown(self, node):
        found = pods.condition(node, "Ready")
        if found is None or found["status"] == "Unknown":
            return

        def change(obj):
            old = obj["status"]["conditions"]
            text = "Kubelet stopped posting node status."
            obj["status"]["conditions"] = pods.set_condition(old, "Ready", "Unknown", "NodeStatusUnknown", text)

        self.api.change_now(self.api.kind("v1", "Node"), "", node["metadata"]["name"], change, "status")

    def _taint(self, node, effects):
        name = "node.kubernetes.io/unreachable"
        before = node["spec"].get("taints") or []
        after = [one for one in before if one["key"] != name] + [{"key": name, "effect": one} for one in effects]
        if before != after:
            self.api.change_now(self.api.kind("v1", "Node"), "", node["metadata"]["name"],
                                lambda obj: obj["spec"].update(taints=after))  # fmt: skip


def _not_ready(pod):
    for kind in ("Ready", "ContainersReady"):
        old = pod["status"].get("conditions") or []
        pod["status"]["conditions"] = pods.set_condition(old, kind, "False", "NodeNotReady", "")
