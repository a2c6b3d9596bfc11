"""Examples: where they come from, how they run, what counts as the expected answer."""

import json

import numpy as np
import pytest

from plimsoll.core.errors import ModelFailed, ModelLoadError
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.models.examples import Example, difference, plain, read_examples, run_examples


@pytest.mark.parametrize(
    ("expected", "got"),
    [
        (1.0, 1.00005),
        (0, 1e-7),
        ({"a": 1}, {"a": 1, "b": 2}),
        ({"a": [{"b": 0.5}]}, {"a": [{"b": 0.50001, "c": 1}]}),
        (float("nan"), float("nan")),
        (1, 1.0),
        (None, None),
        ("a", "a"),
    ],
)
def test_what_matches(expected, got):
    assert difference(expected, got) == ""


@pytest.mark.parametrize(
    ("expected", "got", "told"),
    [
        (1.0, 1.001, "expected 1.0, got 1.001"),
        ({"a": 1}, {"b": 1}, "'a' is missing"),
        ({"a": {"b": [1, 2]}}, {"a": {"b": [1, 3]}}, "a.b[1]: expected 2, got 3"),
        ([1, 2], [1], "expected 2 elements, got 1"),
        (True, 1, "expected true, got 1"),
        ("1", 1, 'expected "1", got 1'),
        (1.0, "1.0", 'expected 1.0, got "1.0"'),
        ({}, [], "expected {}, got []"),
        ("x" * 200, "", "…, got"),
    ],
)
def test_what_does_not(expected, got, told):
    assert told in difference(expected, got)


def test_arrays_and_bytes_become_plain():
    got = plain({"a": np.array([[1, 2]]), "b": np.float32(0.5), 3: (b"x", np.array(["y"], object))})
    assert got == {"a": [[1, 2]], "b": 0.5, "3": ["x", ["y"]]}
    json.dumps(got)


class Doubling:
    """A model of arrays: label = sum of the row, y = 2 x."""

    info = ModelInfo(
        "m",
        "fake",
        inputs=(TensorSpec("x", "FP32", (-1, 2)),),
        outputs=(TensorSpec("label", "FP32", (-1,)), TensorSpec("y", "FP32", (-1, 2))),
    )

    def predict(self, requests):
        [request] = requests
        x = request.arrays["x"]
        if (x < 0).any():
            raise ModelFailed("negative")
        return [Tensors({"label": x.sum(axis=1), "y": 2 * x}, request.size)]


def run_one(model, *example):
    [result] = run_examples(model, [Example(*example)])
    return result


def test_plain_json_is_one_item_without_the_batch_axis():
    result = run_one(Doubling(), {"x": [1, 2]}, {"label": 3, "y": [2, 4]}, True)
    assert (result.ok, result.error, result.got) == (True, "", {"label": 3.0, "y": [2.0, 4.0]})
    assert run_one(Doubling(), [1, 2], {"label": 3}, True).ok, "a lone input needs no name"


def test_protocol_bodies_have_the_batch_axis():
    body = {"inputs": [{"name": "x", "shape": [2, 2], "datatype": "FP32", "data": [1, 2, 3, 4]}]}
    answer = {"outputs": [{"name": "y", "shape": [2, 2], "datatype": "FP32", "data": [2, 4, 6, 8]}]}
    assert run_one(Doubling(), body, answer, True).ok
    result = run_one(Doubling(), body, {"outputs": [{"name": "label", "data": [3, 8]}]}, True)
    assert result.error == "label[1]: expected 8, got 7.0"


def test_without_an_expected_answer_any_will_do():
    assert run_one(Doubling(), {"x": [1, 2]}).ok


@pytest.mark.parametrize(
    ("body", "error"),
    [({"y": [1]}, "input 'x' is missing"), ({"x": "text"}, "could not convert"), ({"x": [-1, 0]}, "negative")],
)
def test_errors_are_results(body, error):
    result = run_one(Doubling(), body, {"label": 1}, True)
    assert not result.ok
    assert error in result.error


def test_a_models_own_examples_are_the_default():
    class Own:
        info = ModelInfo("m", "python", takes_items=True)
        examples = (Example(2, 4, True), Example(3, 5, True, "odd"))

        def predict(self, requests):
            return [Items([2 * value for value in request.values]) for request in requests]

    good, bad = run_examples(Own())
    assert (good.ok, good.name, good.seconds >= 0) == (True, "example 1", True)
    assert (bad.ok, bad.name, bad.error) == (False, "odd", "expected 5, got 6")


def write(folder, **files):
    for name, content in files.items():
        (folder / name.replace("__", ".")).write_text(content)


def test_request_and_expected_beside_the_service(tmp_path):
    assert read_examples(str(tmp_path), "mood") == []
    write(tmp_path, request__json='{"text": "a"}')
    assert read_examples(str(tmp_path), "mood") == [Example({"text": "a"}, None, False, "request.json")]
    write(tmp_path, expected__yaml="label: 1\n")
    assert read_examples(str(tmp_path), "mood") == [Example({"text": "a"}, {"label": 1}, True, "request.json")]
    write(tmp_path, mood__request__json="1", mood__expected__json="2")
    assert read_examples(str(tmp_path), "mood") == [Example(1, 2, True, "mood.request.json")]


def test_a_list_of_examples_in_one_file(tmp_path):
    write(tmp_path, request__yaml="- {input: 1, output: 2, name: first}\n- {input: [3]}\n")
    assert read_examples(str(tmp_path), "mood") == [Example(1, 2, True, "first"), Example([3])]
    write(tmp_path, request__json="[1, 2]")
    assert read_examples(str(tmp_path), "mood")[0].input == [1, 2], "a body that is a list is a body"


@pytest.mark.parametrize(
    ("name", "text"), [("request.json", "{"), ("request.yaml", "a: [1"), ("request.json", "\udcff")]
)
def test_a_file_that_cannot_be_read(tmp_path, name, text):
    (tmp_path / name).write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(ModelLoadError) as caught:
        read_examples(str(tmp_path), "mood")
    assert str(caught.value).startswith(f"{name} can't be read as ")
    assert "\n" not in str(caught.value)
