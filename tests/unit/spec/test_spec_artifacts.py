"""Where a model may come from: formats told by a URI, what a laptop and a cluster can get at, what is wrong."""

import pytest
from hypothesis import example, given, strategies

from plimsoll.spec import (
    ModelService,
    SpecErrors,
    load_all_text,
)
from plimsoll.spec.artifacts import SCHEMES, guess_uri_format

SERVICE = "apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {name: mood}\nspec:\n"
DIGEST = "sha256:" + "4b1d6f0c" * 8


def service(spec: str, *, model: str = "{path: m.py}") -> ModelService:
    head = SERVICE if spec.startswith("  model:") else f"{SERVICE}  model: {model}\n"
    (found,) = load_all_text(head + spec, file="s.yaml").services
    return found


def problem(text: str) -> str:
    with pytest.raises(SpecErrors) as caught:
        load_all_text(text, file="f.yaml")
    (error,) = caught.value.errors
    return f"{error.key}: {error.message}"


@pytest.mark.parametrize(
    ("model", "runtime", "packed"),
    [
        ("{path: m.py}", "", False),
        ("{path: /srv/m.py}", "", False),
        ("{path: /srv/m.py}", "  runtime: {image: mood}\n", True),
        ("{path: m.py}", "  runtime: {image: mood}\n", False),
        ("{path: 'shop.models:Mood'}", "", True),
        ("{uri: 's3://models/mood/model.py'}", "", True),
    ],
)
def test_what_a_cluster_can_get_at(model: str, runtime: str, packed: bool) -> None:
    assert service(runtime, model=model).is_packed is packed


def test_a_laptop_serves_no_artifact_and_says_so() -> None:
    with pytest.raises(Exception, match="an artifact is fetched on a cluster alone; here write path") as caught:
        _ = service("", model="{uri: 's3://models/mood/model.py'}").local_path
    assert str(caught.value).startswith("s.yaml:5  spec.model.uri: ")
    assert service("").local_path == "m.py"


@pytest.mark.parametrize(
    ("uri", "expected"),
    [
        ("s3://models/fraud/model.onnx", "ONNX"),
        ("gs://models/fraud/model.skops", "SKLearn"),
        ("https://example.com/m/model.py?version=3", "Python"),
        ("hf://shop/fraud@v1.2/model.onnx", "ONNX"),
        ("pvc://models/fraud/model.onnx", "ONNX"),
        ("s3://models/fraud", ""),
        ("s3://models/v1.2", ""),
        ("hf://shop/fraud", ""),
        ("oci://registry.example.com/model.py:1", ""),
        ("configmap://mood.py", ""),
        ("https://example.com/model.pt", ""),
    ],
)
def test_a_format_is_guessed_from_a_uri_that_tells_it(uri: str, expected: str) -> None:
    if expected:
        assert guess_uri_format(uri) == service("", model=f"{{uri: '{uri}'}}").model_format == expected
        return
    told = problem(f"{SERVICE}  model: {{uri: '{uri}'}}\n")
    assert told == "spec.model.uri: the format can't be told from the URI; add format: Python, ONNX or SKLearn"
    assert service("", model=f"{{uri: '{uri}', format: ONNX}}").model_format == "ONNX"


@pytest.mark.parametrize(
    ("model", "expected"),
    [
        (
            "{uri: 'registry://fraud/7'}",
            "spec.model.uri: registry:// is not supported by this version yet; expected oci",
        ),
        ("{uri: 'ftp://x/m.py'}", "spec.model.uri: 'ftp' is no scheme known here; expected oci, s3"),
        ("{uri: model.py}", "spec.model.uri: 'model.py' is no URI; expected one such as oci://HOST/NAME:TAG (a local"),
        ("{uri: 's3://bucket'}", "spec.model.uri: 's3://bucket' is no URI of a model; expected s3://BUCKET/KEY"),
        ("{uri: 's3://b/../../x.py'}", "spec.model.uri: 's3://b/../../x.py' is no URI of a model"),
        ("{uri: 's3://b/a b.py'}", "is no URI of a model"),
        (
            "{uri: 'https://me:pw@example.com/m.py'}",
            "spec.model.uri: a password stands in a secret, never in a URI; write",
        ),
        (
            "{uri: 'http://example.com/m.py'}",
            "spec.model.digest: missing; http lets anybody on the way change the mode",
        ),
        ("{path: m.py, digest: 'sha256:00'}", "spec.model.digest: 'sha256:00' is no digest; expected sha256: and 64"),
        (f"{{path: m.py, digest: '{DIGEST}'}}", "spec.model.digest: belongs to uri; a local file is taken as it is"),
        (f"{{uri: 's3://b/m.py', digest: '{DIGEST.upper()}'}}", "is no digest"),
        ("{path: m.py, secretRef: {name: a}}", "spec.model.secretRef: belongs to uri; a local file needs no credent"),
        ("{uri: 'pvc://a/m.py', secretRef: {name: a}}", "spec.model.secretRef: pvc needs no credentials; remove it"),
        ("{uri: 's3://b/m.py', secretRef: {name: a, key: b}}", "spec.model.secretRef.key: unknown key"),
        ("{uri: 's3://b/m.onnx', className: A}", "spec.model.className: only a Python model has a class"),
        ("{uri: 's3://b/m.pkl'}", "spec.model.uri: a pickle runs any code it holds when loaded"),
    ],
)
def test_one_wrong_artifact(model: str, expected: str) -> None:
    assert expected in problem(f"{SERVICE}  model: {model}\n")


@given(strategies.sampled_from(SCHEMES), strategies.text(max_size=40))
@example("oci", "a/b@sha256:x")
@example("https", "[::1]/x.py")
def test_any_text_is_a_uri_or_one_problem(scheme: str, rest: str) -> None:
    data = {
        "apiVersion": "plimsoll.dev/v1alpha1",
        "kind": "ModelService",
        "metadata": {"name": "mood"},
        "spec": {"model": {"format": "ONNX", "uri": f"{scheme}://{rest}", "digest": DIGEST}},
    }
    try:
        assert ModelService.parse(data).is_packed
    except SpecErrors as errors:
        keys = [error.key for error in errors.errors]
    else:
        keys = ["spec.model.uri"]
    assert keys == ["spec.model.uri"]
