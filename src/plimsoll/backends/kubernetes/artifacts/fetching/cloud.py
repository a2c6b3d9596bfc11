"""Buckets, through fsspec and the clouds' own libraries: `plimsoll-serve[s3]`, `plimsoll-serve[gs]`.

Without a Secret the libraries find workload identity by themselves: IRSA and EKS Pod Identity, GKE's metadata server.
"""

import contextlib
import importlib
from collections.abc import Iterator
from typing import Any

from plimsoll.backends.kubernetes.artifacts.fetching.credentials import Credentials
from plimsoll.backends.kubernetes.artifacts.fetching.download import Blob, Opened
from plimsoll.backends.kubernetes.artifacts.fetching.sources import Source, hex_of
from plimsoll.backends.kubernetes.artifacts.listing import is_safe_path
from plimsoll.backends.kubernetes.artifacts.references import ARCHIVE_SUFFIXES, EXTRAS, Reference
from plimsoll.backends.kubernetes.artifacts.web import SILENT_S, Refused, Unreachable
from plimsoll.core.errors import HostError, UserError

_CHUNK = 1 << 20
_BLOCK = 8 << 20  # one ranged read


def cloud_source(reference: Reference, digest: str, credentials: Credentials) -> Source:
    """An object; or what lies below the prefix, where there is no such object. Raises Refused, Unreachable, and
    HostError without the extra."""
    bucket = _file_system(reference.scheme, credentials)
    place = f"{reference.host}/{reference.path}".rstrip("/")
    with _explained(reference.uri):
        if not reference.path.endswith("/") and _is_file(bucket, place):
            name = place.rpartition("/")[2]
            archive = name.endswith(ARCHIVE_SUFFIXES)
            blob = _blob(bucket, place, name, bucket.info(place), sha256=hex_of(digest), unpack=archive)
            return Source((blob,), single=True)
        found = bucket.find(place, detail=True)
    blobs = []
    for path, info in sorted(found.items()):
        name = path.removeprefix(f"{place}/")
        if name.endswith("/") or path == place or any(part.startswith(".") for part in name.split("/")):
            continue
        if not is_safe_path(name):
            raise UserError(f"{reference.uri} holds {name[:200]!r}, which leads out of the model's folder")
        blobs.append(_blob(bucket, path, name, info))
    if not blobs:
        raise Refused(f"{reference.uri}: no such object, and nothing below it", status=404)
    return Source(tuple(blobs))


def _is_file(bucket: Any, place: str) -> bool:
    try:
        return bool(bucket.info(place)["type"] == "file")
    except FileNotFoundError:
        return False


class _Object:
    def __init__(self, stream: Any, start: int, uri: str) -> None:
        self._stream, self.start, self._uri = stream, start, uri

    def chunks(self) -> Iterator[bytes]:
        while True:
            with _explained(self._uri):
                chunk = self._stream.read(_CHUNK)
            if not chunk:
                return
            yield chunk


def _blob(bucket: Any, path: str, name: str, info: dict[str, Any], *, sha256: str = "", unpack: bool = False) -> Blob:
    size = int(info["size"])

    @contextlib.contextmanager
    def opened(start: int) -> Iterator[Opened]:
        with _explained(path):
            stream = bucket.open(path, "rb", block_size=_BLOCK, cache_type="readahead", size=size)
        with stream:
            stream.seek(start)
            yield _Object(stream, start, path)

    version = str(info.get("ETag") or info.get("etag") or info.get("generation") or "")
    return Blob(name, size, opened, sha256, version, unpack)


def _file_system(scheme: str, credentials: Credentials) -> Any:
    options: dict[str, Any]
    if scheme == "s3":
        endpoint = credentials.get("AWS_ENDPOINT_URL_S3", "AWS_ENDPOINT_URL", "endpoint")
        region = credentials.get("AWS_REGION", "AWS_DEFAULT_REGION", "region")
        options = {
            "key": credentials.get("AWS_ACCESS_KEY_ID", "accessKey", "rootUser") or None,
            "secret": credentials.get("AWS_SECRET_ACCESS_KEY", "secretKey", "rootPassword") or None,
            "token": credentials.get("AWS_SESSION_TOKEN") or None,
            "endpoint_url": endpoint or None,
            "anon": credentials.get("anonymous") == "true",
            "client_kwargs": {"region_name": region} if region else {},
            "config_kwargs": {"connect_timeout": 10, "read_timeout": SILENT_S, "retries": {"max_attempts": 2}},
        }
        module, name = "s3fs", "S3FileSystem"
    else:
        key = credentials.file("key.json", "service-account.json", "credentials.json")
        options = {"endpoint_url": credentials.get("endpoint") or None, "timeout": SILENT_S}
        if key is not None:
            options["token"] = str(key)
        elif credentials.get("anonymous") == "true":
            options["token"] = "anon"
        # Not the package's own choice, which asks a gRPC service for the kind of bucket first
        module, name = "gcsfs.core", "GCSFileSystem"
    try:
        made = getattr(importlib.import_module(module), name)
    except ImportError:
        raise HostError(
            f"{scheme}:// needs a library that isn't installed: pip install 'plimsoll-serve[{EXTRAS[scheme]}]'"
        ) from None
    return made(skip_instance_cache=True, use_listings_cache=False, **options)


@contextlib.contextmanager
def _explained(place: str) -> Iterator[None]:
    """The libraries' many errors as our two."""
    try:
        yield
    except HostError:
        raise
    except FileNotFoundError as error:
        raise Refused(f"{place}: no such bucket or object: {error}", status=404) from error
    except PermissionError as error:
        raise Refused(
            f"{place}: not allowed: {error}; give model.secretRef or workload identity", status=403
        ) from error
    except Exception as error:
        words = " ".join(str(error).split())[:300] or type(error).__name__
        status = _refusal(error)
        if status:
            raise Refused(f"{place}: {words}; give model.secretRef or workload identity", status=status) from error
        raise Unreachable(f"{place}: {words}") from error


_WITHOUT = frozenset({"NoCredentialsError", "PartialCredentialsError", "DefaultCredentialsError"})


def _refusal(error: Exception) -> int:
    """401 or 403 where asking again would be no use, else 0. gcsfs tells of a 403 by its words alone."""
    if type(error).__name__ in _WITHOUT:
        return 401
    code = getattr(error, "code", None)
    if code in (401, 403):
        return int(code)
    return 403 if isinstance(error, OSError) and str(error).startswith("Forbidden") else 0
