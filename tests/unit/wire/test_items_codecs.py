"""KServe v1 and plain JSON: items in, items out, for models of arrays and for Python models."""

import dataclasses
import datetime
import decimal
import enum
import json
import uuid

import numpy as np
import pydantic
import pytest

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.wire.codec import Decoded, codec_named
from plimsoll.wire.json_values import encode_value

V1, PLAIN, OIP = codec_named("kserve_v1"), codec_named("plain"), codec_named("oip")
ONE = ModelInfo("one", "onnxruntime_onnx", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1, 2)),))
TWO = ModelInfo(
    "two",
    "onnxruntime_onnx",
    (TensorSpec("image in", "FP32", (-1, 2, -1)), TensorSpec("n", "INT64", (-1,))),
    max_batch=3,
)
TEXT = ModelInfo("text", "sklearn", (TensorSpec("x", "BYTES", (-1,)),))
WHOLE = ModelInfo("whole", "onnxruntime_onnx", (TensorSpec("x", "FP32", (2, 2)),), batched=False, max_batch=1)
PYTHON = ModelInfo("p", "python", takes_items=True)


def refused(codec, body, info):
    with pytest.raises(Invalid) as caught:
        codec.decode(body if isinstance(body, bytes) else json.dumps(body).encode(), info)
    assert "\n" not in caught.value.reason
    return caught.value.reason


def v1(instances, info):
    return V1.decode(json.dumps({"instances": instances}).encode(), info)


def encode(codec, outputs, info=ONE):
    size = outputs.size if isinstance(outputs, Tensors) else len(outputs.values)
    return json.loads(codec.encode(Decoded(outputs, size, None), info, outputs, "r-1"))


def test_unknown_codec():
    with pytest.raises(KeyError):
        codec_named("smoke-signals")


# --- KServe v1 ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("instances", [[[1, 2], [3, 4]], [{"x": [1, 2]}, {"x": [3, 4]}]], ids=["bare", "objects"])
def test_v1_instances_are_stacked(instances):
    decoded = v1(instances, ONE)
    assert decoded.size == 2
    assert decoded.inputs.arrays["x"].tolist() == [[1, 2], [3, 4]]
    assert decoded.inputs.arrays["x"].dtype == np.float32


def test_v1_objects_of_several_inputs():
    decoded = v1([{"n": 1, "image in": [[1], [2]]}, {"image in": [[3], [4]], "n": 2}], TWO)
    assert list(decoded.inputs.arrays) == ["image in", "n"]
    assert decoded.inputs.arrays["image in"].shape == (2, 2, 1)
    assert decoded.inputs.arrays["n"].tolist() == [1, 2]


def test_v1_strings_and_whole_models():
    assert v1(["a", "b"], TEXT).inputs.arrays["x"].tolist() == ["a", "b"]
    decoded = v1([[[1, 2], [3, 4]]], WHOLE)
    assert decoded.inputs.arrays["x"].shape == (2, 2)
    assert "one instance" in refused(V1, {"instances": [[[1, 2], [3, 4]]] * 2}, WHOLE)


def test_requests_of_different_protocols_can_share_a_batch():
    oip = OIP.decode(b'{"inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1,2]}]}', ONE)
    assert oip.key == v1([[1, 2]], ONE).key == PLAIN.decode(b"[1,2]", ONE).key
    assert v1([1], PYTHON).key == PLAIN.decode(b"1", PYTHON).key


def test_v1_python_models_get_the_instances_as_they_are():
    instances = [{"text": "a", "n": None}, 3, [1, "x"]]
    decoded = v1(instances, PYTHON)
    assert isinstance(decoded.inputs, Items)
    assert decoded.inputs.values == instances
    assert decoded.size == 3


@pytest.mark.parametrize(
    ("body", "info", "words"),
    [
        (b"", ONE, ["empty"]),
        (b"[]", ONE, ["object"]),
        (b"{}", PYTHON, ["instances"]),
        (b'{"instances":3}', PYTHON, ["instances"]),
        (b'{"instances":[]}', PYTHON, ["at least one"]),
        (b'{"instances":[]}', ONE, ["at least one"]),
        (b'{"instances":3}', ONE, ["instances", "'x'"]),
        (b'{"instances":[[1,2],[3]]}', ONE, ["'x'", "length"]),
        (b'{"instances":[[1,2,3]]}', ONE, ["'x'", "[-1, 2]"]),
        (b'{"instances":[[1,null]]}', ONE, ["instances[0][1]"]),
        (b'{"instances":[[1,1e39]]}', ONE, ["instances[0][1]"]),
        (b'{"instances":[{"z":[1,2]}]}', ONE, ["z", "'x'"]),
        (b'{"instances":[{}]}', ONE, ["x"]),
        (b'{"instances":[[[1],[2]]]}', TWO, ["object"]),
        (b'{"instances":[{"image in":[[1],[2]],"n":1.5}]}', TWO, ["instances[0].n"]),
        (b'{"instances":[{"image in":[[1]],"n":1}]}', TWO, ["'image in'", "[-1, 2, -1]"]),
        (json.dumps({"instances": [{"image in": [[1], [2]], "n": 1}] * 4}).encode(), TWO, ["at most 3"]),
    ],
)
def test_v1_one_line_names_the_place(body, info, words):
    reason = refused(V1, body, info)
    assert [word for word in words if word not in reason] == [], reason


def test_v1_predictions():
    y = np.array([[0.5, 1], [2, 3]], np.float32)
    assert encode(V1, Tensors({"y": y}, 2)) == {"predictions": [[0.5, 1], [2, 3]]}
    assert encode(V1, Tensors({"y": y, "label": np.array(["a", "b"])}, 2)) == {
        "predictions": [{"y": [0.5, 1], "label": "a"}, {"y": [2, 3], "label": "b"}]
    }
    assert encode(V1, Tensors({"y": y}, 1), WHOLE) == {"predictions": [[[0.5, 1], [2, 3]]]}
    assert encode(V1, Tensors({"y": y, "z": y[0]}, 1), WHOLE) == {
        "predictions": [{"y": [[0.5, 1], [2, 3]], "z": [0.5, 1]}]
    }
    assert encode(V1, Items([{"label": "x"}, 3]), PYTHON) == {"predictions": [{"label": "x"}, 3]}
    for outputs in (
        Tensors({"y": y * np.nan}, 2),
        Tensors({"y": y * np.nan, "z": y}, 2),
        Items([{"y": [1, float("inf")]}]),
    ):
        with pytest.raises(ModelFailed, match="JSON cannot express"):
            encode(V1, outputs, PYTHON if isinstance(outputs, Items) else ONE)


# --- plain JSON -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("body", [b'{"text": "\xc3\xa4"}', b"3", b"null", b' [1, {"a": 2}] ', b'"x"', b'{"a":1,"a":2}'])
def test_plain_python_models_get_the_decoded_body(body):
    decoded = PLAIN.decode(body, PYTHON)
    assert decoded.inputs.values == [json.loads(body)]
    assert decoded.size == 1


def test_plain_bodies_for_models_of_arrays():
    assert PLAIN.decode(b'{"x":[1,2]}', ONE).inputs.arrays["x"].tolist() == [[1, 2]]
    assert PLAIN.decode(b" [1,2]", ONE).inputs.arrays["x"].shape == (1, 2)
    assert PLAIN.decode(b'"some text"', TEXT).inputs.arrays["x"].tolist() == ["some text"]
    assert PLAIN.decode(b"[[1,2],[3,4]]", WHOLE).inputs.arrays["x"].shape == (2, 2)
    decoded = PLAIN.decode(b'{"n":1,"image in":[[1,2],[3,4]]}', TWO)
    assert decoded.inputs.arrays["image in"].shape == (1, 2, 2)


@pytest.mark.parametrize("info", [ONE, PYTHON])
@pytest.mark.parametrize("body", [b"", b"  ", b"{", b'{"x":[1,2]} x', b'"\xff"', b"[" * 100_000, b"text=hello"])
def test_plain_bodies_that_are_no_json(body, info):
    assert refused(PLAIN, body, info)


def test_plain_answers():
    y = np.array([[0.5, 1]], np.float32)
    assert encode(PLAIN, Tensors({"y": y}, 1)) == {"y": [0.5, 1]}
    assert encode(PLAIN, Tensors({"y": np.array([7]), "t": np.array([["a", "b"]], object)}, 1)) == {
        "y": 7,
        "t": ["a", "b"],
    }
    assert encode(PLAIN, Tensors({"t": np.array([[["a"], ["b"]]], object)}, 1)) == {"t": [["a"], ["b"]]}
    assert encode(PLAIN, Tensors({"y": y}, 1), WHOLE) == {"y": [[0.5, 1]]}
    assert encode(PLAIN, Items([{"label": "x", "none": None}]), PYTHON) == {"label": "x", "none": None}
    with pytest.raises(ModelFailed, match="2 results"):
        encode(PLAIN, Items([1, 2]), PYTHON)
    with pytest.raises(ModelFailed, match="'y'"):
        encode(PLAIN, Tensors({"y": np.array([1j])}, 1))


# --- results of Python models ---------------------------------------------------------------------------------------


class Color(enum.Enum):
    RED = "red"


@dataclasses.dataclass
class Point:
    x: float
    tags: set[str]


class Answer(pydantic.BaseModel):
    score: float
    when: datetime.date


def test_the_usual_types_have_a_json_form():
    value = {
        "numpy": np.float32(0.5), "array": np.eye(2), "int": np.int64(3), "bool": np.bool_(True), "str": np.str_("s"),
        "enum": Color.RED, "data": Point(1.0, {"a"}), "model": Answer(score=0.5, when=datetime.date(2024, 2, 29)),
        "time": datetime.datetime(2024, 1, 1, tzinfo=datetime.UTC), "decimal": decimal.Decimal("4.20"), "tuple": (1, 2),
        "bytes": b"abc", "uuid": uuid.UUID(int=1), 3: "key", np.int64(4): "key",
    }  # fmt: skip
    assert json.loads(encode_value(value)) == {
        "numpy": 0.5, "array": [[1, 0], [0, 1]], "int": 3, "bool": True, "str": "s", "enum": "red",
        "data": {"x": 1.0, "tags": ["a"]}, "model": {"score": 0.5, "when": "2024-02-29"},
        "time": "2024-01-01T00:00:00Z",
        "decimal": "4.20", "tuple": [1, 2], "bytes": "YWJj", "uuid": str(uuid.UUID(int=1)), "3": "key", "4": "key",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("value", "place"),
    [
        (float("nan"), "nan"),
        ({"a": [1, {"b": float("inf")}]}, "a[1].b"),
        ({"a": None, "b": np.array([1.0, np.nan])}, "b[1]"),
        (np.float32("nan"), "nan"),
        (Point(float("-inf"), set()), "x"),
        (Answer.model_construct(score=float("nan"), when=None), "score"),
        ({1: float("nan")}, "1"),
    ],
    ids=str,
)
def test_nan_is_found_and_its_place_named(value, place):
    with pytest.raises(ModelFailed, match="JSON cannot express") as caught:
        encode_value(value)
    assert place in caught.value.reason


def test_none_and_the_word_null_are_no_nan():
    assert encode_value({"a": None, "b": "null", "c": 1.5}) == b'{"a":null,"b":"null","c":1.5}'


class Circle:
    def tolist(self):
        raise RuntimeError("round")


def endless():
    value = []
    value.append(value)
    return value


@pytest.mark.parametrize(
    ("value", "word"),
    [
        (object(), "object"),
        ({"a": lambda: 0}, "function"),
        (1j, "complex"),
        ("\ud800", "surrogate"),
        (endless(), "holds itself"),
        (Circle(), "round"),
        (Answer, "JSON form"),
        ({(1, 2): 3}, "JSON form"),
    ],
    ids=lambda v: v if isinstance(v, str) and v.isascii() else "value",
)
def test_what_has_no_json_form_is_named(value, word):
    with pytest.raises(ModelFailed) as caught:
        encode_value(value)
    assert word in caught.value.reason
