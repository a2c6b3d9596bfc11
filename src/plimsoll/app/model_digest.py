"""Which model a profile was learned from: a digest of its files alone, wherever they stand, whatever their budget."""

import hashlib

from plimsoll.control.model_files import ModelMissing, digest, digest_module, find_files
from plimsoll.spec import ModelService
from plimsoll.spec.formats import is_import


def model_digest(service: ModelService) -> str:
    """Twelve hexadecimal digits; empty where the model can't be read."""
    path, directory = service.spec.model.path, service.directory.resolve()
    if path is None:
        return (service.spec.model.digest or "").removeprefix("sha256:")[:12]
    found = hashlib.sha256()
    try:
        if is_import(path):
            digest_module(path, directory, found)
        else:
            digest(find_files(directory / path), found)
    except (ModelMissing, OSError):
        return ""
    return found.hexdigest()[:12]
