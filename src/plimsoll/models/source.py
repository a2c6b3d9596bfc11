"""Which model, where it lies and how it may be loaded: what a replica tells `open_model`."""

import os
from dataclasses import dataclass

FORMATS = ("Python", "ONNX", "SKLearn")

_SUFFIXES = {
    ".py": "Python",
    ".onnx": "ONNX",
    ".skops": "SKLearn",
    ".pkl": "SKLearn",
    ".pickle": "SKLearn",
    ".joblib": "SKLearn",
}


@dataclass(frozen=True, slots=True)
class ModelSource:
    """Plain data, so that it can go to another process as JSON.

    `path`: a file, a folder holding model.py, or `package.module:Class`. `origin`: the path as the user knows it, where
    `path` is a copy of it: `__file__`, error messages and tracebacks then speak of `origin`. `directory`: the folder of
    the service file; the author's own modules are found there too. `threads`: for computing one batch.
    """

    name: str
    path: str
    format: str = ""  # one of FORMATS; empty: guessed from the path
    class_name: str = ""
    threads: int = 1
    unsafe_formats: tuple[str, ...] = ()
    requirements: tuple[str, ...] = ()
    directory: str = ""
    origin: str = ""

    @property
    def shown(self) -> str:
        """The file as error messages name it: its last part, as the user wrote it."""
        path = self.origin or self.path
        return path if is_reference(path) else os.path.basename(path.rstrip("/")) or path


def is_reference(path: str) -> bool:
    """True for `package.module:Class`, which names an importable class instead of a file."""
    module, colon, name = path.rpartition(":")
    return bool(colon) and name.isidentifier() and all(part.isidentifier() for part in module.split("."))


def guess_format(path: str) -> str | None:
    """The format that a path's form tells, or None."""
    if is_reference(path) or os.path.isdir(path):
        return "Python"
    return _SUFFIXES.get(os.path.splitext(path)[1].lower())


def preload_modules(source: ModelSource) -> tuple[str, ...]:
    """What a fork server may import before it forks replicas of this model; missing ones are no error there."""
    match source.format or guess_format(source.path):
        case "ONNX":
            return ("onnxruntime", "plimsoll.models.onnx")
        case "SKLearn":
            return ("sklearn", "skops.io", "plimsoll.models.sklearn")
        case _:
            return ("plimsoll.models.python",)
