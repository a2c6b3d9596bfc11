"""The JSON schema of the format, for editors and, from the same source, for a custom resource definition.

Plain on purpose: references are written out and nullable unions are gone, since Kubernetes' structural schemas know
neither, and a key without a value is an error here anyway.
"""

import json
from typing import Any

from plimsoll.spec.service import ModelService

Schema = dict[str, Any]


def json_schema() -> Schema:
    """Draft 2020-12; one `ModelService` document."""
    raw = ModelService.model_json_schema(by_alias=True, mode="validation")
    plain = _plain(raw, raw.get("$defs", {}))
    plain.pop("$defs", None)
    return {"$schema": "https://json-schema.org/draft/2020-12/schema", "title": "ModelService", **plain}


def schema_text() -> str:
    """As committed in schema/, one fixed form."""
    return json.dumps(json_schema(), indent=2, ensure_ascii=False) + "\n"


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
