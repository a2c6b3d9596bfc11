"""Which model format a path means. Looks at the text alone: nothing here touches the disk."""

import re
from typing import Literal

Format = Literal["Python", "ONNX", "SKLearn"]

PICKLE_SUFFIXES = frozenset({".pkl", ".pickle", ".joblib"})
_BY_SUFFIX: dict[str, Format] = {
    ".py": "Python",
    ".onnx": "ONNX",
    ".skops": "SKLearn",
    **dict.fromkeys(PICKLE_SUFFIXES, "SKLearn"),
}
# Formats the API knows whose capability isn't built: said so instead of "can't tell".
_LATER = {
    ".bst": "XGBoost", ".ubj": "XGBoost", ".xgb": "XGBoost", ".lgb": "LightGBM", ".pt": "Torch", ".pth": "Torch",
    ".safetensors": "HuggingFace",
}  # fmt: skip
_IMPORT = re.compile(r"[^\W\d]\w*(\.[^\W\d]\w*)*:[^\W\d]\w*\Z")
_URI = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


def is_import(path: str) -> bool:
    """`package.module:Class`, a class to import, rather than a file."""
    return _IMPORT.match(path) is not None


def suffix_of(path: str) -> str:
    name = path.replace("\\", "/").rpartition("/")[2]
    stem, dot, suffix = name.rpartition(".")
    return f".{suffix.lower()}" if dot and stem.strip(".") else ""


def format_of_suffix(suffix: str) -> Format | None:
    """None: it tells nothing, or a format that isn't built."""
    return _BY_SUFFIX.get(suffix)


def guess_format(path: str) -> Format:
    """Raises ValueError, saying what to write, where the path doesn't tell.

    A path without a suffix is a folder, which holds `model.py`; so is one that ends in a version such as `v1.2`.
    """
    if is_import(path):
        return "Python"
    suffix = suffix_of(path)
    if suffix in _BY_SUFFIX:
        return _BY_SUFFIX[suffix]
    if suffix == "" or suffix[1:].isdigit():
        return "Python"
    if suffix in _LATER:
        raise ValueError(f"format {_LATER[suffix]} ({suffix}) is not supported by this version yet")
    raise ValueError(f"the format can't be told from {suffix[:20]!r}; add format: Python, ONNX or SKLearn")


def check_path(path: str) -> None:
    """Raises ValueError for a text that can't be a path here."""
    if not path.strip() or "\0" in path:
        raise ValueError("no path; expected a file or folder relative to this file, such as ./model.py")
    if _URI.match(path):
        raise ValueError(f"a URI; write uri: {path[:200]}")
    head, colon, name = path.rpartition(":")
    if colon and head.endswith(".py") and name.isidentifier():
        raise ValueError(f"a file and a class in one; write path: {head[:200]} and className: {name[:100]}")
