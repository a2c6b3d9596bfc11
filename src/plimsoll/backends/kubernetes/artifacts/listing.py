"""A model's files with their digests, as one canonical text; the SHA-256 of that text is the model's digest.

    {"entry":"sentiment.py","files":[{"path":"sentiment.py","sha256":"…","size":812}],"version":1}

Times, owners and permissions count for nothing: the same files give the same digest wherever they stand.
"""

import hashlib
import json
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plimsoll.backends.kubernetes.objects import canonical
from plimsoll.core.errors import HostError, UserError

LISTING_FILE = "plimsoll-model.json"  # in the model's folder, in the ConfigMap; no part of the list itself
_VERSION = 1
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")
_CHUNK = 1 << 20


class DigestMismatch(HostError):
    """What was fetched is not what was pinned. Trying again with the same bytes would not help."""


@dataclass(frozen=True, slots=True)
class Entry:
    path: str  # with `/`, relative
    size: int
    sha256: str  # hex


@dataclass(frozen=True, slots=True)
class Listing:
    """`entry`: the model in the folder, "" for the folder itself."""

    entry: str
    files: tuple[Entry, ...]  # sorted by path

    @property
    def size(self) -> int:
        return sum(file.size for file in self.files)

    def to_json(self) -> str:
        files = [{"path": file.path, "sha256": file.sha256, "size": file.size} for file in self.files]
        return canonical({"version": _VERSION, "entry": self.entry, "files": files})

    @property
    def digest(self) -> str:
        """`sha256:…`"""
        return digest_of_bytes(self.to_json().encode())


def digest_of_bytes(data: bytes) -> str:
    return f"sha256:{hashlib.sha256(data).hexdigest()}"


def is_digest(text: str) -> bool:
    return _DIGEST.match(text) is not None


def sha256_of_file(file: Path) -> tuple[str, int]:
    """(hex, bytes). OSError where it can't be read."""
    digest, size = hashlib.sha256(), 0
    with open(file, "rb", buffering=0) as stream:
        while chunk := stream.read(_CHUNK):
            digest.update(chunk)
            size += len(chunk)
    return digest.hexdigest(), size


def listing_of(root: Path, files: Iterable[str], entry: str = "") -> Listing:
    """Reads every file. OSError where one can't be read."""
    found = []
    for path in sorted(set(files) - {LISTING_FILE}):
        sha256, size = sha256_of_file(root / path)
        found.append(Entry(path, size, sha256))
    return Listing(entry, tuple(found))


def parse_listing(text: str) -> Listing:
    """Raises UserError for a text that is no listing, or one with paths that lead out of the folder."""
    try:
        data: dict[str, Any] = json.loads(text)
        if data["version"] != _VERSION:
            raise UserError(f"{LISTING_FILE} has version {data['version']}; this Plimsoll knows version {_VERSION}")
        files = tuple(Entry(one["path"], int(one["size"]), one["sha256"]) for one in data["files"])
        entry = data["entry"]
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"{LISTING_FILE} is no listing of a model's files: {error!r}") from None
    for path in (entry, *(file.path for file in files)):
        if path and not is_safe_path(path):
            raise UserError(f"{LISTING_FILE} names {path[:200]!r}, which leads out of the model's folder")
    return Listing(entry, files)


def is_safe_path(path: object) -> bool:
    """Whether a relative path stays inside its folder on every system."""
    return (
        isinstance(path, str)
        and bool(path)
        and not path.startswith("/")
        and "\\" not in path
        and "\0" not in path
        and all(part not in {"", ".", ".."} for part in path.split("/"))
    )


def read_listing(folder: Path) -> Listing | None:
    """The listing that stands in a fetched model's folder; None without one."""
    try:
        return parse_listing((folder / LISTING_FILE).read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None


def verify(folder: Path, digest: str) -> Listing:
    """That the folder holds exactly what `digest` (of a listing) says: read again, byte for byte. Works for a mounted
    ConfigMap too, whose files are links. Raises DigestMismatch naming the first file that differs."""
    listing = read_listing(folder)
    if listing is None:
        raise DigestMismatch(f"{folder} holds no {LISTING_FILE}; pack the model again: plimsoll pack")
    if listing.digest != digest:
        raise DigestMismatch(f"{folder} holds {listing.digest}, not {digest}; pack the model again: plimsoll pack")
    check_files(folder, listing)
    return listing


def check_files(folder: Path, listing: Listing) -> None:
    for file in listing.files:
        try:
            sha256, size = sha256_of_file(folder / file.path)
        except OSError as error:
            raise DigestMismatch(f"{folder / file.path}: {error.strerror or error}") from error
        if (sha256, size) != (file.sha256, file.size):
            raise DigestMismatch(
                f"{folder / file.path} has SHA-256 {sha256} ({size} bytes), not {file.sha256} ({file.size} bytes)"
            )


def model_path(folder: str | Path, model_format: str = "") -> str:
    """The model in a fetched or mounted folder: what its listing names; else the one file whose suffix is that of
    `model_format` (Python, ONNX, SKLearn; "" for any of them); else the folder."""
    folder = Path(folder)
    listing = read_listing(folder)
    if listing is not None:
        return str(folder / listing.entry) if listing.entry else str(folder)
    if (folder / "model.py").is_file() and model_format in {"", "Python"}:
        return str(folder)
    suffixes = {"Python": (".py",), "ONNX": (".onnx",), "SKLearn": (".skops", ".pkl", ".pickle", ".joblib")}
    wanted = suffixes.get(model_format, tuple(one for some in suffixes.values() for one in some))
    found = sorted(file for file in folder.iterdir() if file.suffix.lower() in wanted and file.is_file())
    return str(found[0]) if len(found) == 1 else str(folder)
