"""A small model as an immutable ConfigMap: its files as keys, or where they lie in folders one archive.

What goes into it: https://kubernetes.io/docs/concepts/configuration/configmap/ (1 MiB of values; keys of letters,
digits, `-`, `_` and `.`). `kubectl apply` without `--server-side` writes the object once more into an annotation, which
may hold 262,144 bytes: a ConfigMap larger than that needs `--server-side`.
"""

import base64
import gzip
import json
import re
from pathlib import Path

from plimsoll.backends.kubernetes.artifacts.archive import tar_bytes
from plimsoll.backends.kubernetes.artifacts.listing import LISTING_FILE, Listing
from plimsoll.backends.kubernetes.artifacts.references import ARCHIVE_KEY, MODEL_OF_LABEL
from plimsoll.backends.kubernetes.names import COMPONENT_LABEL
from plimsoll.backends.kubernetes.objects import Obj, digest_of

CONFIGMAP_MAX_BYTES = 700 * 1024  # base64 makes it 956 KiB; the API server takes 1 MiB of values in 1.5 MiB of request
CLIENT_APPLY_MAX_BYTES = 250_000  # of the object's JSON; 262,144 with room for what kubectl adds
_KEY = re.compile(r"[-_a-zA-Z0-9][-._a-zA-Z0-9]{0,252}\Z")
_PLAIN_TEXT = re.compile(r"[^\x00-\x08\x0b\x0c\x0d\x0e-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufffe\uffff]*\Z")


def configmap_of(service: str, namespace: str, root: Path, listing: Listing) -> tuple[Obj, str]:
    """(ConfigMap, `configmap://…`). Its name depends on its content. OSError where a file can't be read."""
    data = {LISTING_FILE: listing.to_json()}
    binary: dict[str, str] = {}
    flat = all(_KEY.match(file.path) for file in listing.files)
    if flat:
        for file in listing.files:
            content = (root / file.path).read_bytes()
            text = _text(content)
            if text is None:
                binary[file.path] = base64.b64encode(content).decode()
            else:
                data[file.path] = text
    else:
        packed = gzip.compress(tar_bytes(root, [file.path for file in listing.files]), 9, mtime=0)
        binary[ARCHIVE_KEY] = base64.b64encode(packed).decode()
    # Over the bytes, not the listing: another zlib may compress an archive to others, and this object never changes.
    name = f"{service[:40]}-model-{digest_of([data, binary], 10)}"
    meta: Obj = {"name": name}
    if namespace:
        meta["namespace"] = namespace
    meta["labels"] = {MODEL_OF_LABEL: service, COMPONENT_LABEL: "model"}
    made: Obj = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": meta, "immutable": True, "data": data}
    if binary:
        made["binaryData"] = binary
    return made, f"configmap://{name}" if flat else f"configmap://{name}/{ARCHIVE_KEY}"


def payload_bytes(configmap: Obj) -> int:
    """Bytes of its values, binary ones decoded: what the limit of 1 MiB is about."""
    text = sum(len(value.encode()) for value in configmap["data"].values())
    return text + sum(len(value) * 3 // 4 for value in configmap.get("binaryData", {}).values())


def applies_client_side(configmap: Obj) -> bool:
    """Whether `kubectl apply -f -` takes it without `--server-side`."""
    return len(json.dumps(configmap).encode()) <= CLIENT_APPLY_MAX_BYTES


def _text(content: bytes) -> str | None:
    """The text that stays the same through YAML and JSON; None where bytes must stand as base64."""
    try:
        text = content.decode()
    except UnicodeDecodeError:
        return None
    return text if _PLAIN_TEXT.match(text) else None
