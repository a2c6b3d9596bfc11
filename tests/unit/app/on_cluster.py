"""A service on the API server in memory, where no operator runs: what one would write is the test's to write."""

from plimsoll.app import cluster_services
from plimsoll.app.cluster import on_cluster
from plimsoll.backends.kubernetes.names import API_VERSION

SERVICE = """
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata: {name: mood}
spec:
  model: {path: ./model.py}
  scaling: {minReplicas: 1, maxReplicas: 4}
"""
MODEL = "class Mood:\n    def predict(self, batch):\n        return batch\n"


def ask(work, namespace=None):
    return on_cluster(None, namespace, work)


def applied(folder, namespace=None, **options):
    said = []
    done = ask(lambda reach: cluster_services.apply(reach, [folder], said.append, force=False, **options), namespace)
    assert done == said
    return [(one.kind, one.change) for one in done]


def write_status(cluster, **status):
    kind = cluster.api.kind(API_VERSION, "ModelService")
    cluster.api.change_now(kind, "default", "mood", lambda one: one.update(status=status), "status")


def condition(status, reason, message="", kind="Ready"):
    return {
        "type": kind, "status": status, "reason": reason, "message": message,
        "lastTransitionTime": "2026-01-01T00:00:00Z", "observedGeneration": 1,
    }  # fmt: skip
