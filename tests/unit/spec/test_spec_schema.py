"""The schema tells editors what the loader takes, and is committed as generated."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import jsonschema
import pytest
import yaml

from plimsoll.spec import ModelService, SpecErrors, json_schema, later, schema_text

ROOT = Path(__file__).resolve().parents[3]
SCHEMA = ROOT / "schema" / "plimsoll.dev_v1alpha1.json"
PAGE = ROOT / "docs" / "service-file.md"
SERVICE = {
    "apiVersion": "plimsoll.dev/v1alpha1",
    "kind": "ModelService",
    "metadata": {"name": "mood"},
    "spec": {"model": {"path": "m.py"}},
}


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


def test_the_committed_schema_is_the_generated_one() -> None:
    assert SCHEMA.read_text(encoding="utf-8") == schema_text(), "run scripts/check_generated.py --write"


def test_every_field_has_a_description_and_says_its_default() -> None:
    found = list(fields(json_schema()))
    assert len(found) > 40
    for path, field, required in found:
        assert field.get("description", "").endswith("."), path
        if not required and "properties" not in field:
            assert "default" in field or "Default: " in field["description"], path


def test_every_object_refuses_other_keys_and_nothing_is_nullable() -> None:
    text = schema_text()
    assert "$ref" not in text
    assert "$defs" not in text
    assert '"null"' not in text
    for path, field, _ in fields(json_schema()):
        if "properties" in field:
            assert field["additionalProperties"] is False, path


def test_the_schema_is_a_schema() -> None:
    jsonschema.Draft202012Validator.check_schema(json_schema())


@pytest.mark.parametrize(
    ("spec", "valid"),
    [
        ({}, True),
        ({"scaling": {"minReplicas": 2}, "replicas": 0}, True),
        ({"scaling": {"minReplicas": 0}}, False),
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


def test_no_key_is_both_built_and_for_later() -> None:
    built = {path for path, _, _ in fields(json_schema())}
    for parent, keys in later.KEYS.items():
        assert parent in built
        for key in keys:
            assert f"{parent}.{key}" not in built


def test_the_check_passes_as_committed_and_shows_what_is_stale(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    check = script()
    assert check.main([]) == 0
    target = tmp_path / "schema" / "s.json"
    assert check.main([], target=target) == 1
    assert check.main(["--write"], target=target) == 0
    assert target.read_text() == schema_text()
    capsys.readouterr()
    target.write_text(schema_text().replace("The fewest replicas.", "Fewest."))
    assert check.main([], target=target) == 1
    assert [line for line in capsys.readouterr().out.splitlines() if line.startswith("-  ")] == [
        '-              "description": "Fewest.",'
    ]
    assert check.main(["--write"], target=target) == 0


def test_a_breaking_change_is_written_only_on_request(tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    check, target = script(), tmp_path / "s.json"
    old = json_schema()
    old["properties"]["spec"]["properties"]["retry"]["enum"].append("Twice")
    target.write_text(json.dumps(old))
    assert check.main(["--write"], target=target) == 1
    assert "breaking  spec.retry: no longer takes Twice" in capsys.readouterr().err
    assert json.loads(target.read_text()) == old
    assert check.main(["--write", "--breaking"], target=target) == 0
    assert target.read_text() == schema_text()


def test_the_page_has_every_key_and_its_examples_are_valid() -> None:
    text = PAGE.read_text(encoding="utf-8")
    for path, _, _ in fields(json_schema()):
        assert f"`{path}`" in text, f"{path} is missing in {PAGE.name}"
    examples = [part.partition("```")[0] for part in text.split("```yaml\n")[1:]]
    assert examples
    for example in examples:
        for document in yaml.safe_load_all(example):
            whole = document if "kind" in document else {**SERVICE, "spec": {**SERVICE["spec"], **document["spec"]}}
            assert ModelService.parse(whole)
