"""The JSON schema of the format, for editors and, from the same source, for a custom resource definition.

Plain on purpose: references are written out and nullable unions are gone, since Kubernetes' structural schemas know
neither, and a key without a value is an error here anyway.
"""

import json
from typing import Any

from plimsoll.spec.base import Whole
from plimsoll.spec.load import KINDS
from plimsoll.spec.service import ModelService

Schema = dict[str, Any]
_DIALECT = "https://json-schema.org/draft/2020-12/schema"


def json_schema(kind: type[Whole] = ModelService) -> Schema:
    """Draft 2020-12; one document of that kind."""
    raw = kind.model_json_schema(by_alias=True, mode="validation")
    plain = _plain(raw, raw.get("$defs", {}))
    plain.pop("$defs", None)
    return {"$schema": _DIALECT, "title": kind.__name__, **plain}


def schema_text(kind: type[Whole] = ModelService) -> str:
    """As committed in schema/, one fixed form."""
    return _text(json_schema(kind))


def editor_schema_text() -> str:
    """One schema for files that hold documents of several kinds: `kind` says which one counts."""
    choices = []
    for name, kind in KINDS.items():
        schema = json_schema(kind)
        del schema["$schema"]
        choices.append({"if": {"properties": {"kind": {"const": name}}, "required": ["kind"]}, "then": schema})
    return _text(
        {
            "$schema": _DIALECT,
            "title": "Plimsoll",
            "type": "object",
            "properties": {"kind": {"enum": list(KINDS), "description": "What this document describes."}},
            "required": ["apiVersion", "kind", "metadata", "spec"],
            "allOf": choices,
        }
    )


def _text(schema: Schema) -> str:
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


def _plain(node: Any, definitions: Schema) -> Any:
    if isinstance(node, list):
        return [_plain(item, definitions) for item in node]
    if not isinstance(node, dict):
        return node
    if "$ref" in node:
        target = definitions[node["$ref"].rpartition("/")[2]]
        node = {**target, **{key: value for key, value in node.items() if key != "$ref"}}
    choices = [choice for choice in node.get("anyOf", []) if choice != {"type": "null"}]
    if len(choices) < len(node.get("anyOf", [])):
        rest = {
            key: value for key, value in node.items() if key != "anyOf" and not (key == "default" and value is None)
        }
        node = {**choices[0], **rest} if len(choices) == 1 else {**rest, "anyOf": choices}
        return _plain(node, definitions)
    result: Schema = {}
    for key, value in node.items():
        if key == "properties":
            result[key] = {name: _plain(field, definitions) for name, field in value.items()}
        elif key not in {"title", "$defs"} and not (key == "default" and value is None):
            result[key] = _plain(value, definitions)
    return result
