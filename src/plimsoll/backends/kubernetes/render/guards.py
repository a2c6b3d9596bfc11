"""What keeps replicas through upkeep of nodes. (What keeps nodes warm for them is `install`'s: `balloons`.)"""

from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.render.scene import Scene


def disruption_budget(scene: Scene) -> Obj:
    """One replica away at a time. By what may be away, not by what must be there: a service of one replica would hold
    up its node for ever, while the gateway holds requests for the moment that its next one takes."""
    return {
        "apiVersion": "policy/v1",
        "kind": "PodDisruptionBudget",
        "metadata": scene.meta(scene.name),
        "spec": {
            "maxUnavailable": 1,
            "selector": {"matchLabels": scene.pod_labels},
            # One that isn't ready serves nobody: it needn't hold up a node either.
            "unhealthyPodEvictionPolicy": "AlwaysAllow",
        },
    }
