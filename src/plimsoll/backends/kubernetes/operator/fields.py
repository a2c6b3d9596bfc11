"""Which fields of an object are ours, and a mark of what stands in them: two marks differ where somebody changed,
removed or took over one of our fields. Kubernetes keeps the list itself (`metadata.managedFields`), so no copy of what
was applied is needed: a thousand services' marks are 64 bytes an object.

The count of a workload is never ours: after its creation it is the scaler's.
"""

import json
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

from plimsoll.backends.kubernetes.names import FIELD_MANAGER
from plimsoll.backends.kubernetes.objects import Obj, digest_of

_MARK = 16  # hex characters: two of a service's objects meet by chance once in 10^15
_IDENTITY = ("apiVersion", "kind")
COUNTED = frozenset({"Deployment", "StatefulSet"})
_MISSING = object()


def mark_of(obj: Mapping[str, Any], kind: str, manager: str = FIELD_MANAGER) -> str:
    """Of an object as the server sends it; "" where we applied nothing to it."""
    entry = _entry(obj, manager)
    if entry is None:
        return ""
    owned = projected(obj, entry["fieldsV1"])
    return _mark(owned if isinstance(owned, dict) else {}, kind)


def mark_of_rendered(obj: Mapping[str, Any], kind: str) -> str:
    """What `mark_of` will be once `obj` is applied, where the server keeps values as they are written. It normalises a
    few (a CPU of `1000m` is `1`): then they differ once, and one apply too many is all that comes of it."""
    return _mark(obj, kind)


def owns_count(obj: Mapping[str, Any], manager: str = FIELD_MANAGER) -> bool:
    """Whether our own apply holds `spec.replicas`: then an apply without it would set it back to 1."""
    entry = _entry(obj, manager)
    return entry is not None and "f:replicas" in entry["fieldsV1"].get("f:spec", {})


def projected(value: Any, fields: Mapping[str, Any]) -> Any:
    """What stands in `fields` (FieldsV1) of `value`; what is missing there is missing here."""
    names = [name for name in fields if name != "."]
    if not names:
        return value
    if isinstance(value, Mapping):
        found = {}
        for name in names:
            kind, _, key = name.partition(":")
            if kind == "f" and key in value:
                found[key] = projected(value[key], fields[name])
        return found
    if isinstance(value, list):
        return _items(value, names, fields)
    return value


def _items(value: list[Any], names: list[str], fields: Mapping[str, Any]) -> list[Any]:
    found = []
    for name in names:
        kind, _, key = name.partition(":")
        if kind == "k":
            wanted = _key(key)
            item = next((one for one in value if _matches(one, wanted)), _MISSING)
            if item is not _MISSING:
                found.append(projected(item, fields[name]))
        elif kind == "v" and (plain := _key(key)) in value:
            found.append(plain)
    return found


def _matches(item: Any, wanted: Any) -> bool:
    # A key's default (a port's protocol) may stand in the list of fields and not in the item.
    return isinstance(item, dict) and all(item.get(key, value) == value for key, value in wanted.items())


@lru_cache(maxsize=4096)
def _key(text: str) -> Any:
    return json.loads(text)


def _entry(obj: Mapping[str, Any], manager: str) -> Obj | None:
    for entry in obj["metadata"].get("managedFields") or ():
        ours = entry.get("manager") == manager and entry.get("operation") == "Apply" and not entry.get("subresource")
        if ours and "fieldsV1" in entry:
            found: Obj = entry
            return found
    return None


def _mark(owned: Mapping[str, Any], kind: str) -> str:
    bare = {key: value for key, value in owned.items() if key not in _IDENTITY}
    if "metadata" in bare:
        bare["metadata"] = {key: value for key, value in bare["metadata"].items() if key not in ("name", "namespace")}
    if kind in COUNTED and "replicas" in bare.get("spec", {}):
        bare["spec"] = {key: value for key, value in bare["spec"].items() if key != "replicas"}
    return digest_of(_sorted(bare), _MARK)


def _sorted(value: Any) -> Any:
    """Lists of named items in one order: FieldsV1 gives them in that of their keys, and the mark is not about order."""
    if isinstance(value, dict):
        return {key: _sorted(one) for key, one in value.items()}
    if isinstance(value, list):
        items = [_sorted(one) for one in value]
        if items and all(isinstance(one, dict) for one in items):
            items.sort(key=lambda one: json.dumps(one, sort_keys=True))
        return items
    return value
