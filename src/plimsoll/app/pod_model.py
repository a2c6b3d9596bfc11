"""Which file or folder in a pod's model folder is the model: from the service's words, else from what lies there."""

import os
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.listing import LISTING_FILE, model_path, verify
from plimsoll.backends.kubernetes.artifacts.references import parse_uri
from plimsoll.core.errors import UserError
from plimsoll.models.source import guess_format, is_reference
from plimsoll.spec import ModelService

_SHOWN = 8  # names in an error message


def find_model(service: ModelService, place: str) -> str:
    """`place`: the model itself, or the folder that it lies in. The path for `models.open_model`, or
    `package.module:Class` of the image. Raises UserError, naming what is there, and DigestMismatch for a mounted
    ConfigMap that holds something else."""
    written = service.spec.model.path or ""
    if written and is_reference(written):
        return written
    if os.path.isfile(place):
        return place
    names = _names(place)
    if LISTING_FILE in names:
        model = service.spec.model
        if model.uri is not None and model.digest is not None and parse_uri(model.uri).mounted:
            verify(Path(place), model.digest)  # others were checked by the step that fetched them
        return model_path(place, service.model_format)  # packed or fetched: it says which file is the model
    wanted = _last_part(written or str(getattr(service.spec.model, "uri", None) or ""))
    if wanted in names:
        return os.path.join(place, wanted)
    if "model.py" in names and service.model_format == "Python":
        return place  # what a packed folder held
    found = [name for name in names if _fits(os.path.join(place, name), service.model_format)]
    if len(found) == 1:
        return os.path.join(place, found[0])
    shown = ", ".join(names[:_SHOWN]) + (", …" if len(names) > _SHOWN else "")
    how = f"{len(found)} could be it" if found else "none can be it"
    raise UserError(
        f"{place} holds {shown or 'nothing'}: of these, {how} ({service.name} is a {service.model_format} model); "
        "fetch one model there, or name it with PLIMSOLL_MODEL_PATH"
    )


def _names(folder: str) -> list[str]:
    try:
        # A mounted ConfigMap or Secret keeps its versions in `..data`.
        return sorted(name for name in os.listdir(folder) if not name.startswith("."))
    except OSError as error:
        raise UserError(f"the model's folder {folder} can't be read: {error.strerror}; mount the model there") from None


def _last_part(text: str) -> str:
    """Of a path or URI, without a query or a tag."""
    name = text.partition("?")[0].rstrip("/").rpartition("/")[2]
    return name.partition("@")[0]


def _fits(path: str, model_format: str) -> bool:
    if os.path.isdir(path):
        return model_format == "Python" and os.path.isfile(os.path.join(path, "model.py"))
    return guess_format(path) == model_format
