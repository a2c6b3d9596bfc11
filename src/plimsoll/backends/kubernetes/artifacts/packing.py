"""From a document with `spec.model.path` to one with `uri` and `digest`; everything else as the user wrote it."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.backends.kubernetes.artifacts.configmap import CONFIGMAP_MAX_BYTES, configmap_of, payload_bytes
from plimsoll.backends.kubernetes.artifacts.layout import Layout, layout_of
from plimsoll.backends.kubernetes.artifacts.listing import Listing, listing_of
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.core.errors import UserError
from plimsoll.core.units import format_bytes
from plimsoll.spec import ModelService


@dataclass(frozen=True, slots=True)
class Found:
    """A model as it lies on disk, read through."""

    layout: Layout
    listing: Listing


def find_model(service: ModelService, directory: Path, *, allow: tuple[str, ...] = ()) -> Found:
    """Raises SpecError at `spec.model.path` where the model can't be packed."""
    path = service.spec.model.path
    assert path is not None
    try:
        layout = layout_of(path, directory, allow=allow)
        return Found(layout, listing_of(layout.root, layout.files, layout.entry))
    except UserError as error:
        raise service.problem("spec.model.path", str(error)) from error
    except OSError as error:
        raise service.problem("spec.model.path", f"{path} cannot be read: {error.strerror or error}") from error


def pinned(document: dict[str, Any], *, uri: str, digest: str, model_format: str) -> dict[str, Any]:
    """The document with `uri` and `digest` where `path` stood, and the format that the path told. Order stays."""
    model: dict[str, Any] = {}
    for key, value in document["spec"]["model"].items():
        if key == "path":
            model |= {"uri": uri, "digest": digest}
            if "format" not in document["spec"]["model"]:
                model["format"] = model_format
        else:
            model[key] = value
    return document | {"spec": document["spec"] | {"model": model}}


def pack_small(
    service: ModelService, directory: Path | str, *, allow: tuple[str, ...] = ()
) -> tuple[ModelService, list[Obj]]:
    """The service with its model pinned, and the ConfigMap that holds it; the service itself and nothing where it has
    no `path`. Raises SpecError where the model can't be packed or is larger than a ConfigMap takes."""
    if not service.spec.model.path:
        return service, []
    found = find_model(service, Path(directory), allow=allow)
    configmap, uri = small(service, found)
    document = pinned(service.dump(), uri=uri, digest=found.listing.digest, model_format=service.model_format)
    return ModelService.parse(document, service.origin), [configmap]


def configmap_if_small(service: ModelService, found: Found) -> tuple[Obj, str] | None:
    """(ConfigMap, URI); None where it is too large for one."""
    if found.listing.size > 16 * CONFIGMAP_MAX_BYTES:  # text shrinks to a tenth at best: larger ones aren't tried
        return None
    configmap, uri = configmap_of(service.name, service.metadata.namespace or "", found.layout.root, found.listing)
    return (configmap, uri) if payload_bytes(configmap) <= CONFIGMAP_MAX_BYTES else None


def small(service: ModelService, found: Found) -> tuple[Obj, str]:
    """(ConfigMap, URI). Raises SpecError where it is too large."""
    made = configmap_if_small(service, found)
    if made is not None:
        return made
    raise service.problem(
        "spec.model.path",
        f"{service.spec.model.path} takes {format_bytes(found.listing.size)}, more than the "
        f"{format_bytes(CONFIGMAP_MAX_BYTES)} of a ConfigMap; name a registry: plimsoll pack --registry HOST/PATH",
    )
