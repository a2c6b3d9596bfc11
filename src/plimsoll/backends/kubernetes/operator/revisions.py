"""Revision objects: what each revision was, and how it does. Written once, beside the workload; never changed."""

import json
from typing import NamedTuple

from plimsoll.backends.kubernetes.names import API_VERSION, REVISION_LABEL, SERVICE_FILE, owned_labels
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.operator.rolling import Phase, Roll
from plimsoll.backends.kubernetes.operator.seen import Revision, Seen, ServiceObject, stamp
from plimsoll.backends.kubernetes.render import RevisionPlan


def revision_object(service: ServiceObject, plan: RevisionPlan, number: int) -> Obj:
    """The config as its replicas read it, and the pods' template: both stand nowhere else once the workload is gone."""
    key = SERVICE_FILE.rpartition("/")[2]
    config = next((obj["data"][key] for obj in plan.objects if obj["kind"] == "ConfigMap" and key in obj["data"]), None)
    workload = plan.objects[-1]
    spec: Obj = {"service": service.key.name, "number": number, "digest": plan.digest}
    if config is not None:
        spec["config"] = json.loads(config)
    spec["template"] = workload["spec"]["template"]
    labels = owned_labels(service.key.name) | {REVISION_LABEL: plan.name}
    meta: Obj = {"name": plan.name, "namespace": service.key.namespace, "labels": labels}
    return {"apiVersion": API_VERSION, "kind": "Revision", "metadata": meta, "spec": spec}


class Written(NamedTuple):
    status: Obj
    counts: tuple[str, int, int]  # Ready, replicas, ready replicas


def revision_status(revision: Revision, seen: Seen, rolled: Roll, now: float) -> Written | None:
    """None where nothing is to be written: its counts follow once a roll is over, its condition at once."""
    workload = seen.workload(revision.name)
    if workload is None:
        return None
    ready = seen.ready_of(workload)
    word = "True" if ready > 0 else "Unknown" if workload.replicas == 0 else "False"
    counts = (word, workload.exist, ready)
    if counts == (revision.ready, revision.replicas, revision.ready_replicas):
        return None
    if word == revision.ready and rolled.phase is Phase.ROLLING:
        return None
    reason, message = {
        "True": ("Serving", f"{ready} of {workload.replicas} replicas are ready"),
        "Unknown": ("Retired", "no replica runs"),
        "False": ("Starting", "no replica is ready"),
    }[word]
    condition: Obj = {"type": "Ready", "status": word, "reason": reason, "message": message}
    condition["lastTransitionTime"] = revision.since if word == revision.ready and revision.since else stamp(now)
    return Written({"conditions": [condition], "replicas": workload.exist, "readyReplicas": ready}, counts)
