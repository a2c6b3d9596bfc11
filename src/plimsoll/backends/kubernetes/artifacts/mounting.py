"""How a pod gets its model: volumes, mounts and the step before it starts, as plain objects for the renderer."""

from dataclasses import dataclass

from plimsoll.backends.kubernetes.artifacts.references import (
    CACHE_MOUNT,
    CONFIGMAP_MOUNT,
    CREDENTIALS_MOUNT,
    parse_uri,
)
from plimsoll.backends.kubernetes.names import FETCH_COMMAND, MODEL_DIR
from plimsoll.backends.kubernetes.objects import Obj

MODEL_VOLUME = "model"
FETCH_CONTAINER = "fetch-model"
_READ_ALL = 0o444


@dataclass(frozen=True, slots=True)
class ModelMount:
    """`volumes` of the pod, `mounts` of the replica; `fetch`: name, command, mounts and environment of an init
    container, None where nothing is to be fetched (image, security and resources are the renderer's);
    `model_path`: PLIMSOLL_MODEL_PATH."""

    volumes: tuple[Obj, ...]
    mounts: tuple[Obj, ...]
    fetch: Obj | None
    model_path: str = MODEL_DIR


def model_mount(uri: str, digest: str = "", *, secret: str = "", cache_path: str = "", size: str = "") -> ModelMount:
    """`secret`: spec.model.secretRef's name, for the fetch step alone. `cache_path`: the node's folder of the model
    cache, "" without one. `size`: limit of the emptyDir, a quantity. Raises UserError for a URI that is none."""
    reference = parse_uri(uri)
    model: Obj = {"name": MODEL_VOLUME, "mountPath": MODEL_DIR, "readOnly": True}
    if reference.mounted:
        volume: Obj = {"name": MODEL_VOLUME, "configMap": {"name": reference.configmap, "defaultMode": _READ_ALL}}
        return ModelMount((volume,), (model,), None)
    check = ["--digest", digest] if digest else []
    if reference.claim:
        claim: Obj = {
            "name": MODEL_VOLUME,
            "persistentVolumeClaim": {"claimName": reference.claim, "readOnly": True},
        }
        path = f"{MODEL_DIR}/{reference.path}".rstrip("/")
        command = [*FETCH_COMMAND, f"file://{path}", *check, "--check"]
        fetch: Obj | None = {"name": FETCH_CONTAINER, "command": command, "volumeMounts": [model]} if digest else None
        return ModelMount((claim,), (model,), fetch, path)
    command = [*FETCH_COMMAND, uri, *check, "--to", MODEL_DIR]
    empty: Obj = {"sizeLimit": size} if size else {}
    volumes: list[Obj] = [{"name": MODEL_VOLUME, "emptyDir": empty}]
    mounts: list[Obj] = [{"name": MODEL_VOLUME, "mountPath": MODEL_DIR}]
    if reference.configmap:
        source: Obj = {"name": "packed", "configMap": {"name": reference.configmap, "defaultMode": _READ_ALL}}
        volumes.append(source)
        mounts.append({"name": "packed", "mountPath": CONFIGMAP_MOUNT, "readOnly": True})
    if secret:
        volumes.append({"name": "model-credentials", "secret": {"secretName": secret, "defaultMode": 0o440}})
        mounts.append({"name": "model-credentials", "mountPath": CREDENTIALS_MOUNT, "readOnly": True})
        command += ["--credentials", CREDENTIALS_MOUNT]
    if cache_path and reference.network:
        # The cache of the node only serves what the DaemonSet brought: a pod of a team may not write what others load.
        volumes.append({"name": "model-cache", "hostPath": {"path": cache_path, "type": "DirectoryOrCreate"}})
        mounts.append({"name": "model-cache", "mountPath": CACHE_MOUNT, "readOnly": True})
        command += ["--cache", CACHE_MOUNT]
    fetch = {
        "name": FETCH_CONTAINER,
        "command": command,
        "env": [{"name": "HOME", "value": "/tmp"}],
        "volumeMounts": [*mounts, {"name": "tmp", "mountPath": "/tmp"}],
    }
    return ModelMount(tuple(volumes), (model,), fetch)
