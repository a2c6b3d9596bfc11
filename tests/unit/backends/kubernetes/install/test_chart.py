"""The chart says what `plimsoll install` says."""

import itertools
import json
import re
import shutil
import subprocess

import jsonschema
import pytest
import yaml
from tests.unit.backends.kubernetes.install.small_helm import evaluate
from tests.unit.backends.kubernetes.install.test_install_objects import EVERYTHING

from plimsoll.backends.kubernetes.install import system_objects, values_of
from plimsoll.backends.kubernetes.install.chart import chart_files

FILES = chart_files([])
DEFAULTS = yaml.safe_load(FILES["values.yaml"])


def merged(below, above):
    if not (isinstance(below, dict) and isinstance(above, dict)):
        return above
    return below | {key: merged(below.get(key), value) for key, value in above.items()}


def rendered(values):
    return [
        obj
        for name in sorted(FILES)
        if name.startswith("templates/") and name.endswith(".yaml")
        for obj in yaml.safe_load_all(evaluate(FILES[name], values))
        if obj is not None
    ]


def as_json(values):
    """Each item of a list with its defaults, which a chart's reader writes out."""
    return values.model_dump(mode="json", by_alias=True)


@pytest.mark.parametrize(
    "text",
    [
        "",
        EVERYTHING,
        "gateway: {autoscaling: {enabled: false}, replicas: 5}\ncreateNamespace: false\nnamespace: models",
        "image: {repository: registry.example.com/team/plimsoll, tag: '7', pullSecrets: [{name: registry}]}",
        "networkPolicies: {enabled: false}\nwebhook: {enabled: false}",
        "prometheus: {url: 'http://p:9090', queries: {concurrency: 'a{b=\"c\"} > 0', gpuUtilization: ''}}",
    ],
)
def test_the_templates_give_what_install_prints(text):
    values = values_of(text)
    assert rendered(merged(DEFAULTS, as_json(values))) == system_objects(values)


def test_the_defaults_are_those_of_install():
    assert as_json(values_of()) == DEFAULTS
    assert values_of(FILES["values.yaml"]) == values_of()


def test_the_schema_takes_the_defaults_and_refuses_a_typing_mistake():
    schema = json.loads(FILES["values.schema.json"])
    jsonschema.Draft7Validator.check_schema(schema)
    check = jsonschema.Draft7Validator(schema)
    assert not list(check.iter_errors(merged(DEFAULTS, {"global": {}})))
    assert list(check.iter_errors({"gatway": {}}))
    assert list(check.iter_errors({"gateway": {"replicas": "many"}}))


def test_a_list_item_needs_its_keys_written_out():
    """In a `range` nothing fills defaults, so the schema asks for them."""
    check = jsonschema.Draft7Validator(json.loads(FILES["values.schema.json"]))
    written = as_json(values_of("balloons: [{name: a, resources: {}}]\nprePull: [{name: b, image: c}]"))
    assert not list(check.iter_errors(written))
    for key in ("balloons", "prePull"):
        for missing in written[key][0]:
            item = {name: value for name, value in written[key][0].items() if name != missing}
            assert list(check.iter_errors({key: [item]})), missing


def test_every_value_says_what_it_is():
    lines = FILES["values.yaml"].splitlines()
    for before, line in itertools.pairwise(lines):
        if re.match(r"\s*[a-zA-Z]+:", line):
            assert before.strip().startswith("# "), line


@pytest.mark.skipif(shutil.which("helm") is None, reason="no helm here: the templates were held against small_helm.py")
def test_helm_itself_agrees(tmp_path):
    for name, text in FILES.items():
        file = tmp_path / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    ran = subprocess.run(["helm", "template", "x", str(tmp_path)], capture_output=True, text=True, check=True)
    found = [obj for obj in yaml.safe_load_all(ran.stdout) if obj is not None]
    wanted = system_objects(values_of())
    by_name = {(obj["kind"], obj["metadata"].get("namespace"), obj["metadata"]["name"]): obj for obj in found}
    assert by_name == {(o["kind"], o["metadata"].get("namespace"), o["metadata"]["name"]): o for o in wanted}
