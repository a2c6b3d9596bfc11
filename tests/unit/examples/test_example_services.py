"""Every service in examples/ answers its request as its folder says, in this process."""

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from onnxruntime import InferenceSession

from plimsoll.models import ModelSource, open_model
from plimsoll.models.examples import read_examples, run_examples
from plimsoll.spec import load_file

EXAMPLES = Path(__file__).resolve().parents[3] / "examples"
SERVICES = sorted(EXAMPLES.glob("*/*.yaml"))
EACH = [(file, service.name) for file in SERVICES for service in load_file(file)]


@pytest.fixture(scope="session")
def digits(tmp_path_factory):
    """digits.onnx, trained once for these tests; `make` trains the one in examples/."""
    folder = tmp_path_factory.mktemp("digits")
    train(folder)
    return folder / "digits.onnx"


def train(folder, *options):
    script = [sys.executable, str(EXAMPLES / "digits" / "train.py"), "--out", str(folder), *options]
    return subprocess.run(script, capture_output=True, text=True, check=True, timeout=60).stdout


def test_there_are_services():
    assert [file.relative_to(EXAMPLES).as_posix() for file in SERVICES] == [
        "digits/service.yaml", "sentiment/service.yaml", "tenants/service.yaml", "two-models/digits.yaml",
        "two-models/sentiment.yaml",
    ]  # fmt: skip


@pytest.mark.parametrize(("file", "name"), EACH, ids=[f"{file.parent.name}/{name}" for file, name in EACH])
def test_the_request_gets_the_expected_answer(file, name, request):
    (service,) = (service for service in load_file(file) if service.name == name)
    path = (file.parent / service.spec.model.path).resolve()
    if path.suffix == ".onnx":
        path = request.getfixturevalue("digits")
    requirements = tuple(service.spec.runtime.requirements)
    model = open_model(ModelSource(service.name, str(path), requirements=requirements, directory=str(file.parent)))
    model.load()
    examples = read_examples(str(file.parent), service.name)
    assert examples
    assert all(example.checked for example in examples), "an answer to expect stands beside every request"
    results = run_examples(model, examples) + run_examples(model)
    assert [result.error for result in results if not result.ok] == []
    assert model.warm_up_inputs(4) is not None
    model.close()


def children_s():
    """CPU time of the processes that were started here and have ended."""
    times = os.times()
    return times.children_user + times.children_system


def agreement(one, other):
    """The share of images that two trained files give the same label."""
    images = np.random.default_rng(7).integers(0, 17, (500, 64)).astype(np.float32)
    first, second = (InferenceSession(str(path)).run(["label"], {"x": images})[0] for path in (one, other))
    return float(np.mean(first == second))


def test_training_is_repeatable_accurate_and_skipped_when_done(digits, tmp_path):
    before = children_s()
    told = train(tmp_path, "--write-request")
    assert children_s() - before < 30  # of CPU: a busy machine takes longer
    assert agreement(digits, tmp_path / "digits.onnx") > 0.98  # sums of other memory addresses end in other bits
    assert float(told.split()[1].rstrip("%")) > 95
    assert sorted(path.name for path in tmp_path.iterdir()) == ["digits.onnx", "expected.json", "request.json"]
    assert train(tmp_path, "--if-missing") == ""


@pytest.mark.parametrize("name", ["sentiment", "digits", "two-models"])
def test_its_readme_shows_the_command_and_the_answer(name):
    text = (EXAMPLES / name / "README.md").read_text()
    assert "plimsoll up" in text
    assert "curl localhost:8080/" in text


@pytest.mark.parametrize("body", [None, {}, {"text": 5}, "text"])
def test_sentiment_refuses_what_has_no_text_alone(body):
    model = open_model(ModelSource("sentiment", str(EXAMPLES / "sentiment" / "model.py")))
    model.load()
    from plimsoll.core.errors import Invalid
    from plimsoll.core.request import Items

    bad, good = model.predict([Items([body]), Items([{"text": "good"}])])
    assert isinstance(bad, Invalid)
    assert good.values[0]["label"] == "POSITIVE"
    model.close()
