"""The OCI distribution API, both ways: https://github.com/opencontainers/distribution-spec/blob/main/spec.md

A blob that the registry has is not sent again; a large one goes in chunks, and goes on where it broke off.
"""

import hashlib
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar
from urllib.parse import urljoin, urlsplit

from plimsoll.backends.kubernetes.artifacts.archive import TarStream
from plimsoll.backends.kubernetes.artifacts.listing import DigestMismatch, Listing, digest_of_bytes
from plimsoll.backends.kubernetes.artifacts.manifest import (
    INDEX_TYPE,
    LISTING_TYPE,
    MANIFEST_MAX_BYTES,
    MANIFEST_TYPE,
    TAR_TYPE,
    Descriptor,
    Manifest,
    layers_of,
)
from plimsoll.backends.kubernetes.artifacts.references import is_loopback
from plimsoll.backends.kubernetes.artifacts.registry_auth import Authorization, Login
from plimsoll.backends.kubernetes.artifacts.retrying import Retries
from plimsoll.backends.kubernetes.artifacts.web import Answer, Refused, Unreachable, Web
from plimsoll.core.errors import HostError

CHUNK_BYTES = 16 << 20
_HUB = "registry-1.docker.io"
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class _InMemory:
    data: bytes

    @property
    def size(self) -> int:
        return len(self.data)

    def chunks(self, start: int = 0, end: int | None = None) -> list[bytes]:
        return [self.data[start:end]]


@dataclass(frozen=True, slots=True)
class Pushed:
    """`digest`: the manifest's. `sent_bytes`: what the registry didn't have."""

    digest: str
    sent_bytes: int
    total_bytes: int


class Repository:
    """One repository of a registry. `http` is spoken to a registry on this machine alone."""

    def __init__(
        self,
        host: str,
        name: str,
        *,
        web: Web | None = None,
        login: Login | None = None,
        push: bool = False,
        sleep: Callable[[float], None] = time.sleep,
        chunk_bytes: int = CHUNK_BYTES,
    ) -> None:
        if host in {"docker.io", "index.docker.io"}:
            host, name = _HUB, name if "/" in name else f"library/{name}"
        self._web = web or Web()
        self._base = f"{'http' if is_loopback(host) else 'https'}://{host}/v2/{name}"
        self._auth = Authorization(self._web, login, name, "pull,push" if push else "pull")
        self._sleep, self._chunk = sleep, chunk_bytes
        self.shown = f"{host}/{name}"

    # --- pull -----------------------------------------------------------------------------------------------------

    def manifest(self, reference: str) -> tuple[bytes, str]:
        """(bytes, digest) of a tag or digest. Raises Refused (status 404 where there is none), Unreachable,
        DigestMismatch."""
        accept = {"Accept": f"{MANIFEST_TYPE}, {INDEX_TYPE}"}
        with self.ask("GET", f"{self._base}/manifests/{reference}", headers=accept) as answer:
            data = answer.read(MANIFEST_MAX_BYTES)
        digest = digest_of_bytes(data)
        if reference.startswith("sha256:") and reference != digest:
            raise DigestMismatch(f"{self.shown}@{reference}: the registry answered with {digest}")
        return data, digest

    def blob(self, digest: str, start: int = 0) -> Answer:
        headers = {"Range": f"bytes={start}-"} if start else {}
        return self.ask("GET", f"{self._base}/blobs/{digest}", headers=headers)

    # --- push -----------------------------------------------------------------------------------------------------

    def push_model(self, root: Path, listing: Listing, tag: str = "") -> Pushed:
        """Layers, the listing as config, the manifest under its digest and, if given, under `tag`. Raises Refused,
        Unreachable; HostError where a file changes meanwhile."""
        layers: list[Descriptor] = []
        sent = total = 0
        for files in layers_of(listing):
            stream = TarStream(root, [(file.path, file.size) for file in files])
            digest = _digest(stream)
            layers.append(Descriptor(TAR_TYPE, digest, stream.size))
            sent += self.push_blob(digest, stream)
            total += stream.size
        text = listing.to_json().encode()
        config = Descriptor(LISTING_TYPE, listing.digest, len(text))
        sent += self.push_blob(config.digest, _InMemory(text))
        manifest = Manifest(config, tuple(layers))
        for reference in [manifest.digest, *([tag] if tag else [])]:
            self._again(lambda reference=reference: self._put_manifest(reference, manifest.to_bytes()))  # type: ignore[misc]
        return Pushed(manifest.digest, sent, total + len(text))

    def _put_manifest(self, reference: str, data: bytes) -> None:
        headers = {"Content-Type": MANIFEST_TYPE}
        with self.ask("PUT", f"{self._base}/manifests/{reference}", headers=headers, body=data):
            pass

    def push_blob(self, digest: str, source: TarStream | _InMemory) -> int:
        """Bytes sent: 0 where the registry has it."""
        if self._again(lambda: self.has_blob(digest)):
            return 0
        if source.size <= self._chunk:
            self._again(lambda: self._put_whole(digest, source))
        else:
            self._put_chunks(digest, source)
        return source.size

    def has_blob(self, digest: str) -> bool:
        try:
            with self.ask("HEAD", f"{self._base}/blobs/{digest}"):
                return True
        except Refused as refused:
            if refused.status == 404:
                return False
            raise

    def _begin(self) -> str:
        with self.ask("POST", f"{self._base}/blobs/uploads/", headers={"Content-Length": "0"}, body=b"") as answer:
            return self._location(answer, answer.url)

    def _put_whole(self, digest: str, source: TarStream | _InMemory) -> None:
        headers = {"Content-Type": "application/octet-stream", "Content-Length": str(source.size)}
        url = _with_digest(self._begin(), digest)
        with self.ask("PUT", url, headers=headers, body=b"".join(source.chunks())):
            pass

    def _put_chunks(self, digest: str, source: TarStream | _InMemory) -> None:
        """Chunk by chunk. After a failure the registry is asked how far it got; where it forgot, all begins anew."""
        retries = Retries()
        url, at = self._again(self._begin), 0
        while True:
            try:
                while at < source.size:
                    url, at = self._patch(url, source, at)
                    retries.progressed()
                with self.ask("PUT", _with_digest(url, digest), headers={"Content-Length": "0"}, body=b""):
                    return
            except Unreachable as error:
                self._pause(retries, error)
            except Refused as refused:
                if refused.status not in {404, 416}:
                    raise
                self._pause(retries, refused)
            url, at = self._again(lambda url=url: self._so_far(url))  # type: ignore[misc]

    def _patch(self, url: str, source: TarStream | _InMemory, at: int) -> tuple[str, int]:
        end = min(at + self._chunk, source.size)
        headers = {
            "Content-Type": "application/octet-stream",
            "Content-Range": f"{at}-{end - 1}",
            "Content-Length": str(end - at),
        }
        with self.ask("PATCH", url, headers=headers, body=b"".join(source.chunks(at, end))) as answer:
            return self._location(answer, url), end

    def _so_far(self, url: str) -> tuple[str, int]:
        """(where to go on, bytes that the registry has)."""
        try:
            with self.ask("GET", url) as answer:
                last = answer.headers.get("range", "").removeprefix("bytes=").partition("-")[2]
                # Distribution answers 0-0 both for nothing and for one byte: one byte more or less is sent as nothing.
                at = int(last) + 1 if last.isdigit() and int(last) > 0 else 0
                return (self._location(answer, url), at) if at else (self._begin(), 0)
        except Refused:
            return self._begin(), 0

    # --- both -----------------------------------------------------------------------------------------------------

    def ask(self, method: str, url: str, *, headers: dict[str, str] | None = None, body: bytes | None = None) -> Answer:
        """Once more with a token where the registry asks for one."""
        try:
            return self._web.ask(method, url, headers=(headers or {}) | self._headers_for(url), body=body)
        except Refused as refused:
            if refused.status != 401 or not self._same_host(url) or not self._met(refused):
                raise _explained(refused, self.shown) from None
        try:
            return self._web.ask(method, url, headers=(headers or {}) | self._headers_for(url), body=body)
        except Refused as refused:
            raise _explained(refused, self.shown) from None

    def _met(self, refused: Refused) -> bool:
        try:
            return self._auth.meet(refused)
        except Refused as again:
            raise _explained(again, self.shown) from None

    def _headers_for(self, url: str) -> dict[str, str]:
        return self._auth.headers if self._same_host(url) else {}

    def _same_host(self, url: str) -> bool:
        return urlsplit(url).netloc == urlsplit(self._base).netloc

    def _location(self, answer: Answer, asked: str) -> str:
        found = answer.headers.get("location")
        if not found:
            raise HostError(f"{self.shown}: the registry names no place for an upload")
        return urljoin(asked, found)

    def _again(self, act: Callable[[], _T]) -> _T:
        retries = Retries()
        while True:
            try:
                return act()
            except Unreachable as error:
                self._pause(retries, error)

    def _pause(self, retries: Retries, error: HostError) -> None:
        wait = retries.after_failure(getattr(error, "retry_after_s", None))
        if wait is None:
            raise error
        self._sleep(wait)


def _digest(stream: TarStream) -> str:
    digest = hashlib.sha256()
    for chunk in stream.chunks():
        digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _with_digest(url: str, digest: str) -> str:
    return f"{url}{'&' if '?' in url else '?'}digest={digest}"


def _explained(refused: Refused, repository: str) -> Refused:
    """With the remedy for the two that people meet."""
    if refused.status in {401, 403}:
        host = repository.partition("/")[0]
        message = f"{refused}; no (or not enough) access to {repository}: docker login {host}, or give model.secretRef"
        return Refused(message, status=refused.status, headers=refused.headers)
    return refused
