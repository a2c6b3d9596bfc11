"""What a valid file means: defaults, plain numbers, the way back to what was written."""

import json
from pathlib import Path

import pytest

from plimsoll.core.errors import SpecErrors
from plimsoll.spec import ModelService, Origin, load_text, not_honoured

MINIMAL = (
    "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec: {model: {path: ./m.py}}\n"
)
FULL = """\
apiVersion: plimsoll.dev/v1alpha1
kind: ModelService
metadata:
  name: sentiment
  namespace: shop
  labels: {tier: online, app.kubernetes.io/name: mood, empty: ""}
  annotations: {note: "anything: at all"}
spec:
  model: {format: Python, path: ./sentiment.py, className: Sentiment}
  runtime:
    requirements: [vaderSentiment==3.3.2, "numpy>=2.0; python_version > '3.8'"]
    isolation: Process
    predictTimeout: 3s
    loadTimeout: 2m
    unsafeFormats: [Pickle]
  retry: Never
  routes: [{path: /analyze}, {path: /analyze, host: api.example.com}]
  budget: {window: 1m, latency: {p50: 20ms, p95: 50ms, p99: 100ms}, errorRate: 0.1%}
  timeout: 250ms
  scaling: {minReplicas: 2, maxReplicas: 8, hold: 0s}
  replicas: 0
  resources: {requests: {cpu: 1500m, memory: 512Mi}, limits: {cpu: 2, memory: 1Gi}}
  batching: {maxSize: 64, linger: 1ms}
"""


def only(text: str) -> ModelService:
    (service,) = load_text(text, file="service.yaml")
    return service


def parsed(**spec: object) -> ModelService:
    return ModelService.parse(
        {
            "apiVersion": "plimsoll.dev/v1alpha1",
            "kind": "ModelService",
            "metadata": {"name": "mood"},
            "spec": {"model": {"path": "m.py"}, **spec},
        }
    )


def test_the_least_file_and_every_default() -> None:
    service = only(MINIMAL)
    assert service.name == "mood"
    assert service.labels == {}
    assert service.model_format == "Python"
    assert (service.p50_s, service.p95_s, service.p99_s, service.target_s, service.error_rate) == (None,) * 5
    assert (service.timeout_s, service.window_s, service.hold_s) == (60.0, 300.0, 30.0)
    assert (service.min_replicas, service.max_replicas, service.wanted_replicas) == (1, 1, 1)
    assert (service.cpus, service.threads) == (1.0, 1)
    assert (service.memory_limit_bytes, service.memory_request_bytes) == (None, None)
    assert (service.predict_timeout_s, service.load_timeout_s) == (10.0, 60.0)
    assert (service.max_batch, service.linger_s) == (None, 0.0)
    assert service.retries
    assert service.spec.runtime.isolation == "Thread"
    assert service.spec.runtime.requirements == ()
    assert service.spec.runtime.unsafe_formats == ()


def test_every_key_in_plain_numbers() -> None:
    service = only(FULL)
    assert (service.p50_s, service.p95_s, service.p99_s, service.target_s) == (0.02, 0.05, 0.1, 0.1)
    assert service.error_rate == pytest.approx(0.001)
    assert (service.timeout_s, service.window_s, service.hold_s) == (0.25, 60.0, 0.0)
    assert (service.min_replicas, service.max_replicas, service.wanted_replicas) == (2, 8, 0)
    assert (service.cpus, service.threads) == (1.5, 1)
    assert (service.memory_limit_bytes, service.memory_request_bytes) == (2**30, 2**29)
    assert (service.predict_timeout_s, service.load_timeout_s) == (3.0, 120.0)
    assert (service.max_batch, service.linger_s) == (64, 0.001)
    assert not service.retries
    assert [(route.path, route.host) for route in service.spec.routes] == [
        ("/analyze", None),
        ("/analyze", "api.example.com"),
    ]


def test_the_timeout_is_twice_the_p99_unless_written() -> None:
    assert parsed(budget={"latency": {"p99": "100ms"}}).timeout_s == pytest.approx(0.2)
    assert parsed(budget={"latency": {"p99": "100ms"}}, timeout="100ms").timeout_s == pytest.approx(0.1)
    assert parsed(budget={"latency": {"p95": "100ms"}}).timeout_s == 60.0


def test_max_replicas_follows_min_replicas() -> None:
    assert parsed(scaling={"minReplicas": 3}).max_replicas == 3
    assert parsed(scaling={"minReplicas": 3}).wanted_replicas == 3


def test_a_limit_without_a_request_is_the_request() -> None:
    service = parsed(resources={"limits": {"cpu": "4", "memory": "1Gi"}})
    assert (service.cpus, service.threads, service.memory_request_bytes) == (4.0, 4, 2**30)
    assert parsed(resources={"requests": {"cpu": "500m"}}).threads == 1


@pytest.mark.parametrize(
    ("path", "model_format"),
    [
        ("./m.py", "Python"), ("folder", "Python"), ("folder/", "Python"), (".", "Python"), ("..", "Python"),
        ("../a.b/model", "Python"), ("models/v1.2", "Python"), ("package.module:Class", "Python"), ("m:C", "Python"),
        ("m.onnx", "ONNX"), ("M.ONNX", "ONNX"), ("/abs/m.skops", "SKLearn"),
    ],
)  # fmt: skip
def test_the_format_is_guessed(path: str, model_format: str) -> None:
    assert parsed(model={"path": path}).model_format == model_format


@pytest.mark.parametrize("suffix", ["pkl", "pickle", "joblib"])
def test_a_pickle_is_allowed_aloud(suffix: str) -> None:
    service = parsed(model={"path": f"m.{suffix}"}, runtime={"unsafeFormats": ["Pickle"]})
    assert service.model_format == "SKLearn"
    with pytest.raises(SpecErrors, match=r"spec\.model\.path: a pickle runs any code .* \[Pickle\]"):
        parsed(model={"path": f"m.{suffix}"})


def test_a_written_format_wins_over_the_suffix() -> None:
    assert parsed(model={"path": "m.bin", "format": "ONNX"}).model_format == "ONNX"


@pytest.mark.parametrize("text", [MINIMAL, FULL])
def test_dump_is_what_was_written_and_parses_to_the_same(text: str) -> None:
    service = only(text)
    dumped = service.dump()
    assert dumped == json.loads(json.dumps(dumped))
    again = ModelService.parse(dumped)
    assert again.dump() == dumped
    assert again == service
    assert again.origin == Origin()
    if text is MINIMAL:
        assert set(dumped["spec"]) == {"model"}
    else:
        assert dumped["spec"]["resources"]["limits"]["cpu"] == "2"
        assert dumped["spec"]["routes"] == [{"path": "/analyze"}, {"path": "/analyze", "host": "api.example.com"}]


def test_services_are_equal_where_the_same_is_written() -> None:
    assert only(MINIMAL) == only("# a comment\n" + MINIMAL)
    assert only(MINIMAL) != only(FULL)
    assert only(MINIMAL) != MINIMAL


def test_a_service_is_immutable() -> None:
    with pytest.raises(ValueError, match="frozen"):
        only(MINIMAL).spec.retry = "Never"


def test_a_service_remembers_where_it_came_from() -> None:
    first, second = load_text(MINIMAL + "---\n" + FULL, file="/srv/two.yaml")
    assert first.origin.line == 1
    assert second.origin.line == 6
    assert second.directory == Path("/srv")
    assert str(second.problem("spec.model.path", "no such file")) == "/srv/two.yaml:14  spec.model.path: no such file"
    assert str(first.problem("spec.scaling.hold", "x")) == "/srv/two.yaml:4  spec.scaling.hold: x"


def test_kubernetes_numbers_for_quantities() -> None:
    service = parsed(resources={"requests": {"cpu": 2, "memory": 536870912}})
    assert (service.cpus, service.memory_request_bytes) == (2.0, 2**29)
    assert service.dump()["spec"]["resources"]["requests"] == {"cpu": "2", "memory": "536870912"}


def test_a_bare_zero_is_a_duration() -> None:
    assert parsed(batching={"linger": 0}).linger_s == 0.0


def test_what_a_laptop_cannot_honour() -> None:
    assert not_honoured(only(MINIMAL)) == []
    assert [line.partition(":")[0] for line in not_honoured(only(FULL))] == [
        "metadata.namespace",
        "spec.resources.requests.memory",
        "spec.resources.requests.cpu",
        "spec.resources.limits.cpu",
    ]
    assert not_honoured(only(FULL), "kubernetes") == []
