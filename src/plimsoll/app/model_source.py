"""From a service to what `models.open_model` takes."""

import os

from plimsoll.models.source import ModelSource, is_reference
from plimsoll.spec import ModelService


def model_source(service: ModelService, *, path: str = "", directory: str = "", origin: str = "") -> ModelSource:
    """`path`: a revision's own copy of the model; left out, the model where the user keeps it. `directory`: the folder
    of the service file. `origin`: the model as the user knows it, where `path` is a copy. Raises SpecError for an
    artifact without `path`."""
    spec = service.spec
    directory = os.path.abspath(directory or str(service.directory))
    if not path:
        local = service.local_path
        path = local if is_reference(local) else os.path.join(directory, local)
    return ModelSource(
        name=service.name,
        path=path if is_reference(path) else os.path.normpath(path),
        format=service.model_format,
        class_name=spec.model.class_name or "",
        threads=service.threads,
        unsafe_formats=tuple(spec.runtime.unsafe_formats),
        requirements=tuple(spec.runtime.requirements),
        directory=directory,
        origin=origin,
    )
