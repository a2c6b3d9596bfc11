"""From the spec's JSON schema to what Kubernetes calls structural, where each value's type stands at its own place.

Kubernetes prunes keys that aren't in `properties`, so `additionalProperties: false` is neither needed nor allowed
beside them; unknown keys are refused by kubectl (its strict validation) and by `plimsoll validate`. Lengths that only
the loader knows are added: a rule in CEL is admitted only if what it reads is bounded.
"""

from typing import Any

from plimsoll.spec.scaling_values import MONEY_PATTERN
from plimsoll.spec.values import DURATION_PATTERN, LABEL_PATTERN, SHARE_PATTERN

Schema = dict[str, Any]

# Words of JSON schema that are the same in a structural one; all others are dropped or refused.
_SAME = (
    "type", "description", "enum", "pattern", "minimum", "maximum", "minLength", "maxLength", "minItems", "maxItems",
    "minProperties", "maxProperties", "format", "x-kubernetes-int-or-string", "x-kubernetes-preserve-unknown-fields",
)  # fmt: skip
_DROPPED = {"$schema", "title", "default", "propertyNames", "properties", "required", "items", "additionalProperties"}
_LENGTHS = {DURATION_PATTERN: 64, SHARE_PATTERN: 64, MONEY_PATTERN: 19, LABEL_PATTERN: 63}
_LONGEST = 4096  # of a text that says no bound of its own
_MOST = 1024  # entries of a list, and keys of a mapping, that say none

# Lists whose entries have a name: an applier owns its entries, not the list, and names are unique.
NAMED_LISTS = {
    "spec.runtime.env": "name",
    "spec.volumeClaims": "name",
    "spec.nodeClasses": "name",
    "spec.acceleratorClasses": "name",
    "spec.auth.apiKeys": "name",
}
SETS = {"spec.disruption.noCapacity", "spec.cache.key.inputs", "spec.runtime.unsafeFormats"}
# Tighter than `_MOST`, where a rule looks at each entry: its cost is counted for the longest list there may be.
LISTS = {
    "spec.fallback": 64,
    "spec.routes": 256,
    "spec.runtime.requirements": 512,
    "spec.auth.apiKeys": 256,
    "spec.auth.certificates": 256,
    "spec.nodeClasses": 256,
    "spec.acceleratorClasses": 64,
}


def structural(schema: Schema, at: str = "") -> Schema:
    """`at`: the key, dotted, without places in lists. Raises ValueError for what Kubernetes would refuse."""
    unknown = schema.keys() - set(_SAME) - _DROPPED - {"anyOf", "const"}
    if unknown:
        raise ValueError(f"{at}: no structural form of {', '.join(sorted(unknown))}")
    found: Schema = {word: schema[word] for word in _SAME if word in schema}
    if "const" in schema:
        found["enum"] = [schema["const"]]
    if "anyOf" in schema:
        if not schema.get("x-kubernetes-int-or-string"):
            raise ValueError(f"{at}: a choice of types is not structural")
        found["anyOf"] = schema["anyOf"]
    if "enum" in found:
        found.setdefault("type", "string")
    if found.get("type") == "string" or found.get("x-kubernetes-int-or-string"):
        _bound_text(found)
    if found.get("type") == "array":
        found["maxItems"] = min(found.get("maxItems", _MOST), LISTS.get(at, _MOST))
        found["items"] = structural(schema["items"], at)
        found |= _list_type(at)
    if found.get("type") == "object":
        found |= _keys(schema, at)
    if "type" not in found and not found.get("x-kubernetes-int-or-string"):
        raise ValueError(f"{at}: has no type")
    return found


def _bound_text(found: Schema) -> None:
    if "enum" in found:
        return
    if found.get("x-kubernetes-int-or-string"):
        found.setdefault("maxLength", 64)
        return
    found.setdefault("maxLength", _LENGTHS.get(found.get("pattern", ""), _LONGEST))


def _list_type(at: str) -> Schema:
    if at in NAMED_LISTS:
        return {"x-kubernetes-list-type": "map", "x-kubernetes-list-map-keys": [NAMED_LISTS[at]]}
    return {"x-kubernetes-list-type": "set" if at in SETS else "atomic"}


def _keys(schema: Schema, at: str) -> Schema:
    found: Schema = {}
    rest = schema.get("additionalProperties", True)
    if "properties" in schema:
        found["properties"] = {
            name: structural(field, f"{at}.{name}".lstrip(".")) for name, field in schema["properties"].items()
        }
        if schema.get("required"):
            found["required"] = list(schema["required"])
        if isinstance(rest, dict):
            raise ValueError(f"{at}: known keys and free ones in one mapping are not structural")
    elif isinstance(rest, dict):
        found["additionalProperties"] = structural(rest, f"{at}.*")
        found["maxProperties"] = min(schema.get("maxProperties", _MOST), _MOST)
    return found
