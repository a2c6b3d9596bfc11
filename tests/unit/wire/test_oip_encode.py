"""Answers of the Open Inference Protocol, and what JSON can't say of them."""

import dataclasses
import json

import numpy as np
import pytest

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.wire import oip
from plimsoll.wire.codec import Decoded, codec_named

OIP = codec_named("oip")
MODEL = ModelInfo("m", "onnxruntime_onnx", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),))
PYTHON = ModelInfo("p", "python", takes_items=True)


def answer(outputs, info=MODEL, *, request_id=None, wanted=None, version="m-1"):
    decoded = Decoded(outputs, 1, None, request_id, wanted)
    return json.loads(OIP.encode(decoded, info, outputs, version))


def items(*values, info=PYTHON, **more):
    return {output["name"]: output for output in answer(Items(list(values)), info, **more)["outputs"]}


def test_an_answer_in_full():
    outputs = Tensors({"y": np.array([[0.5, 1.5]], np.float32), "label": np.array(['ä"\n'], object)}, 1)
    for _ in range(2):  # the second time from prepared heads
        assert answer(outputs, request_id='a"b') == {
            "model_name": "m",
            "model_version": "m-1",
            "id": 'a"b',
            "outputs": [
                {"name": "y", "datatype": "FP32", "shape": [1, 2], "data": [0.5, 1.5]},
                {"name": "label", "datatype": "BYTES", "shape": [1], "data": ['ä"\n']},
            ],
        }
    assert "id" not in answer(outputs)
    assert "model_version" not in answer(outputs, version="")


@pytest.mark.parametrize("dtype", ["?", "u1", "u2", "u4", "u8", "i1", "i2", "i4", "i8", "f2", "f4", "f8", ">f4", ">i8"])
def test_every_dtype_comes_back_as_it_was(dtype):
    array = np.arange(6).reshape(3, 2).astype(dtype)
    (output,) = answer(Tensors({"y": array}, 3))["outputs"]
    assert np.array(output["data"], np.dtype(dtype)).reshape(output["shape"]).tolist() == array.tolist()


def test_order_in_memory_does_not_matter():
    array = np.arange(6.0).reshape(2, 3).T
    (output,) = answer(Tensors({"y": array}, 3))["outputs"]
    assert (output["shape"], output["data"]) == ([3, 2], [0, 3, 1, 4, 2, 5])


def test_only_what_was_asked_for_in_that_order():
    outputs = Tensors({"a": np.zeros(1), "b": np.ones(1), "c": np.ones(1)}, 1)
    assert [output["name"] for output in answer(outputs, wanted=("c", "a"))["outputs"]] == ["c", "a"]
    with pytest.raises(Invalid, match="'z' is unknown; the model gives 'a', 'b', 'c'"):
        answer(outputs, wanted=("z",))


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("dtype", ["f2", "f4", "f8"])
def test_nan_and_infinity_fail_the_request(value, dtype):
    with pytest.raises(ModelFailed, match="output 'y' holds NaN or infinity"):
        answer(Tensors({"y": np.array([1, value], dtype)}, 2))
    with pytest.raises(ModelFailed, match="output 'y' holds NaN or infinity"):
        items({"y": float(value)})


@pytest.mark.parametrize(
    "array",
    [np.array([1j]), np.array(["2020-01-01"], "M8[D]"), np.array([None]), np.array([{}]), np.array([b"\xff"], object)],
)
def test_what_json_or_the_protocol_cannot_say_names_the_output(array):
    with pytest.raises(ModelFailed, match="'y'"):
        answer(Tensors({"y": array}, 1))


def test_a_python_models_dicts_become_tensors():
    got = items(
        {"label": "POSITIVE", "score": 0.5, "n": 3, "ok": True}, {"label": "x", "score": 1, "n": 4, "ok": False}
    )
    assert {name: (out["datatype"], out["shape"], out["data"]) for name, out in got.items()} == {
        "label": ("BYTES", [2], ["POSITIVE", "x"]),
        "score": ("FP64", [2], [0.5, 1.0]),
        "n": ("INT64", [2], [3, 4]),
        "ok": ("BOOL", [2], [True, False]),
    }


def test_lists_arrays_and_bare_values_become_tensors():
    got = items(
        {"v": [1.5, 2], "w": np.ones((2, 2), np.float32), "t": ["a", "b"], "s": np.float32(3), "e": np.str_("q")}
    )
    assert {name: (out["datatype"], out["shape"]) for name, out in got.items()} == {
        "v": ("FP64", [1, 2]),
        "w": ("FP32", [1, 2, 2]),
        "t": ("BYTES", [1, 2]),
        "s": ("FP32", [1]),
        "e": ("BYTES", [1]),
    }
    assert items(0.5, 0.7)["output"]["data"] == [0.5, 0.7]
    assert items("a", "b")["output"]["data"] == ["a", "b"]
    assert items(b"raw")["output"]["data"] == ["raw"]
    assert items(2**63)["output"]["datatype"] == "UINT64"


def test_dataclasses_are_taken_for_dicts():
    @dataclasses.dataclass
    class Mood:
        label: str
        score: float

    assert items(Mood("x", 0.5))["score"]["data"] == [0.5]


def test_metadata_names_a_bare_value_and_gives_the_datatype():
    info = ModelInfo("p", "python", outputs=(TensorSpec("score", "FP32", (-1,)),), takes_items=True)
    assert items(0.5, info=info)["score"]["datatype"] == "FP32"
    with pytest.raises(ModelFailed, match="infinity"):
        items(1e300, info=info)


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ([{"a": 1}, {"b": 1}], ["keys", "'a'", "'b'"]),
        ([{"a": 1}, 3], ["keys"]),
        ([{"a": [1, 2]}, {"a": [1]}], ["'a'"]),
        ([{"a": "x"}, {"a": 1}], ["'a'", "text"]),
        ([{"a": 1}, {"a": "x"}], ["'a'"]),
        ([{"a": None}], ["'a'", "None"]),
        ([{"a": [1, None]}], ["'a'", "None"]),
        ([{"a": ["x", None]}], ["'a'", "None"]),
        ([{"a": {"b": 1}}], ["'a'", "dict"]),
        ([{"a": Ellipsis}], ["'a'", "ellipsis"]),
        ([{"a": 2**70}], ["'a'"]),
        ([{"a": ["x", 1]}], ["'a'", "text"]),
        ([{1: 2}], ["strings"]),
        ([{"a": b"\xff"}], ["'a'", "UTF-8"]),
        ([{"a": "\ud800"}], ["'a'", "UTF-8"]),
        ([{"a": 1j}], ["'a'"]),
    ],
    ids=str,
)
def test_results_that_are_no_tensors_say_why(values, words):
    with pytest.raises(ModelFailed) as caught:
        items(*values)
    assert [word for word in words if word not in caught.value.reason] == [], caught.value.reason


def test_a_python_model_without_a_batch_axis_answers_without_one():
    info = ModelInfo("p", "python", takes_items=True, batched=False)
    assert items({"v": [1.0, 2.0]}, info=info)["v"]["shape"] == [2]


def test_many_shapes_do_not_grow_the_prepared_heads():
    for width in range(1500):
        answer(Tensors({"y": np.zeros((1, width))}, 1))
    assert len(oip.plan_of(MODEL).headers) <= 513


def test_metadata_and_health():
    assert json.loads(oip.server_metadata("1.2.3")) == {"name": "plimsoll", "version": "1.2.3", "extensions": []}
    assert json.loads(oip.model_metadata(MODEL, "m-1")) == {
        "name": "m",
        "versions": ["m-1"],
        "platform": "onnxruntime_onnx",
        "inputs": [{"name": "x", "datatype": "FP32", "shape": [-1, 4]}],
        "outputs": [{"name": "y", "datatype": "FP32", "shape": [-1, 2]}],
    }
    assert "versions" not in json.loads(oip.model_metadata(MODEL))
    assert json.loads(oip.live_body()) == {"live": True}
    assert json.loads(oip.server_ready_body(False)) == {"ready": False}
    assert json.loads(oip.model_ready_body("m", True)) == {"name": "m", "ready": True}
