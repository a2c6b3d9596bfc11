"""Which changes of a definition break objects that are stored, or people who use its names. Pure."""

import copy
from collections.abc import Iterator
from typing import Any

from plimsoll.backends.kubernetes.crd.structural import Schema
from plimsoll.backends.kubernetes.objects import Obj
from plimsoll.spec.compat import breaking_changes


def breaking_crd_changes(old: Obj, new: Obj) -> list[str]:
    """Lines `KEY: what changed`. The status is left out: only the operator writes it, and its next write renews it."""
    before, after = old["spec"], new["spec"]
    found = [
        f"{what}: changed from {before[what]} to {after[what]}"
        for what in ("group", "scope")
        if before[what] != after[what]
    ]
    for what in ("kind", "plural", "singular"):
        if before["names"][what] != after["names"][what]:
            found.append(f"names.{what}: changed from {before['names'][what]} to {after['names'][what]}")
    lost = set(before["names"].get("shortNames", ())) - set(after["names"].get("shortNames", ()))
    found += [f"names.shortNames: no longer {name}" for name in sorted(lost)]
    versions = {one["name"]: one for one in after["versions"] if one["served"]}
    for version in before["versions"]:
        if version["name"] not in versions:
            found.append(f"versions: {version['name']} is no longer served")
            continue
        one, other = (_closed(which["schema"]["openAPIV3Schema"]) for which in (version, versions[version["name"]]))
        found += breaking_changes(one, other) + _new_rules(one, other)
    return found


def _closed(schema: Schema) -> Schema:
    """As the loader's: a key that isn't known is lost, since the API server prunes it."""
    found = copy.deepcopy(schema)
    found["properties"].pop("status", None)
    for _, node in _nodes(found, ""):
        if "properties" in node:
            node["additionalProperties"] = False
    return found


def _new_rules(old: Schema, new: Schema) -> list[str]:
    known = {(at, rule["rule"]) for at, node in _nodes(old, "") for rule in node.get("x-kubernetes-validations", ())}
    return [
        f"{at or 'object'}: a new rule: {rule['message']}"
        for at, node in _nodes(new, "")
        for rule in node.get("x-kubernetes-validations", ())
        if (at, rule["rule"]) not in known
    ]


def _nodes(schema: Any, at: str) -> Iterator[tuple[str, Schema]]:
    yield at, schema
    for name, field in schema.get("properties", {}).items():
        yield from _nodes(field, f"{at}.{name}".lstrip("."))
    if "items" in schema:
        yield from _nodes(schema["items"], f"{at}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from _nodes(schema["additionalProperties"], f"{at}.*")
