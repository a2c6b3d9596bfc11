"""PodDisruptionBudgets: how many pods may go now, for `eviction`."""

import math

from tests.kube import selectors
from tests.kube.controllers import pods
from tests.kube.controllers.base import Controller

BUDGETS = ("policy", "poddisruptionbudgets")


class Disruption(Controller):
    stores = (BUDGETS, pods.PODS)

    def keys(self, event):
        if event.store == BUDGETS:
            yield event.record.namespace, event.record.name
        else:
            for budget in self.api.store.list(BUDGETS, event.record.namespace):
                yield budget.namespace, budget.name

    def reconcile(self, key):
        record = self.api.store.get(BUDGETS, *key)
        if record is None:
            return
        spec = record.obj["spec"]
        found = [
            pod.obj
            for pod in self.api.store.list(pods.PODS, key[0])
            if selectors.matches(spec.get("selector"), pod.labels) and not pods.is_over(pod.obj)
        ]
        healthy = sum(pods.is_ready(pod) and "deletionTimestamp" not in pod["metadata"] for pod in found)
        if "minAvailable" in spec:
            wanted = _count(spec["minAvailable"], len(found))
        else:
            wanted = len(found) - _count(spec.get("maxUnavailable", 1), len(found))
        status = {
            "observedGeneration": record.obj["metadata"]["generation"],
            "currentHealthy": healthy,
            "desiredHealthy": max(0, wanted),
            "expectedPods": len(found),
            "disruptionsAllowed": max(0, healthy - wanted) if found else 0,
        }
        kind = self.api.kind("policy/v1", "PodDisruptionBudget")
        if (record.obj.get("status") or {}) != status:
            self.api.change_now(kind, *key, lambda obj: obj.update(status=status), "status")


def _count(value, of):
    return math.ceil(of * int(value[:-1]) / 100) if isinstance(value, str) else value
