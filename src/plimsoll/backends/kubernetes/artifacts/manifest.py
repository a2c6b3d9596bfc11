"""A model as an OCI artifact: an image manifest with an artifactType, the listing as its config, tars as layers.

https://github.com/opencontainers/image-spec/blob/main/manifest.md (v1.1). Layers are not compressed: weights hardly
shrink, and the bytes must not depend on a compressor's version. A file of 4 MiB or more is a layer of its own, so that
changed code doesn't push the weights again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from plimsoll.backends.kubernetes.artifacts.listing import Entry, Listing, digest_of_bytes, is_digest, is_safe_path
from plimsoll.backends.kubernetes.objects import canonical
from plimsoll.core.errors import UserError

MANIFEST_TYPE = "application/vnd.oci.image.manifest.v1+json"
INDEX_TYPE = "application/vnd.oci.image.index.v1+json"
ARTIFACT_TYPE = "application/vnd.plimsoll.model.v1"
LISTING_TYPE = "application/vnd.plimsoll.model.listing.v1+json"
TAR_TYPE = "application/vnd.oci.image.layer.v1.tar"
TITLE = "org.opencontainers.image.title"  # a blob's file name, as ORAS writes it
MANIFEST_MAX_BYTES = 4 << 20
_OWN_LAYER_BYTES = 4 << 20
_SMALL_LAYER_BYTES = 64 << 20


@dataclass(frozen=True, slots=True)
class Descriptor:
    media_type: str
    digest: str  # sha256:…
    size: int
    title: str = ""

    def to_obj(self) -> dict[str, Any]:
        found: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        return found | {"annotations": {TITLE: self.title}} if self.title else found


@dataclass(frozen=True, slots=True)
class Manifest:
    config: Descriptor
    layers: tuple[Descriptor, ...]
    artifact_type: str = ARTIFACT_TYPE

    def to_bytes(self) -> bytes:
        return canonical(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST_TYPE,
                "artifactType": self.artifact_type,
                "config": self.config.to_obj(),
                "layers": [layer.to_obj() for layer in self.layers],
            }
        ).encode()

    @property
    def digest(self) -> str:
        return digest_of_bytes(self.to_bytes())


def layers_of(listing: Listing) -> list[tuple[Entry, ...]]:
    """Which files share a tar: large ones alone, the others together, in the listing's order."""
    large = [(file,) for file in listing.files if file.size >= _OWN_LAYER_BYTES]
    groups: list[tuple[Entry, ...]] = []
    group: list[Entry] = []
    for file in listing.files:
        if file.size >= _OWN_LAYER_BYTES:
            continue
        if group and sum(one.size for one in group) + file.size > _SMALL_LAYER_BYTES:
            groups.append(tuple(group))
            group = []
        group.append(file)
    if group:
        groups.append(tuple(group))
    return groups + large


def parse_manifest(data: bytes) -> Manifest:
    """Raises UserError for what is no manifest of one artifact."""
    try:
        found: Mapping[str, Any] = json.loads(data)
        if found.get("mediaType", MANIFEST_TYPE) == INDEX_TYPE or "manifests" in found:
            raise UserError("is an index of several images; expected one artifact, as plimsoll pack pushes it")
        layers = tuple(_descriptor(one) for one in found["layers"])
        return Manifest(_descriptor(found["config"]), layers, str(found.get("artifactType", "")))
    except (ValueError, KeyError, TypeError) as error:
        raise UserError(f"is no OCI image manifest: {error!r}") from None


def _descriptor(one: Mapping[str, Any]) -> Descriptor:
    title = str((one.get("annotations") or {}).get(TITLE, ""))
    digest, size = str(one["digest"]), int(one["size"])
    if not is_digest(digest) or size < 0:
        raise UserError(f"names a blob {digest[:100]!r}; expected sha256:…")
    if title and not is_safe_path(title):
        raise UserError(f"names a file {title[:200]!r}, which leads out of the model's folder")
    return Descriptor(str(one["mediaType"]), digest, size, title)


def is_tar(media_type: str) -> bool:
    return media_type.endswith((".tar", ".tar+gzip", ".tar.gzip", "rootfs.diff.tar.gzip"))


def total_bytes(blobs: Sequence[Descriptor]) -> int:
    return sum(blob.size for blob in blobs)
