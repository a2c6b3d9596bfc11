"""Custom resources: defaults, pruning and validation by the openAPI schema of their definition. CEL rules
(`x-kubernetes-validations`) are a real server's: nothing here evaluates them."""

import copy
import functools
import json

import jsonschema
from tests.kube.errors import ApiError, invalid

CONDITION_NAMES = ("NamesAccepted", "Established")


def schema_of(kind):
    return ((kind.crd or {}).get("schema") or {}).get("openAPIV3Schema") or {}


def fill(value, schema):
    """Writes the schema's defaults into `value`."""
    if isinstance(value, dict):
        for name, one in (schema.get("properties") or {}).items():
            if name not in value and "default" in one:
                value[name] = copy.deepcopy(one["default"])
            if name in value:
                fill(value[name], one)
        if isinstance(extra := schema.get("additionalProperties"), dict):
            for name, one in value.items():
                if name not in (schema.get("properties") or {}):
                    fill(one, extra)
    elif isinstance(value, list):
        for one in value:
            fill(one, schema.get("items") or {})


def prune(value, schema, path=""):
    """Takes out of `value` what the schema doesn't know. Returns the paths of what went."""
    if schema.get("x-kubernetes-preserve-unknown-fields"):
        # what the schema names is still pruned below
        known = schema.get("properties") or {}
        return [gone for name, one in known.items() if isinstance(value, dict) and name in value
                for gone in prune(value[name], one, f"{path}.{name}")]  # fmt: skip
    gone = []
    if isinstance(value, dict):
        known, extra = schema.get("properties") or {}, schema.get("additionalProperties")
        embedded = schema.get("x-kubernetes-embedded-resource")
        for name in list(value):
            below = f"{path}.{name}" if path else name
            if name in known:
                gone += prune(value[name], known[name], below)
            elif extra is True or (embedded and name in ("apiVersion", "kind", "metadata")):
                continue
            elif isinstance(extra, dict):
                gone += prune(value[name], extra, below)
            else:
                del value[name]
                gone.append(below)
    elif isinstance(value, list):
        for place, one in enumerate(value):
            gone += prune(one, schema.get("items") or {}, f"{path}[{place}]")
    return gone


def prune_object(obj, kind):
    """Of a whole custom resource: apiVersion, kind and metadata always stay."""
    schema = schema_of(kind)
    if not schema:
        return []
    kept = {name: obj.pop(name) for name in ("apiVersion", "kind", "metadata") if name in obj}
    gone = prune(obj, schema)
    rest = dict(obj)
    obj.clear()
    obj.update(kept | rest)
    return gone


def check(obj, kind):
    """Raises 422 with the paths of what is wrong."""
    validator = _validator(json.dumps(_for_jsonschema(schema_of(kind))))
    body = {name: value for name, value in obj.items() if name != "metadata"}
    causes = [
        (".".join(str(step) for step in error.absolute_path) or "<root>", _words(error))
        for error in sorted(validator.iter_errors(body), key=lambda error: [str(step) for step in error.absolute_path])
    ]
    if causes:
        raise invalid(kind, obj["metadata"].get("name", ""), causes)


def _words(error):
    if error.validator == "enum":
        listed = ", ".join(f'"{one}"' for one in error.validator_value)
        return f'Unsupported value: "{error.instance}": supported values: {listed}'
    if error.validator == "required":
        return f"Required value: {error.message}"
    return f"Invalid value: {error.message}"


@functools.lru_cache(maxsize=64)
def _validator(text):
    return jsonschema.Draft4Validator(json.loads(text), format_checker=None)


def _for_jsonschema(schema):
    """OpenAPI's dialect in JSON schema's words: nullable, int-or-string."""
    if not isinstance(schema, dict):
        return schema
    found = {key: value for key, value in schema.items() if not key.startswith("x-") and key not in ("format",)}
    if "properties" in found:
        found["properties"] = {
            name: _for_jsonschema(one) for name, one in found["properties"].items() if name != "metadata"
        }
    for key in ("items", "additionalProperties", "not"):
        if isinstance(found.get(key), dict):
            found[key] = _for_jsonschema(found[key])
    for key in ("anyOf", "allOf", "oneOf"):
        if key in found:
            found[key] = [_for_jsonschema(one) for one in found[key]]
    if schema.get("x-kubernetes-int-or-string"):
        found["type"] = ["integer", "string"]
    if found.pop("nullable", False) and "type" in found:
        types = found["type"] if isinstance(found["type"], list) else [found["type"]]
        found["type"] = [*types, "null"]
    return found


def accept(crd):
    """Refuses what is no structural schema in the ways that matter here, and writes the status of a served one."""
    names, group = crd["spec"]["names"], crd["spec"]["group"]
    if crd["metadata"]["name"] != f"{names['plural']}.{group}":
        raise ApiError(422, f'metadata.name: must be spec.names.plural+"."+spec.group: {names["plural"]}.{group}')
    if sum(bool(version.get("storage")) for version in crd["spec"]["versions"]) != 1:
        raise ApiError(422, "spec.versions: must have exactly one version marked as storage version")
    for version in crd["spec"]["versions"]:
        if not (version.get("schema") or {}).get("openAPIV3Schema"):
            raise ApiError(422, f"spec.versions[{version['name']}].schema.openAPIV3Schema: Required value")
    names.setdefault("singular", names["kind"].lower())
    names.setdefault("listKind", names["kind"] + "List")
    crd["spec"].setdefault("conversion", {"strategy": "None"})


def established(crd, now):
    stored = next(version["name"] for version in crd["spec"]["versions"] if version.get("storage"))
    before = (crd.get("status") or {}).get("storedVersions") or []
    crd["status"] = {
        "acceptedNames": crd["spec"]["names"],
        "storedVersions": [*before, *([] if stored in before else [stored])],
        "conditions": [
            {"type": name, "status": "True", "reason": reason, "message": "", "lastTransitionTime": now}
            for name, reason in zip(CONDITION_NAMES, ("NoConflicts", "InitialNamesAccepted"), strict=True)
        ],
    }
