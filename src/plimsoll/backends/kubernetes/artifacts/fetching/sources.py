"""What a URI stands for: blobs, each readable from any offset, and what is known about the whole."""

import contextlib
import hashlib
from collections.abc import Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import BinaryIO

from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.download import Blob, Opened
from plimsoll.backends.kubernetes.artifacts.listing import (
    LISTING_FILE,
    DigestMismatch,
    Listing,
    parse_listing,
)
from plimsoll.backends.kubernetes.artifacts.manifest import LISTING_TYPE, Descriptor, is_tar, parse_manifest
from plimsoll.backends.kubernetes.artifacts.references import (
    ARCHIVE_SUFFIXES,
    CONFIGMAP_MOUNT,
    PVC_MOUNT,
    Reference,
)
from plimsoll.backends.kubernetes.artifacts.registry import Repository
from plimsoll.backends.kubernetes.artifacts.registry_auth import Login, login_of
from plimsoll.backends.kubernetes.artifacts.web import Answer, Refused, Web
from plimsoll.core.errors import UserError

_CHUNK = 1 << 20
_LISTING_MAX_BYTES = 32 << 20


@dataclass(frozen=True, slots=True)
class Source:
    """`digest`: of the whole, where the other side's own is checked already. `single`: one file, whose digest is the
    file's. `listing`: where the artifact brings one."""

    blobs: tuple[Blob, ...]
    digest: str = ""
    single: bool = False
    listing: Listing | None = None

    @property
    def total(self) -> int | None:
        sizes = [blob.size for blob in self.blobs]
        return None if None in sizes else sum(size or 0 for size in sizes)


def open_source(reference: Reference, digest: str, credentials: Credentials, web: Web) -> Source:
    """Asks the other side what there is. `digest`: `sha256:…` or "". Raises Refused, Unreachable, UserError,
    DigestMismatch."""
    match reference.scheme:
        case "configmap":
            return _configmap(Path(CONFIGMAP_MOUNT))
        case "file":
            return local_source(Path(reference.path), digest)
        case "pvc":
            return local_source(Path(PVC_MOUNT) / reference.path, digest)
        case "oci":
            return _oci(reference, digest, credentials, web)
        case "hf":
            from plimsoll.backends.kubernetes.artifacts.fetching.hub import hub_source

            return hub_source(reference, digest, credentials, web)
        case "s3" | "gs":
            from plimsoll.backends.kubernetes.artifacts.fetching.cloud import cloud_source

            return cloud_source(reference, digest, credentials)
        case _:
            return _web(reference, digest, credentials, web)


def hex_of(digest: str) -> str:
    return digest.partition(":")[2]


# --- files ------------------------------------------------------------------------------------------------------------


class _File:
    def __init__(self, stream: BinaryIO, start: int) -> None:
        self._stream, self.start = stream, start

    def chunks(self) -> Iterator[bytes]:
        while chunk := self._stream.read(_CHUNK):
            yield chunk


def file_blob(file: Path, path: str, *, sha256: str = "", unpack: bool = False) -> Blob:
    @contextlib.contextmanager
    def opened(start: int) -> Iterator[Opened]:
        with open(file, "rb") as stream:
            stream.seek(start)
            yield _File(stream, start)

    found = file.stat()
    return Blob(path, found.st_size, opened, sha256, f"{found.st_mtime_ns}", unpack)


def local_source(place: Path, digest: str) -> Source:
    if place.is_file():
        archive = place.name.endswith(ARCHIVE_SUFFIXES)
        return Source((file_blob(place, place.name, sha256=hex_of(digest), unpack=archive),), single=True)
    if not place.is_dir():
        raise UserError(f"{place}: no such file or folder")
    return Source(tuple(file_blob(place / path, path) for path in files_below(place)))


def files_below(root: Path) -> list[str]:
    """Plain files with `/`, sorted; hidden ones (a mounted volume's own, what is being fetched) left out."""
    found = []
    for file in root.rglob("*"):
        path = file.relative_to(root)
        if not any(part.startswith(".") for part in path.parts) and file.is_file():
            found.append(path.as_posix())
    return sorted(found)


def _configmap(mount: Path) -> Source:
    """The one archive in a mounted ConfigMap; its listing stands beside it."""
    try:
        text = (mount / LISTING_FILE).read_text(encoding="utf-8")
    except OSError as error:
        raise UserError(f"{mount / LISTING_FILE}: {error.strerror}; mount the packed ConfigMap there") from None
    listing = parse_listing(text)
    return Source((file_blob(mount / "model.tar.gz", "model.tar.gz", unpack=True),), listing.digest, listing=listing)


# --- http -------------------------------------------------------------------------------------------------------------


class _Body:
    def __init__(self, answer: Answer, start: int) -> None:
        self._answer, self.start = answer, start

    def chunks(self) -> Iterator[bytes]:
        return self._answer.chunks()


def web_blob(
    web: Web,
    url: str,
    path: str,
    size: int | None,
    *,
    headers: dict[str, str] | None = None,
    etag: str = "",
    sha256: str = "",
    unpack: bool = False,
) -> Blob:
    """`etag`: with it a changed file starts anew instead of being sewn to the old one's bytes."""

    @contextlib.contextmanager
    def opened(start: int) -> Iterator[Opened]:
        asked = dict(headers or {})
        if start:
            asked["Range"] = f"bytes={start}-"
            if etag and not etag.startswith("W/"):
                asked["If-Range"] = etag
        try:
            answer = web.ask("GET", url, headers=asked)
        except Refused as refused:
            if refused.status != 416 or not start:
                raise
            answer, start = web.ask("GET", url, headers=headers or {}), 0
        with answer:
            yield _Body(answer, start if answer.status == 206 else 0)

    return Blob(path, size, opened, sha256, etag, unpack)


def _web(reference: Reference, digest: str, credentials: Credentials, web: Web) -> Source:
    header = credentials.http_header
    headers = {"Authorization": header} if header else {}
    # A GET whose body is left alone, not a HEAD: many signed URLs allow only the former.
    with web.ask("GET", reference.uri, headers=headers) as answer:
        length, etag = answer.headers.get("content-length", ""), answer.headers.get("etag", "")
    name = reference.path.partition("?")[0].rstrip("/").rpartition("/")[2] or "model"
    size = int(length) if length.isdigit() else None
    archive = name.endswith(ARCHIVE_SUFFIXES)
    blob = web_blob(web, reference.uri, name, size, headers=headers, etag=etag, sha256=hex_of(digest), unpack=archive)
    return Source((blob,), single=True)


# --- oci --------------------------------------------------------------------------------------------------------------


def _oci(reference: Reference, digest: str, credentials: Credentials, web: Web) -> Source:
    repository = Repository(reference.host, reference.path, web=web, login=_login(reference.host, credentials))
    tagged = reference.revision
    if digest and tagged.startswith("sha256:") and tagged != digest:
        raise DigestMismatch(f"{reference.uri} names another digest than model.digest, {digest}")
    data, found = repository.manifest(digest or tagged)
    try:
        manifest = parse_manifest(data)
    except UserError as error:
        raise UserError(f"{reference.uri} {error}") from None
    listing = None
    if manifest.config.media_type == LISTING_TYPE:
        with repository.blob(manifest.config.digest) as answer:
            text = answer.read(_LISTING_MAX_BYTES)
        if f"sha256:{hashlib.sha256(text).hexdigest()}" != manifest.config.digest:
            raise DigestMismatch(f"{reference.uri}: its listing is not {manifest.config.digest}")
        listing = parse_listing(text.decode())
    return Source(tuple(_layer(repository, layer) for layer in manifest.layers), found, listing=listing)


def _layer(repository: Repository, layer: Descriptor) -> Blob:
    def opened(start: int) -> AbstractContextManager[Opened]:
        return _body(repository.blob(layer.digest, start), start)

    unpack = is_tar(layer.media_type)
    path = layer.title if layer.title and not unpack else hex_of(layer.digest)
    return Blob(path, layer.size, opened, hex_of(layer.digest), "", unpack)


@contextlib.contextmanager
def _body(answer: Answer, start: int) -> Iterator[Opened]:
    with answer:
        yield _Body(answer, start if answer.status == 206 else 0)


def _login(host: str, credentials: Credentials) -> Login | None:
    """A Secret of type kubernetes.io/dockerconfigjson, or one with username and password; else this machine's."""
    config = credentials.file(".dockerconfigjson", "config.json")
    if config is not None:
        return login_of(host, config)
    username = credentials.get("username")
    if username:
        return Login(username, credentials.get("password"))
    return login_of(host)
