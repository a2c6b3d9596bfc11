"""How a pod gets its model: from its image, a mounted volume, or a step before it starts."""

from dataclasses import dataclass

from plimsoll.backends.kubernetes.artifacts.mounting import ModelMount, model_mount
from plimsoll.backends.kubernetes.artifacts.references import CACHE_MOUNT, Reference, parse_uri
from plimsoll.backends.kubernetes.names import MODEL_DIR
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.backends.kubernetes.render.scene import Scene
from plimsoll.core.errors import UserError
from plimsoll.spec.formats import is_import

CACHE_CLAIM = "plimsoll-models"


class ModelNotPacked(UserError):
    """The model is a file of whoever wrote the service; a cluster can't reach it."""


@dataclass(frozen=True, slots=True)
class ModelParts:
    """`fetch`: an init container without image, security and resources; None where nothing is fetched."""

    volumes: tuple[Obj, ...] = ()
    mounts: tuple[Obj, ...] = ()
    fetch: Obj | None = None
    model_path: str = MODEL_DIR


def reference_of(scene: Scene) -> Reference | None:
    """Where the model is fetched from or mounted; None where it comes with the image."""
    uri = scene.service.spec.model.uri
    return None if uri is None else parse_uri(uri)


def model_parts(scene: Scene) -> ModelParts:
    """Raises ModelNotPacked with the command to run."""
    service, model = scene.service, scene.service.spec.model
    if model.uri is None:
        path = model.path or ""
        if not service.in_image:
            message = f"{path} is a local file, which a cluster can't reach; pack it: plimsoll pack"
            raise ModelNotPacked(str(service.problem("spec.model.path", f"{message} {service.origin.file or 'FILE'}")))
        return ModelParts(model_path=MODEL_DIR if is_import(path) else path)
    if model.digest is None and parse_uri(model.uri).network:
        scene.note("spec.model.digest", "without it what stands at the uri may change between two replicas")
    secret = "" if model.secret_ref is None else model.secret_ref.name
    found = model_mount(model.uri, model.digest or "", secret=secret, cache_path=_cache_folder(scene))
    return _with_claim(scene, found)


def _cache_folder(scene: Scene) -> str:
    cache = None if scene.platform is None else scene.platform.spec.model_cache
    if cache is None or cache.type != "HostPath":
        return ""
    if scene.plain:
        scene.note("Platform spec.modelCache", "what fills the nodes' folders comes with plimsoll install")
        return ""
    return cache.folder


def _with_claim(scene: Scene, found: ModelMount) -> ModelParts:
    """The namespace's shared volume in the fetch step, where the platform keeps models on one."""
    parts = ModelParts(found.volumes, found.mounts, found.fetch, found.model_path)
    if found.fetch is None or not uses_claim(scene):
        return parts
    assert scene.platform is not None
    size = str(scene.platform.spec.model_cache.size)
    volume: Obj = {"name": "model-cache", "persistentVolumeClaim": {"claimName": CACHE_CLAIM}}
    fetch = found.fetch | {
        "command": [*found.fetch["command"], "--cache", CACHE_MOUNT, "--cache-size", size],
        "volumeMounts": [*found.fetch["volumeMounts"], {"name": "model-cache", "mountPath": CACHE_MOUNT}],
    }
    return ModelParts((*found.volumes, volume), found.mounts, fetch, found.model_path)


def uses_claim(scene: Scene) -> bool:
    reference = reference_of(scene)
    cache = None if scene.platform is None else scene.platform.spec.model_cache
    return reference is not None and reference.network and cache is not None and cache.type == "PVC"


def cache_claim(scene: Scene) -> Obj:
    """One a namespace, which all its services share and which none of them owns."""
    assert scene.platform is not None
    cache = scene.platform.spec.model_cache
    spec: Obj = {"accessModes": ["ReadWriteMany"], "resources": {"requests": {"storage": cache.size}}}
    if cache.storage_class_name is not None:
        spec["storageClassName"] = cache.storage_class_name
    meta = scene.shared_meta(CACHE_CLAIM, scene.namespace)
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": meta, "spec": spec}
