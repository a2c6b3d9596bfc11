"""What a replica reads of its service, and how it arrives in the pod: an immutable ConfigMap a revision.

Only what changes a replica's answers or pace stands in it. Counts, routes' hosts, caches and who may ask are the
gateway's and the controller's: changing them must not replace a pod.
"""

from plimsoll.backends.kubernetes.names import CONFIG_DIR, REVISION_LABEL, SERVICE_FILE
from plimsoll.backends.kubernetes.objects import Obj, canonical
from plimsoll.backends.kubernetes.render.scene import Scene

FILE_KEY = SERVICE_FILE.removeprefix(f"{CONFIG_DIR}/")
_PARTS = ("model", "runtime", "resources", "batching", "accelerator")


def replica_config(scene: Scene) -> Obj:
    """The ModelService as a replica sees it."""
    service, written = scene.service, scene.written
    spec: Obj = {key: written[key] for key in _PARTS if key in written}
    if service.spec.routes:
        # A replica alone behind a Service answers them too; hosts are the gateway's.
        spec["routes"] = [{"path": path} for path in dict.fromkeys(route.path for route in service.spec.routes)]
    if service.spec.budget.latency.p99 is not None:
        spec["budget"] = {"latency": {"p99": service.spec.budget.latency.p99}}
    if service.spec.timeout is not None:
        spec["timeout"] = service.spec.timeout
    metadata = {"name": service.name} | ({"namespace": scene.namespace} if scene.namespace else {})
    return {"apiVersion": service.api_version, "kind": service.kind, "metadata": metadata, "spec": spec}


def config_map(scene: Scene, revision: str) -> Obj:
    """Named like its revision: another config is another ConfigMap, so a pod never reads what it wasn't made for."""
    return {
        "apiVersion": "v1",
        "kind": "ConfigMap",
        "metadata": scene.meta(revision, labels={REVISION_LABEL: revision}),
        "immutable": True,
        "data": {FILE_KEY: canonical(replica_config(scene))},
    }
