"""What runs a revision's pods: a workload a revision under the operator, one stable workload without it."""

import math

from plimsoll.backends.kubernetes.names import REVISION_LABEL, revision_name
from plimsoll.backends.kubernetes.objects import Obj, digest_of, without_empty
from plimsoll.backends.kubernetes.render.config import config_map, replica_config
from plimsoll.backends.kubernetes.render.pod import pod
from plimsoll.backends.kubernetes.render.rendered import RevisionPlan
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.backends.kubernetes.render.service import headless_name

_PROGRESS_S = 600  # Kubernetes' own
_FETCH_S = 1800  # a model of 50 GB at 30 MB/s


def plan_revision(scene: Scene, *, replicas: int | None = None) -> RevisionPlan:
    """Its digest is of all that makes pods differ: the template and what it needs, with its own name left out, and the
    config. `replicas`: None where somebody else writes the count."""
    nameless = pod(scene, "")
    claims = _claim_templates(scene)
    digest = digest_of([nameless.template, list(nameless.objects), replica_config(scene), scene.service.spec.workload,
                        claims])  # fmt: skip
    revision = revision_name(scene.name, digest, stateful=scene.service.spec.workload == "StatefulSet")
    made = pod(scene, revision)
    workload = _workload(scene, revision, made.template, claims, replicas)
    return RevisionPlan(revision, digest, (config_map(scene, revision), *made.objects, workload))


def _workload(scene: Scene, revision: str, template: Obj, claims: list[Obj], replicas: int | None) -> Obj:
    """Mode.OPERATOR: named by its revision, and selecting that alone. Mode.PLAIN: named like the service; a change
    rolls it."""
    own = {REVISION_LABEL: revision}
    selector = scene.pod_labels if scene.plain else scene.pod_labels | own
    stateful = scene.service.spec.workload == "StatefulSet"
    common: Obj = {
        "replicas": replicas,
        "revisionHistoryLimit": 3 if scene.plain else 0,  # a revision's own Deployment never rolls
        "selector": {"matchLabels": selector},
    }
    spec = common | (_stateful(scene, claims) if stateful else _deployment(scene)) | {"template": template}
    return {
        "apiVersion": "apps/v1",
        "kind": scene.service.spec.workload,
        "metadata": scene.meta(scene.name if scene.plain else revision, labels=scene.pod_labels | own),
        "spec": without_empty(spec),
    }


def _deployment(scene: Scene) -> Obj:
    fetch_s = 0 if scene.service.spec.model.uri is None else _FETCH_S
    return {
        "progressDeadlineSeconds": max(_PROGRESS_S, math.ceil(2 * scene.service.load_timeout_s) + fetch_s),
        # One more at a time, and none away before it is ready: the load is never on fewer than before.
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
    }


def _stateful(scene: Scene, claims: list[Obj]) -> Obj:
    if claims and not scene.plain:
        scene.note(
            "spec.volumeClaims", "a replica finds its volume again after a restart; a new revision begins with new ones"
        )
    return {
        "serviceName": headless_name(scene),
        "podManagementPolicy": "Parallel",  # replicas don't wait for each other
        "volumeClaimTemplates": claims,
        # With its revision a volume goes too, or every edit would leave some behind.
        "persistentVolumeClaimRetentionPolicy": (
            {"whenDeleted": "Delete", "whenScaled": "Retain"} if claims and not scene.plain else None
        ),
    }


def _claim_templates(scene: Scene) -> list[Obj]:
    found: list[Obj] = []
    for claim in scene.service.spec.volume_claims:
        spec: Obj = {
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": claim.storage_class_name,
            "resources": {"requests": {"storage": claim.size}},
        }
        found.append({"metadata": {"name": claim.name}, "spec": without_empty(spec)})
    return found
