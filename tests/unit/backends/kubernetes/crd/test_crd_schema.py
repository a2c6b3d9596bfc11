"""The definitions: every key of the format and no other, in the form that Kubernetes calls structural."""

import copy
import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import yaml

from plimsoll.backends.kubernetes.crd import CRD_KINDS, crd, crd_text, crds, file_name, schema_of
from plimsoll.backends.kubernetes.crd.rules import with_rules
from plimsoll.backends.kubernetes.crd.structural import NAMED_LISTS, SETS, structural
from plimsoll.spec import KINDS, ModelService, json_schema, load_all_text

ROOT = Path(__file__).resolve().parents[5]
each_kind = pytest.mark.parametrize("kind", CRD_KINDS)
Schema = dict[str, Any]


def keys(schema: Schema, at: str = "") -> Iterator[str]:
    for name, field in schema.get("properties", {}).items():
        path = f"{at}.{name}"
        yield path
        yield from keys(field, path)
        yield from keys(field.get("items", {}), f"{path}[]")


def nodes(schema: Schema, at: str = "") -> Iterator[tuple[str, Schema]]:
    yield at, schema
    for name, field in schema.get("properties", {}).items():
        yield from nodes(field, f"{at}.{name}".lstrip("."))
    if "items" in schema:
        yield from nodes(schema["items"], f"{at}[]")
    if isinstance(schema.get("additionalProperties"), dict):
        yield from nodes(schema["additionalProperties"], f"{at}.*")


@pytest.mark.parametrize("kind", KINDS)
def test_every_key_of_the_format_is_there_and_no_other(kind: str) -> None:
    wanted = set(keys(json_schema(KINDS[kind])["properties"]["spec"], "spec"))
    assert set(keys(schema_of(kind)["properties"]["spec"], "spec")) == wanted
    assert len(wanted) > 15


def test_the_kinds_are_the_format_s_and_the_operator_s_own() -> None:
    assert CRD_KINDS.keys() == {*KINDS, "Revision"}
    assert {one["metadata"]["name"]: one["spec"]["scope"] for one in crds()} == {
        "modelservices.plimsoll.dev": "Namespaced",
        "revisions.plimsoll.dev": "Namespaced",
        "tenants.plimsoll.dev": "Cluster",
        "platforms.plimsoll.dev": "Cluster",
    }


@each_kind
def test_the_schema_is_structural(kind: str) -> None:
    """The rules of the API server that a generator could break; a real one takes them in tests/cluster."""
    refused = {"$ref", "$defs", "default", "const", "oneOf", "not", "nullable", "propertyNames", "patternProperties"}
    for at, node in nodes(schema_of(kind)):
        assert not refused & node.keys(), at
        free = node.get("x-kubernetes-int-or-string")
        assert free or node["type"] in {"object", "array", "string", "integer", "number", "boolean"}, at
        assert ("anyOf" in node) == bool(free), at
        assert node.get("type") != "null", at
        if "properties" in node:
            assert "additionalProperties" not in node, at
        if node.get("type") == "array":
            assert node["x-kubernetes-list-type"] in {"atomic", "set", "map"}, at
            assert "items" in node, at
        for key in node.get("x-kubernetes-list-map-keys", ()):
            assert key in node["items"]["required"], at
        for rule in node.get("x-kubernetes-validations", ()):
            assert rule["message"], at
            if path := rule.get("fieldPath"):
                assert path.removeprefix(".") in node["properties"], (at, path)


@each_kind
def test_every_field_is_described_and_every_text_and_list_is_bounded(kind: str) -> None:
    for at, node in nodes(schema_of(kind)["properties"]["spec"], "spec"):
        if not at.endswith(("[]", ".*")):
            assert node.get("description", "").endswith("."), at
        if node.get("type") == "string":
            assert "maxLength" in node or "enum" in node, at
        if node.get("type") == "array":
            assert "maxItems" in node, at
        if "additionalProperties" in node:
            assert "maxProperties" in node, at


def test_lists_with_names_are_merged_by_them() -> None:
    found = {}
    for kind in KINDS:
        for at, node in nodes(schema_of(kind)):
            if node.get("x-kubernetes-list-type") in {"map", "set"} and at.startswith("spec"):
                found[at] = node.get("x-kubernetes-list-map-keys")
    assert {at.replace("[]", ""): keys for at, keys in found.items()} == {
        **{at: [key] for at, key in NAMED_LISTS.items()},
        **dict.fromkeys(SETS),
    }


def test_a_service_has_its_columns_a_scale_and_a_status() -> None:
    spec = crd("ModelService")["spec"]
    (version,) = spec["versions"]
    assert spec["names"]["shortNames"] == ["msvc"]
    assert version["subresources"] == {
        "status": {},
        "scale": {
            "specReplicasPath": ".spec.replicas",
            "statusReplicasPath": ".status.replicas",
            "labelSelectorPath": ".status.selector",
        },
    }
    columns = version["additionalPrinterColumns"]
    shown = [column["name"].upper() for column in columns if not column.get("priority")]
    assert shown == ["URL", "READY", "REPLICAS", "P99", "BUDGET", "REVISION", "AGE"]
    known = set(keys(version["schema"]["openAPIV3Schema"]))
    for kind in CRD_KINDS:
        for column in crd(kind)["spec"]["versions"][0]["additionalPrinterColumns"]:
            path = re.sub(r"\[\?.*?\]", "[]", column["jsonPath"])
            places = set(keys(schema_of(kind)))
            assert path in places or path == ".metadata.creationTimestamp", path
    for path in version["subresources"]["scale"].values():
        assert path in known


def examples() -> list[dict[str, Any]]:
    """Whole documents of the pages, as a file has them."""
    found = []
    for page in sorted((ROOT / "docs").glob("*.md")):
        for part in page.read_text(encoding="utf-8").split("```yaml\n")[1:]:
            text = part.partition("```")[0]
            if text.lstrip().startswith("apiVersion: plimsoll.dev/"):
                found += [one for one in yaml.safe_load_all(text) if one.get("kind") in KINDS]
    return found


def test_the_examples_of_the_pages_are_valid() -> None:
    documents = examples()
    assert {one["kind"] for one in documents} == set(KINDS)
    for document in documents:
        jsonschema.Draft202012Validator(schema_of(document["kind"])).validate(document)


@pytest.mark.parametrize(
    "spec",
    [
        {"scaling": {"minReplicas": -1}},
        {"scaling": {"policy": "budget"}},
        {"timeout": "100 ms"},
        {"routes": [{"path": "a"}]},
        {"runtime": {"env": [{"name": "a-b", "value": "c"}]}},
        {"accelerator": {"count": 1}},
        {"accelerator": {"class": "h100", "count": 0}},
        {"resources": {"requests": {"cpu": "many"}}},
        {"workload": "DaemonSet"},
        {"podTemplate": {"spec": []}},
        {"replicas": "3"},
        {"replicas": -1},
    ],
)
def test_what_a_schema_can_say_is_refused_by_it(spec: Schema) -> None:
    document = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "mood"},
        "spec": {"model": {"path": "m.py"}},
    }
    validator = jsonschema.Draft202012Validator(schema_of("ModelService"))
    assert validator.is_valid(document)
    assert not validator.is_valid({**document, "spec": {**document["spec"], **spec}})  # type: ignore[dict-item]


def test_a_bound_of_the_definition_never_refuses_what_the_loader_takes_in_practice() -> None:
    """The loader has no bound for some lists; the definition needs one, far above what anybody writes."""
    routes = "\n".join(f"  - {{path: /r{index}}}" for index in range(256))
    text = (
        "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\n"
        f"spec:\n  model: {{path: m.py}}\n  routes:\n{routes}\n"
    )
    (service,) = load_all_text(text).services
    jsonschema.Draft202012Validator(schema_of("ModelService")).validate(service.dump())


def test_every_longest_text_of_the_loader_fits() -> None:
    schema = json_schema(ModelService)
    for at, node in nodes(schema["properties"]["spec"], "spec"):
        if "maxLength" not in node:
            continue
        there: Schema = schema_of("ModelService")["properties"]["spec"]
        for part in re.findall(r"[^.\[\]]+", at)[1:]:
            there = there.get("items", there)
            there = there["additionalProperties"] if part == "*" else there["properties"][part]
        there = there.get("items", there) if at.endswith("[]") else there
        assert there["maxLength"] >= node["maxLength"], at


@each_kind
def test_the_committed_definition_is_the_generated_one(kind: str) -> None:
    committed = (ROOT / "deploy" / "crds" / file_name(kind)).read_text(encoding="utf-8")
    assert committed == crd_text(kind), "run scripts/check_generated.py --write"
    assert yaml.safe_load(committed) == json.loads(json.dumps(crd(kind)))


def test_the_folder_holds_nothing_else() -> None:
    assert {path.name for path in (ROOT / "deploy" / "crds").iterdir()} == {file_name(kind) for kind in CRD_KINDS}


def test_a_definition_is_made_anew_each_time() -> None:
    before = copy.deepcopy(crd("Revision"))
    crd("Revision")["spec"]["versions"][0]["schema"]["openAPIV3Schema"]["properties"]["spec"].clear()
    assert crd("Revision") == before


@pytest.mark.parametrize(
    ("schema", "problem"),
    [
        ({"type": "object", "patternProperties": {}}, "a: no structural form of patternProperties"),
        ({"anyOf": [{"type": "string"}, {"type": "object"}]}, "a: a choice of types is not structural"),
        ({"description": "Anything."}, "a: has no type"),
        (
            {"type": "object", "properties": {"b": {"type": "string"}}, "additionalProperties": {"type": "string"}},
            "a: known keys and free ones in one mapping are not structural",
        ),
    ],
)
def test_what_has_no_structural_form_is_told_when_it_is_generated(schema: Schema, problem: str) -> None:
    with pytest.raises(ValueError, match=re.escape(problem)):
        structural(schema, "a")


def test_a_rule_at_no_place_is_told() -> None:
    with pytest.raises(KeyError):
        with_rules({"type": "object", "properties": {}}, {"spec.nothing": ()})
