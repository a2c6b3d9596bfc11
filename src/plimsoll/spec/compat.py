"""Which changes of the schema break a file that was valid before. Adding is fine; taking away or narrowing is not.

Within one apiVersion every file that a release took must still be taken, so `scripts/check_generated.py` refuses the
changes found here. What can't be compared (one pattern with another) counts as breaking: better asked than missed.
"""

from typing import Any

Schema = dict[str, Any]

_LOWER_BOUNDS = ("minimum", "exclusiveMinimum", "minLength", "minItems", "minProperties")
_UPPER_BOUNDS = ("maximum", "exclusiveMaximum", "maxLength", "maxItems", "maxProperties")


def breaking_changes(old: Schema, new: Schema) -> list[str]:
    """Lines `KEY: what changed`; empty where every old file stays valid, or where the apiVersion is another one."""
    if _api_version(old) != _api_version(new):
        return []
    return _compare(old, new, "")


def _api_version(schema: Schema) -> object:
    field = schema.get("properties", {}).get("apiVersion", {})
    return field.get("const", field.get("enum"))


def _compare(old: Schema, new: Schema, at: str) -> list[str]:
    found = _values(old, new, at) + _bounds(old, new, at) + _keys(old, new, at)
    if "items" in old or "items" in new:
        found += _compare(old.get("items", {}), new.get("items", {}), f"{at}[]")
    return found


def _values(old: Schema, new: Schema, at: str) -> list[str]:
    found = []
    before, after = _types(old), _types(new)
    if after is not None and (before is None or not before <= after):
        was = "any" if before is None else " or ".join(sorted(before))
        found.append(f"{_name(at)}: type narrowed from {was} to {' or '.join(sorted(after))}")
    allowed, still = _enum(old), _enum(new)
    if still is not None:
        if allowed is None:
            found.append(f"{_name(at)}: now only {', '.join(still)}")
        elif lost := [value for value in allowed if value not in still]:
            found.append(f"{_name(at)}: no longer takes {', '.join(lost)}")
    return found


def _bounds(old: Schema, new: Schema, at: str) -> list[str]:
    found = []
    for word in _LOWER_BOUNDS:
        if word in new and (word not in old or new[word] > old[word]):
            found.append(f"{_name(at)}: {word} raised from {old.get(word, 'none')} to {new[word]}")
    for word in _UPPER_BOUNDS:
        if word in new and (word not in old or new[word] < old[word]):
            found.append(f"{_name(at)}: {word} lowered from {old.get(word, 'none')} to {new[word]}")
    for word in ("pattern", "format", "multipleOf"):
        if word in new and new[word] != old.get(word):
            found.append(f"{_name(at)}: {word} changed from {old.get(word, 'none')} to {new[word]}")
    if new.get("uniqueItems") and not old.get("uniqueItems"):
        found.append(f"{_name(at)}: items must now be unique")
    return found


def _keys(old: Schema, new: Schema, at: str) -> list[str]:
    found = []
    before, after = old.get("properties", {}), new.get("properties", {})
    for name, field in before.items():
        path = f"{at}.{name}" if at else name
        if name in after:
            found += _compare(field, after[name], path)
        elif new.get("additionalProperties", True) is False:
            found.append(f"{path}: removed")
    required = set(old.get("required", ()))
    found += [f"{at}.{name}".lstrip(".") + ": now required" for name in new.get("required", ()) if name not in required]
    rest, still = old.get("additionalProperties", True), new.get("additionalProperties", True)
    if rest is not False and still is False:
        found.append(f"{_name(at)}: no longer takes other keys")
    elif isinstance(still, dict) and rest is not False:
        found += _compare(rest if isinstance(rest, dict) else {}, still, f"{at}.*")
    return found


def _types(schema: Schema) -> set[str] | None:
    """None: any type. A number takes integers too."""
    choices = schema.get("anyOf") or schema.get("oneOf") or [schema]
    found: set[str] = set()
    for choice in choices:
        kinds = choice.get("type")
        if kinds is None:
            return None
        found |= {kinds} if isinstance(kinds, str) else set(kinds)
    return found | {"integer"} if "number" in found else found


def _enum(schema: Schema) -> list[str] | None:
    if "const" in schema:
        return [str(schema["const"])]
    return [str(value) for value in schema["enum"]] if "enum" in schema else None


def _name(at: str) -> str:
    return at or "document"
