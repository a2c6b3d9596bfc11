"""Every problem of a file at once, each with its file, line, key, what was expected and the nearest known key."""

from pathlib import Path

import pytest

from plimsoll.core.errors import SpecErrors, UserError
from plimsoll.spec import ModelService, check_unique, load_file, load_files, load_text

HEAD = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec:\n  model: {path: m.py}\n"


def problems(text: str) -> list[str]:
    with pytest.raises(SpecErrors) as caught:
        load_text(text, file="service.yaml")
    assert isinstance(caught.value, UserError)
    lines = [str(error) for error in caught.value.errors]
    assert str(caught.value) == "\n".join(lines)
    assert all("\n" not in line for line in lines)
    return lines


def test_the_line_that_the_first_hour_promises() -> None:
    text = HEAD + "  routes:\n  - path: /mood\n  scaling:\n    maxReplica: 8\n"
    assert problems(text) == ["service.yaml:9  spec.scaling.maxReplica: unknown key; did you mean maxReplicas?"]


@pytest.mark.parametrize(
    ("spec", "expected"),
    [
        ("scaling: {min_replicas: 1}", "spec.scaling.min_replicas: unknown key; did you mean minReplicas?"),
        ("minReplicas: 1", "spec.minReplicas: unknown key here; did you mean spec.scaling.minReplicas?"),
        ("name: x", "spec.name: unknown key here; did you mean metadata.name?"),
        ("host: x", "spec.host: unknown key here; did you mean spec.routes[0].host?"),
        ("env: []", "spec.env: unknown key here; did you mean spec.runtime.env?"),
        ("Retry: Once", "spec.Retry: unknown key; did you mean retry?"),
        ("batching: {zzz: 1}", "spec.batching.zzz: unknown key; expected maxSize or linger"),
        ("monitor: {}", "spec.monitor: not supported by this version yet"),
        ("montor: {}", "spec.montor: unknown key; monitor, which is nearest, is not supported by this version yet"),
        (
            "budget: {cost: {perHour: '1', perMillionTokens: '1'}}",
            "spec.budget.cost.perMillionTokens: not supported by this version yet",
        ),
        ("budget: {ttft: {p95: 1s}}", "spec.budget.ttft: not supported by this version yet"),
        ("runtime: {engine: vLLM}", "spec.runtime.engine: not supported by this version yet"),
        ("scaling: {minReplicas: -1}", "spec.scaling.minReplicas: -1 is too small; expected 0 or more"),
        (
            "scaling: {minReplicas: 3, maxReplicas: 2}",
            "spec.scaling.maxReplicas: 2 is below minReplicas; expected 3 or",
        ),
        ('replicas: "3"', "spec.replicas: expected a whole number, not '3'; write it without quotes"),
        ("replicas: true", "spec.replicas: expected a whole number, not true"),
        ("replicas: 1.5", "spec.replicas: expected a whole number, not the number 1.5"),
        ("replicas: [1]", "spec.replicas: expected a whole number, not a list"),
        ("retry: once", "spec.retry: 'once' is not one of Once or Never; did you mean Once?"),
        ("retry: Twice", "spec.retry: 'Twice' is not one of Once or Never"),
        ("retry: 1", "spec.retry: 1 is not one of Once or Never"),
        ("runtime: {isolation: Proces}", "did you mean Process?"),
        ("runtime: {unsafeFormats: [Joblib]}", "spec.runtime.unsafeFormats[0]: 'Joblib' is not Pickle"),
        (
            "runtime: {unsafeFormats: Pickle}",
            "spec.runtime.unsafeFormats: expected a list (lines that start with '- ')",
        ),
        ("runtime: {requirements: ['numpy>>2']}", "spec.runtime.requirements[0]: 'numpy>>2' is no requirement ("),
        (
            "runtime: {requirements: [5]}",
            "spec.runtime.requirements[0]: expected text, not the number 5; put it in quo",
        ),
        (
            "runtime: {predictTimeout: 0s}",
            "spec.runtime.predictTimeout: '0s' is no time at all; expected a duration abo",
        ),
        ("runtime: {predictTimeout: 9999h}", "is longer than a year"),
        ("budget: {latency: {p99: 100}}", "spec.budget.latency.p99: 100 has no unit; write 100ms or 100s"),
        (
            "budget: {latency: {p99: 100 ms}}",
            "spec.budget.latency.p99: '100 ms' is no duration; write a number with a u",
        ),
        ("budget: {latency: {p99: 1:30}}", "spec.budget.latency.p99: '1:30' is no duration"),
        (
            "budget: {latency: {p50: 60ms, p95: 50ms}}",
            "spec.budget.latency.p95: 50ms is below the p50 of 60ms; expected ",
        ),
        (
            "budget: {latency: {p50: 60ms, p99: 50ms}}",
            "spec.budget.latency.p99: 50ms is below the p50 of 60ms; expected ",
        ),
        ("budget: {latency: 100ms}", "spec.budget.latency: expected a mapping with p50, p95 or p99, not '100ms'"),
        ("budget: {errorRate: 0.1}", "spec.budget.errorRate: 0.1 is not marked as a percentage; write 0.1%"),
        ("budget: {errorRate: 101%}", "spec.budget.errorRate: '101%' is no share"),
        ("budget: {window: 10ms}", "spec.budget.window: '10ms' is too short"),
        ("timeout: 10ms\n  budget: {latency: {p99: 20ms}}", "spec.timeout: 10ms is below the p99 budget of 20ms"),
        ("batching: {linger: 1s}\n  budget: {latency: {p99: 20ms}}", "spec.batching.linger: 1s uses up the p99 budget"),
        ("batching: {maxSize: 0}", "spec.batching.maxSize: 0 is too small; expected 1 or more"),
        ("resources: {requests: {cpu: 0.5}}", 'spec.resources.requests.cpu: 0.5 needs quotes; write "0.5"'),
        ("resources: {requests: {cpu: 0}}", "spec.resources.requests.cpu: '0' is out of range"),
        ("resources: {requests: {cpu: lots}}", "spec.resources.requests.cpu: 'lots' is no quantity"),
        ("resources: {limits: {memory: 512}}", "spec.resources.limits.memory: '512' is less than one mebibyte"),
        (
            "resources: {requests: {memory: 2Gi}, limits: {memory: 1Gi}}",
            "spec.resources.limits.memory: 1Gi is below the request of 2Gi; expected 2Gi or more",
        ),
        ("routes: /mood", "spec.routes: expected a list (lines that start with '- '), not '/mood'"),
        ("routes: [/mood]", "spec.routes[0]: expected a mapping with path or host, not '/mood'"),
        ("routes: [{path: mood}]", "spec.routes[0].path: 'mood' is not absolute; write '/mood'"),
        ("routes: [{path: /a?b=1}]", "spec.routes[0].path: '/a?b=1' has a query or a fragment"),
        ("routes: [{path: /v2}]", "spec.routes[0].path: '/v2' is taken by the server's own protocols"),
        ("routes: [{path: /v1/x}]", "is taken by the server's own protocols; expected a path outside /v1"),
        ("routes: [{path: /metrics}]", "is taken by the server's own protocols"),
        ("routes: [{path: /a/../b}]", "is no URL path"),
        ("routes: [{path: '/a b'}]", "is no URL path"),
        ("routes: [{path: /a}, {path: /a}]", "spec.routes[1].path: /a is the same route as routes[0]; remove one"),
        ("routes: [{host: x}]", "spec.routes[0].path: missing; expected an absolute path"),
        ("routes: [{path: /a, host: 'x:80'}]", "spec.routes[0].host: 'x:80' has a port; write the host alone: 'x'"),
        ("routes: [{path: /a, host: 'X'}]", "spec.routes[0].host: 'X' is no host name"),
        ("scaling:", "spec.scaling: has no value; expected minReplicas, maxReplicas, policy, writer, "),
        ("timeout:", "spec.timeout: has no value; give it one or remove the key"),
        ("timeuot:", "spec.timeuot: unknown key; did you mean timeout?"),
    ],
)
def test_one_wrong_key(spec: str, expected: str) -> None:
    (problem,) = problems(f"{HEAD}  {spec}\n")
    assert problem.startswith("service.yaml:6  spec.")
    assert expected in problem


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        ("{}", "spec.model.path: missing; expected a file or folder"),
        ("m.py", "spec.model: expected a mapping with format, path, uri, digest, secretRef or className, not 'm.py'"),
        ("{path: m.xyz}", "spec.model.path: the format can't be told from '.xyz'; add format: Python, ONNX or SKLearn"),
        (
            "{path: m.safetensors}",
            "spec.model.path: format HuggingFace (.safetensors) is not supported by this version",
        ),
        (
            "{path: m.bin, format: Torch}",
            "spec.model.format: Torch is not supported by this version yet; expected Pyth",
        ),
        (
            "{path: m.py, format: python}",
            "spec.model.format: 'python' is not one of Python, ONNX or SKLearn; did you mea",
        ),
        ("{path: m.onnx, className: M}", "spec.model.className: only a Python model has a class; remove className"),
        ("{path: 'm:M', className: M}", "spec.model.className: the path names its class already; remove className"),
        (
            "{path: m.py, className: 'a b'}",
            "spec.model.className: 'a b' doesn't fit; expected the class in a Python fil",
        ),
        ("{path: m.py:M}", "a file and a class in one; write path: m.py and className: M"),
        ("{path: 's3://bucket/m'}", "spec.model.path: a URI; write uri: s3://bucket/m"),
        ("{path: ' '}", "spec.model.path: no path; expected a file or folder"),
        ('{path: "a\\0b"}', "spec.model.path: no path"),
        ("{path: m.py, uri: 'oci://x/y'}", "spec.model.uri: stands beside path, and a model is in one place; remove"),
    ],
)
def test_one_wrong_model(model: str, expected: str) -> None:
    (problem,) = problems(HEAD.replace("{path: m.py}", model))
    assert problem.startswith("service.yaml:5  spec.model")
    assert expected in problem


@pytest.mark.parametrize(
    ("metadata", "expected"),
    [
        ("{}", "metadata.name: missing; expected the service's name"),
        ("{name: My_Model}", "metadata.name: 'My_Model' is no name; expected at most 63 lower-case letters"),
        ("{name: My_Model}", "such as my-model"),
        ("{name: 5}", "metadata.name: expected text, not the number 5; put it in quotes"),
        ("{name: no}x", "not valid YAML"),
        (f"{{name: {'a' * 64}}}", "is no name; expected at most 63"),
        ("{name: a, labels: {v: 1.0}}", "metadata.labels.v: expected text, not the number 1.0; put it in quotes"),
        ("{name: a, labels: {v: }}", "metadata.labels.v: expected text, not null; put it in quotes or remove it"),
        ("{name: a, labels: {'a b': x}}", 'metadata.labels["a b"]: no label key'),
        ("{name: a, labels: {a.b/c: 'x y'}}", "metadata.labels[\"a.b/c\"]: 'x y' is no label"),
        ("{name: a, label: {}}", "metadata.label: unknown key; did you mean labels?"),
        ("[a]", "metadata: expected a mapping with name, namespace, labels or annotations, not a list"),
    ],
)
def test_wrong_metadata(metadata: str, expected: str) -> None:
    found = problems(HEAD.replace("{name: mood}", metadata))
    assert len(found) == 1
    assert expected in found[0]
    assert found[0].startswith(("service.yaml:3  ", "service.yaml:4  not valid"))


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a: 1\n", "service.yaml:1  apiVersion: missing; expected plimsoll.dev/v1alpha1"),
        ("- a\n", "service.yaml:1  expected a mapping with apiVersion, kind, metadata and spec, not a list"),
        ("hello\n", "service.yaml:1  expected a mapping with apiVersion, kind, metadata and spec, not a single value"),
        ("# nothing\n---\n---\n", "service.yaml  holds no service; expected a document with kind: ModelService"),
        ("", "service.yaml  holds no service; expected a document with kind: ModelService"),
        (HEAD.replace("v1alpha1", "v1"), "service.yaml:1  apiVersion: 'plimsoll.dev/v1' is not plimsoll.dev/v1alpha1"),
        (
            "apiVersion: plimsoll.dev/v1alpha1\nkind: Pipeline\nspec: {weight: 3}\n",
            "service.yaml:2  kind: Pipeline is not supported by this version yet; expected ModelService, Tenant or Pl",
        ),
        (
            "apiVersion: apps/v1\nkind: Deployment\nspec: {replicas: 3}\n",
            "service.yaml:2  kind: 'Deployment' is no kind of plimsoll.dev/v1alpha1; expected ModelService, Te",
        ),
        (
            HEAD.replace("ModelService", "Modelservice"),
            "service.yaml:2  kind: 'Modelservice' is no kind of plimsoll.dev/v1alpha1; did you mean ModelService?",
        ),
        (HEAD.replace("kind: ModelService\n", ""), "service.yaml:1  kind: missing; expected ModelService"),
        (HEAD.replace("ModelService", "[5]"), "service.yaml:2  kind: [5] is not ModelService"),
    ],
)
def test_wrong_documents(text: str, expected: str) -> None:
    assert expected in problems(text)[0]


def test_all_problems_of_all_documents_in_the_order_of_their_lines() -> None:
    text = (
        HEAD
        + "  retry: once\n  replicas: -1\n  retry: Never\n---\n"
        + HEAD.replace("mood", "UP")
        + "  a: 1\n---\nx: [\n"
    )
    assert [line.split(":")[1].split(" ")[0] for line in problems(text)] == ["6", "7", "8", "12", "15", "18"]


def test_a_wrong_key_does_not_hide_a_contradiction_elsewhere() -> None:
    found = problems(HEAD + "  bogus: 1\n  timeout: 1ms\n  budget: {latency: {p50: 3ms, p99: 2ms}}\n")
    assert [line.split("  ")[1].partition(":")[0] for line in found] == ["spec.bogus", "spec.budget.latency.p99"]


def test_an_anchor_used_twice_shows_its_problem_once_a_place() -> None:
    found = problems(HEAD + "  resources: {requests: &r {cpuu: 1}, limits: *r}\n")
    assert len(found) == 2
    assert all("cpuu: unknown key; did you mean cpu?" in line for line in found)


def test_control_characters_and_long_texts_stay_one_short_line() -> None:
    (problem,) = problems(HEAD + f'  "a\\nb\\e[31m{"x" * 500}": 1\n')
    assert "\x1b" not in problem
    assert len(problem) < 350
    (problem,) = problems(HEAD + f'  timeout: "{"9" * 500}\\n"\n')
    assert len(problem) < 250


def test_a_thousand_problems_are_summed_up() -> None:
    found = problems(HEAD + "".join("  retry: Once\n" for _ in range(1001)))
    assert len(found) == 201
    assert found[-1] == "service.yaml  and 800 more problems"


def test_two_services_of_one_name_name_both_places() -> None:
    assert problems(HEAD + "---\n" + HEAD) == [
        "service.yaml:9  metadata.name: mood is the name of the service in service.yaml:3 too"
    ]


def test_two_services_of_one_route_name_both_places() -> None:
    one = HEAD + "  routes: [{path: /a}, {path: /b, host: x}]\n"
    other = HEAD.replace("mood", "other") + "  routes: [{path: /b}, {path: /a}]\n"
    assert problems(one + "---\n" + other) == [
        "service.yaml:13  spec.routes[1].path: /a is a route of mood too, in service.yaml:6"
    ]


def test_files_are_checked_together(tmp_path: Path) -> None:
    one, two, bad = tmp_path / "one.yaml", tmp_path / "two.yaml", tmp_path / "bad.yaml"
    one.write_text(HEAD)
    two.write_text("\n" + HEAD)
    bad.write_text(HEAD.replace("mood", "bad") + "  a: 1\n")
    with pytest.raises(SpecErrors) as caught:
        load_files([bad, one, two, tmp_path / "none.yaml"])
    assert [str(error).replace(f"{tmp_path}/", "") for error in caught.value.errors] == [
        "bad.yaml:6  spec.a: unknown key; expected model, runtime, retry, routes, budget, timeout, scaling, replicas, "
        "resources, batching, access, cache, fallback, sessionAffinity, hedging, accelerator, workload, "
        "volumeClaims or podTemplate",
        "none.yaml  no such file",
        "two.yaml:4  metadata.name: mood is the name of the service in one.yaml:3 too",
    ]
    assert [service.name for service in load_files([one])] == ["mood"]
    with pytest.raises(SpecErrors, match=r"two.yaml:4 .*one.yaml:3"):
        check_unique(load_file(one) + load_file(two))
    check_unique(load_file(one))


def test_unreadable_files(tmp_path: Path) -> None:
    def problem(path: Path) -> str:
        with pytest.raises(SpecErrors) as caught:
            load_file(path)
        (error,) = caught.value.errors
        return str(error).replace(str(tmp_path), "")

    (tmp_path / "empty.yaml").write_text(" \n\n")
    (tmp_path / "latin.yaml").write_bytes(b"a: 1\nb: \xe9\n")
    (tmp_path / "big.yaml").write_bytes(b"#" * (2**20 * 4 + 9))
    (tmp_path / "model.onnx").write_bytes(bytes(range(256)))
    assert problem(tmp_path) == "  is a folder; expected a file such as service.yaml"
    assert problem(tmp_path / "none.yaml") == "/none.yaml  no such file"
    assert problem(tmp_path / "empty.yaml") == "/empty.yaml  is empty; expected a document with kind: ModelService"
    assert problem(tmp_path / "latin.yaml") == "/latin.yaml:2  is not UTF-8 text"
    assert "too many for a service file" in problem(tmp_path / "big.yaml")
    assert "is not UTF-8 text" in problem(tmp_path / "model.onnx")
    assert "can't be read: " in problem(tmp_path / "latin.yaml" / "below")
    assert "can't be read: " in problem(Path("a\0b"))


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    (tmp_path / "s.yaml").write_bytes(b"\xef\xbb\xbf" + HEAD.encode())
    assert load_file(str(tmp_path / "s.yaml"))[0].name == "mood"


def test_parsing_data_without_a_file_names_the_key() -> None:
    with pytest.raises(SpecErrors) as caught:
        ModelService.parse({"apiVersion": "plimsoll.dev/v1alpha1", "kind": "ModelService", "metadata": {"name": None}})
    assert [str(error) for error in caught.value.errors] == [
        "metadata.name: has no value; give it one or remove the key",
        "spec: missing; expected a mapping with model, runtime, retry, routes, budget, timeout, scaling, replicas, "
        "resources, batching, access, cache, fallback, sessionAffinity, hedging, accelerator, workload, "
        "volumeClaims or podTemplate",
    ]
    with pytest.raises(SpecErrors):
        ModelService.parse(None)
