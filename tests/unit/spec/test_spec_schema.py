"""The schema tells editors what the loader takes, and is committed as generated."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml

from plimsoll.spec import (
    KINDS,
    ModelService,
    SpecErrors,
    Whole,
    editor_schema_text,
    json_schema,
    later,
    load_all_text,
    schema_text,
)

ROOT = Path(__file__).resolve().parents[3]
SCHEMAS = {
    "ModelService": ROOT / "schema" / "plimsoll.dev_v1alpha1.json",
    "Tenant": ROOT / "schema" / "plimsoll.dev_v1alpha1_tenant.json",
    "Platform": ROOT / "schema" / "plimsoll.dev_v1alpha1_platform.json",
}
PAGE = ROOT / "docs" / "service-file.md"
SERVICE = {
    "apiVersion": "plimsoll.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "mood"},
    "spec": {"model": {"path": "m.py"}},
}
TENANT = {
    "apiVersion": "plimsoll.dev/v1alpha1",
    "kind": "Tenant",
    "metadata": {"name": "shop"},
    "spec": {"auth": {"certificates": [{"subject": "CN=shop"}]}},
}
PLATFORM = {**TENANT, "kind": "Platform", "metadata": {"name": "default"}, "spec": {}}
each_kind = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)


def fields(schema: dict, at: str = "") -> Iterator[tuple[str, dict, bool]]:
    for name, field in schema.get("properties", {}).items():
        path = f"{at}.{name}".lstrip(".")
        yield path, field, name in schema.get("required", ())
        yield from fields(field, path)
        yield from fields(field.get("items", {}), f"{path}[]")


def script() -> ModuleType:
    found = importlib.util.spec_from_file_location("check_generated", ROOT / "scripts" / "check_generated.py")
    assert found is not None
    assert found.loader is not None
    module = importlib.util.module_from_spec(found)
    found.loader.exec_module(module)
    return module


@each_kind
def test_the_committed_schema_is_the_generated_one(kind: type[Whole]) -> None:
    committed = SCHEMAS[kind.__name__].read_text(encoding="utf-8")
    assert committed == schema_text(kind), "run scripts/check_generated.py --write"
    assert {path.name for path in (ROOT / "schema").iterdir()} == {path.name for path in SCHEMAS.values()}


@each_kind
def test_every_field_has_a_description_and_says_its_default(kind: type[Whole]) -> None:
    found = list(fields(json_schema(kind)))
    assert len(found) > {"ModelService": 60, "Tenant": 30, "Platform": 10}[kind.__name__]
    for path, field, required in found:
        assert field.get("description", "").endswith("."), path
        if not required and "properties" not in field:
            assert "default" in field or "Default: " in field["description"], path


@each_kind
def test_every_object_refuses_other_keys_and_nothing_is_nullable(kind: type[Whole]) -> None:
    text = schema_text(kind)
    assert "$ref" not in text
    assert "$defs" not in text
    assert '"null"' not in text
    for path, field, _ in fields(json_schema(kind)):
        if "properties" in field:
            assert field["additionalProperties"] is False, path


@each_kind
def test_the_schema_is_a_schema(kind: type[Whole]) -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema(kind))


def test_an_editor_gets_one_schema_for_all_kinds() -> None:
    whole = json.loads(editor_schema_text())
    jsonschema.Draft202012Validator.check_schema(whole)
    editor = jsonschema.Draft202012Validator(whole)
    for document in (SERVICE, TENANT, PLATFORM):
        assert editor.is_valid(document)
    assert not editor.is_valid({**TENANT, "kind": "ModelService"})
    assert not editor.is_valid({**SERVICE, "kind": "Tenant"})
    assert not editor.is_valid({**SERVICE, "kind": "Service"})
    (error,) = editor.iter_errors({**TENANT, "spec": {**TENANT["spec"], "wieght": 3}})
    assert "wieght" in error.message


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ({}, True),
        ({"scaling": {"minReplicas": 2}, "replicas": 0}, True),
        ({"scaling": {"minReplicas": 0}}, True),
        ({"scaling": {"minReplicas": -1}}, False),
        ({"scaling": {"maxReplica": 2}}, False),
        ({"budget": {"latency": {"p99": "100ms"}, "errorRate": "0.1%"}}, True),
        ({"budget": {"latency": {"p99": 100}}}, False),
        ({"budget": {"latency": {"p99": "100 ms"}}}, False),
        ({"budget": {"errorRate": 0.1}}, False),
        ({"resources": {"requests": {"cpu": 1}, "limits": {"memory": "1Gi"}}}, True),
        ({"resources": {"requests": {"cpu": 0.5}}}, False),
        ({"routes": [{"path": "/a"}]}, True),
        ({"routes": [{"path": "a"}]}, False),
        ({"retry": "once"}, False),
        ({"timeout": None}, False),
        ({"runtime": {"unsafeFormats": ["Pickle"], "predictTimeout": "1h30m"}}, True),
        ({"cache": {"ttl": "10m"}}, True),
        ({"cache": {}}, False),
        ({"cache": {"ttl": "10m", "key": {"inputs": []}}}, False),
        ({"cache": {"ttl": "10m", "backend": {"type": "Redis", "secretRef": {"name": "r", "key": "url"}}}}, True),
        ({"cache": {"ttl": "10m", "backend": {"type": "Redis", "secretRef": {"name": "r", "key": "a/b"}}}}, False),
        (
            {
                "fallback": [
                    {"type": "Static", "body": "{}"},
                ]
            },
            True,
        ),
        ({"fallback": [{"type": "Upstream"}]}, False),
        ({"sessionAffinity": {"type": "Header", "name": "x user"}}, False),
        ({"access": {"anonymous": "yes"}}, False),
        ({"hedging": "Slow"}, True),
    ],
)
def test_the_schema_and_the_loader_agree(spec: dict, valid: bool) -> None:
    document = {**SERVICE, "spec": {**SERVICE["spec"], **spec}}
    assert jsonschema.Draft202012Validator(json_schema()).is_valid(document) is valid
    if valid:
        assert ModelService.parse(document)
    else:
        with pytest.raises(SpecErrors):
            ModelService.parse(document)


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ({}, True),
        ({"weight": 0.5, "maxPriority": 3}, True),
        ({"weight": 0}, False),
        ({"weight": "3"}, False),
        ({"quota": {"requestsPerSecond": 500, "concurrentRequests": 5, "tokensPerMinute": 0.5}}, True),
        ({"quota": {"requestsPerSecond": -1}}, False),
        ({"quota": {"concurrentRequests": 0}}, False),
        ({"allow": []}, False),
        ({"allow": [{"namespaces": ["shop"], "serviceSelector": {"matchLabels": {"tier": "online"}}}]}, True),
        ({"model": {"path": "m.py"}}, False),
    ],
)
def test_the_tenants_schema_and_the_loader_agree(spec: dict, valid: bool) -> None:
    document = {**TENANT, "spec": {**TENANT["spec"], **spec}}
    assert jsonschema.Draft202012Validator(json_schema(KINDS["Tenant"])).is_valid(document) is valid
    if valid:
        assert KINDS["Tenant"].parse(document).dump() == document
    else:
        with pytest.raises(SpecErrors):
            KINDS["Tenant"].parse(document)


@each_kind
def test_no_key_is_both_built_and_for_later(kind: type[Whole]) -> None:
    built = {path.replace("[]", "") for path, _, _ in fields(json_schema(kind))}
    for parent, keys in later.KEYS[kind.__name__].items():
        assert parent in built
        for key in keys:
            assert f"{parent}.{key}" not in built
    assert not later.KINDS & KINDS.keys()


def test_the_check_passes_as_committed_and_shows_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    check = script()
    assert check.main([]) == 0
    folder = tmp_path / "schema"
    assert check.main([], folder=folder) == 1
    assert check.main(["--write"], folder=folder) == 0
    for name, committed in SCHEMAS.items():
        assert (folder / committed.name).read_text() == schema_text(KINDS[name])
    capsys.readouterr()
    target = folder / SCHEMAS["ModelService"].name
    target.write_text(schema_text().replace("What is served.", "Served."))
    assert check.main([], folder=folder) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("-  ")] == [
        '-          "description": "Served.",'
    ]
    assert check.main(["--write"], folder=folder) == 0


def test_a_breaking_change_is_written_only_on_request(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    check, target = script(), tmp_path / SCHEMAS["ModelService"].name
    old = json_schema()
    old["properties"]["spec"]["properties"]["retry"]["enum"].append("Twice")
    target.write_text(json.dumps(old))
    assert check.main(["--write"], folder=tmp_path) == 1
    assert "breaking  ModelService  spec.retry: no longer takes Twice" in capsys.readouterr().err
    assert json.loads(target.read_text()) == old
    assert check.main(["--write", "--breaking"], folder=tmp_path) == 0
    assert target.read_text() == schema_text()


def test_the_page_has_every_key_and_its_examples_are_valid() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for kind in KINDS.values():
        for path, _, _ in fields(json_schema(kind)):
            assert f"`{path}`" in text, f"{path} is missing in {PAGE.name}"
    examples = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert examples
    for example in examples:
        if "kind:" in example:
            assert load_all_text(example, file=PAGE.name)
            continue
        spec = yaml.safe_load(example)["spec"]
        assert ModelService.parse({**SERVICE, "spec": {**SERVICE["spec"], **spec}})
