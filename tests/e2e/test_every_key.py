"""No key is forgotten: each key of each kind, and each value of a choice, stands in a file that an e2e test serves.

What the tests do with them is theirs: `test_service_keys.py`, `test_answer_keys.py`, `test_tenant_keys.py`,
`test_scaling_keys.py`. Keys that only a cluster honours are shown by what is rendered for one:
`tests/unit/backends/kubernetes/render/test_keys.py` takes each out and looks at the difference.
"""

import json
import re

import pytest
import yaml
from tests.e2e import test_answer_keys, test_scaling_keys, test_service_keys, test_tenant_keys
from tests.e2e.conftest import REPO
from tests.unit.backends.kubernetes.render import keys as rendered

SCHEMAS = sorted((REPO / "schema").glob("*.json"))

ELSEWHERE = {
    # key, or KEY=VALUE: the test that shows it
    "spec.runtime.predictTimeout": "tests/e2e/test_losses.py",
    "spec.runtime.unsafeFormats": "tests/unit/models/test_sklearn_model.py",
    "spec.resources.requests.memory": "tests/unit/spec/test_spec_service.py",
    "spec.resources.limits.cpu": "tests/unit/spec/test_spec_service.py",
    "spec.model.format=ONNX": "tests/e2e/test_examples.py",
    "spec.model.format=SKLearn": "tests/contracts/test_models.py",
}

RENDERED = {*rendered.KEYS, *rendered.DEFAULTS, *rendered.ELSEWHERE}
# Of each kind, the keys that only a cluster honours, with all below them.
CLUSTER = {
    "ModelService": (
        "spec.model.uri",
        "spec.model.digest",
        "spec.model.secretRef",
        "spec.runtime.image",
        "spec.runtime.env",
        "spec.scaling.hpa.memoryTarget",
        "spec.accelerator",
        "spec.workload",
        "spec.volumeClaims",
        "spec.podTemplate",
    ),
    "Platform": (
        "spec.gateway.parentRefs",
        "spec.gateway.hostnameTemplate",
        "spec.gateway.ingressClassName",
        "spec.gateway.tls",
        "spec.gateway.replicaTls",
        "spec.nodeClasses.capacity.accelerators",
        "spec.acceleratorClasses",
        "spec.disruption",
        "spec.modelCache",
        "spec.networkPolicy",
        "spec.monitoring",
    ),
}


def known(schema, at=""):
    """Keys that have no keys below them; `KEY=VALUE` for each value of a choice."""
    for name, field in schema.get("properties", {}).items():
        path = f"{at}.{name}".lstrip(".")
        below = field.get("items", field)
        if below.get("properties"):
            yield from known(below, path)
        else:
            yield from (f"{path}={value}" for value in below["enum"]) if "enum" in below else [path]


def used(value, at=""):
    """Of a document: each key's path without indices, and `KEY=VALUE` where the value is text."""
    if isinstance(value, list):
        for one in value:
            yield from used(one, at)
        return
    yield at
    if isinstance(value, dict):
        for name, one in value.items():
            yield from used(one, f"{at}.{name}".lstrip("."))
    elif isinstance(value, str):
        yield f"{at}={value}"


def shown(kind):
    files = (test_service_keys, test_answer_keys, test_tenant_keys, test_scaling_keys)
    documents = [one for file in files for text in file.DOCUMENTS for one in yaml.safe_load_all(text)]
    return {path for one in documents if one["kind"] == kind for path in used(one)}


def of_a_cluster(kind, key):
    return any(key == one or key.startswith((f"{one}.", f"{one}=")) for one in CLUSTER.get(kind, ()))


@pytest.mark.parametrize("file", SCHEMAS, ids=lambda file: json.loads(file.read_text())["title"])
def test_every_key_is_shown(file):
    schema = json.loads(file.read_text())
    kind = schema["title"]
    keys = set(known(schema))
    assert len(keys) >= 9, keys
    elsewhere = ELSEWHERE if kind == "ModelService" else {}
    here = {key for key in keys if not of_a_cluster(kind, key)}
    assert sorted(here - elsewhere.keys() - shown(kind)) == []
    for key, where in elsewhere.items():
        assert key in here
        word = re.split(r"[.=]", key)[-1]
        words = {word, re.sub(r"([A-Z])", lambda m: "_" + m[1].lower(), word), word.lower()}
        assert any(one in (REPO / where).read_text() for one in words), (key, where)


@pytest.mark.parametrize("kind", CLUSTER)
def test_every_key_of_a_cluster_is_rendered(kind):
    schema = next(found for found in map(json.loads, (file.read_text() for file in SCHEMAS)) if found["title"] == kind)
    keys = set(known(schema))
    for one in CLUSTER[kind]:
        assert any(key == one or key.startswith((f"{one}.", f"{one}=")) for key in keys), f"{one} is no key"
    assert sorted({key for key in keys if of_a_cluster(kind, key)} - RENDERED) == []


def test_a_key_that_changes_no_object_is_shown_in_the_test_that_is_named():
    named = {key: found[0] for key, why in rendered.ELSEWHERE.items() if (found := re.search(r"tests/\S+", why))}
    assert named
    for key, where in named.items():
        word = key.partition("=")[0].rpartition(".")[2]
        assert word in (REPO / where).read_text(), f"{word} is not in {where}"


def test_all_kinds_are_here():
    assert {json.loads(file.read_text())["title"] for file in SCHEMAS} == {"ModelService", "Tenant", "Platform"}
