"""A kubelet without processes: every pod gets a node and an address and is ready at once, or when a test says so.

cluster = FakeCluster(hollow=True)          # all pods ready at once
cluster.hollow.hold = lambda pod: True      # they run, but aren't ready
cluster.hollow.set(pod_name, namespace, ready=True)
"""

from tests.kube.api import timestamp
from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller

NODE = "hollow-0"


class HollowKubelet(Controller):
    """`hold(pod)`: whether this pod stays unready. `terminates_s`: how long one takes to go."""

    stores = (pods.PODS,)

    def __init__(self, api, terminates_s=0.0):
        super().__init__(api)
        self.hold = lambda pod: False
        self.terminates_s = terminates_s
        self._addresses = 0
        self._going = set()

    def keys(self, event):
        if event.type != "DELETED":
            yield event.record.namespace, event.record.name

    def reconcile(self, key):
        record = self.api.store.get(pods.PODS, *key)
        if record is None:
            return None
        kind = self.api.kind("v1", "Pod")
        if "deletionTimestamp" in record.obj["metadata"]:
            uid = record.obj["metadata"]["uid"]
            if uid in self._going or not self.terminates_s:
                self.api.delete_now(kind, *key, 0)
                return None
            self._going.add(uid)
            return self.terminates_s
        pod = record.obj
        if not pod["spec"].get("nodeName"):
            self.api.change_now(kind, *key, lambda obj: obj["spec"].update(nodeName=NODE))
        if not (pod.get("status") or {}).get("podIP"):
            self.set(key[1], key[0], ready=not self.hold(pod))
        return None

    def set(self, name, namespace, ready=True):
        """Says that a pod is ready, or isn't."""
        now = timestamp()

        def change(pod):
            status = pod.setdefault("status", {})
            if not status.get("podIP"):
                self._addresses += 1
                status["podIP"] = f"10.0.{self._addresses // 250}.{self._addresses % 250 + 1}"
                status["podIPs"] = [{"ip": status["podIP"]}]
                status["startTime"] = now
            status["phase"] = "Running"
            conditions = status.get("conditions") or []
            for kind, value in (("PodScheduled", True), ("Initialized", True), ("ContainersReady", ready),
                                ("Ready", ready)):  # fmt: skip
                conditions = pods.set_condition(conditions, kind, "True" if value else "False", "", "")
            status["conditions"] = [{key: one[key] for key in ("type", "status", "lastTransitionTime")}
                                    for one in conditions]  # fmt: skip
            status["containerStatuses"] = [
                {"name": one["name"], "ready": ready, "started": True, "restartCount": 0, "image": one.get("image", ""),
                 "imageID": "", "state": {"running": {"startedAt": now}}}
                for one in pod["spec"]["containers"]
            ]  # fmt: skip

        self.api.change_now(self.api.kind("v1", "Pod"), namespace, name, change, "status", manager="kubelet")
