"""What runs a revision's pods: a Deployment a revision under the operator, one stable Deployment without it."""

import math

from plimsoll.backends.kubernetes.names import REVISION_LABEL, revision_name
from plimsoll.backends.kubernetes.objects import Obj, digest_of, without_empty
from plimsoll.backends.kubernetes.render.config import config_map, replica_config
from plimsoll.backends.kubernetes.render.pod import pod_template
from plimsoll.backends.kubernetes.render.rendered import RevisionPlan
from plimsoll.backends.kubernetes.render.scene import Scene

_PROGRESS_S = 600  # Kubernetes' own


def revision_digest(scene: Scene) -> str:
    """SHA-256 of all that makes pods differ: the template with its own name left out, and the config."""
    return digest_of([pod_template(scene, ""), replica_config(scene)])


def plan_revision(scene: Scene) -> RevisionPlan:
    digest = revision_digest(scene)
    name = revision_name(scene.name, digest)
    return RevisionPlan(name, digest, (config_map(scene, name), deployment(scene, name)))


def deployment(scene: Scene, revision: str, *, replicas: int | None = None) -> Obj:
    """Mode.OPERATOR: named by its revision, and selecting that alone. Mode.PLAIN: named like the service; a change
    rolls it. `replicas`: None where somebody else writes the count."""
    own = {REVISION_LABEL: revision}
    template = pod_template(scene, revision)
    selector = scene.pod_labels if scene.plain else scene.pod_labels | own
    spec = {
        "replicas": replicas,
        "revisionHistoryLimit": 3 if scene.plain else 0,
        "progressDeadlineSeconds": max(_PROGRESS_S, math.ceil(2 * scene.service.load_timeout_s)),
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "selector": {"matchLabels": selector},
        "template": template,
    }
    return {
        "apiVersion": "apps/v1",
        "kind": "Deployment",
        "metadata": scene.meta(scene.name if scene.plain else revision, labels=scene.pod_labels | own),
        "spec": without_empty(spec),
    }
