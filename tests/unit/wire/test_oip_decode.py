"""Requests of the Open Inference Protocol: what is taken, and the one line that tells what is wrong."""

import json

import numpy as np
import pytest

from plimsoll.core.errors import Invalid
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import DATATYPES, ModelInfo, TensorSpec
from plimsoll.wire.codec import codec_named
from plimsoll.wire.oip import decode_generally

OIP = codec_named("oip")
DIGITS = ModelInfo(
    "digits", "onnxruntime_onnx", (TensorSpec("x", "FP32", (-1, 4)),), (TensorSpec("y", "FP32", (-1, 2)),)
)
TWO = ModelInfo(
    "two",
    "onnxruntime_onnx",
    (TensorSpec("a", "FP32", (-1, -1)), TensorSpec("n", "INT64", (-1,))),
    (TensorSpec("y", "FP32", (-1, 2)), TensorSpec("z", "FP32", (-1, 2))),
    max_batch=3,
)
UNBATCHED = ModelInfo("whole", "onnxruntime_onnx", (TensorSpec("x", "FP32", (2, -1)),), batched=False, max_batch=1)
ANYTHING = ModelInfo("free", "python", takes_items=True)


def tensor(name="x", datatype="FP32", shape=(1, 4), data=(1, 2, 3, 4), **more):
    return {"name": name, "datatype": datatype, "shape": list(shape), "data": data, **more}


def body(*inputs, **more):
    return json.dumps({"inputs": list(inputs), **more}).encode()


def refused(request, info=DIGITS):
    with pytest.raises(Invalid) as caught:
        OIP.decode(request, info)
    assert "\n" not in caught.value.reason
    return caught.value


@pytest.mark.parametrize("data", [[1, 2, 3, 4, 5, 6, 7, 8], [[1, 2, 3, 4], [5, 6, 7, 8]]], ids=["flat", "nested"])
def test_flat_and_nested_data_are_the_same_tensor(data):
    decoded = OIP.decode(body(tensor(shape=(2, 4), data=data), id="r1"), DIGITS)
    assert isinstance(decoded.inputs, Tensors)
    array = decoded.inputs.arrays["x"]
    assert array.dtype == np.float32
    assert array.flags.writeable
    assert array.tolist() == [[1, 2, 3, 4], [5, 6, 7, 8]]
    assert (decoded.size, decoded.id, decoded.outputs) == (2, "r1", None)


VALUES = {
    "BOOL": [True, False], "UINT8": [0, 255], "UINT16": [0, 65535], "UINT32": [0, 2**32 - 1], "UINT64": [0, 2**64 - 1],
    "INT8": [-128, 127], "INT16": [-(2**15), 2**15 - 1], "INT32": [-(2**31), 2**31 - 1], "INT64": [-(2**63), 2**63 - 1],
    "FP16": [-65504.0, 0.5], "FP32": [3.4028234663852886e38, -0.5], "FP64": [1.7e308, 5e-324], "BYTES": ["", "größe"],
}  # fmt: skip


def test_the_table_of_values_holds_every_datatype():
    assert set(VALUES) == set(DATATYPES)


@pytest.mark.parametrize("datatype", DATATYPES)
@pytest.mark.parametrize("nested", [False, True])
def test_the_limits_of_every_datatype_arrive_unchanged(datatype, nested):
    values = VALUES[datatype]
    info = ModelInfo("m", "onnxruntime_onnx", (TensorSpec("x", datatype, (-1, 2)),))
    decoded = OIP.decode(body(tensor(datatype=datatype, shape=(1, 2), data=[values] if nested else values)), info)
    assert decoded.inputs.arrays["x"].tolist() == [values]


BAD_VALUES = {
    "BOOL": [1, "true", None], "UINT8": [-1, 256, 1.0, "1", None, True], "UINT16": [65536], "UINT32": [2**32, 0.5],
    "UINT64": [-1, 2**64, 2**70], "INT8": [128, -129], "INT16": [2**15], "INT32": [2**31],
    "INT64": [2**63, -(2**63) - 1, 1.5],
    "FP16": [65520.0, 1e9], "FP32": [3.5e38, "1", None, True, [1]], "FP64": [None, "x", 10**400],
    "BYTES": [1, None, {"a": 1}],
}  # fmt: skip


@pytest.mark.parametrize(
    ("datatype", "value"), [(d, v) for d, values in BAD_VALUES.items() for v in values], ids=lambda v: str(v)[:20]
)
@pytest.mark.parametrize("nested", [False, True])
def test_a_value_that_the_datatype_cannot_hold_is_named(datatype, value, nested):
    info = ModelInfo("m", "onnxruntime_onnx", (TensorSpec("x", datatype, (-1, 2)),))
    data = [VALUES[datatype][0], value]
    reason = refused(body(tensor(datatype=datatype, shape=(1, 2), data=[data] if nested else data)), info).reason
    assert "'x'" in reason
    assert datatype in reason or "nested" in reason


@pytest.mark.parametrize("word", ["NaN", "Infinity", "-Infinity", "1e400", "01", "1.", ".5", "+1"])
def test_numbers_that_json_or_the_datatype_does_not_have(word):
    request = body(tensor(data=[1, 2, 3, 777])).replace(b"777", word.encode())
    assert refused(request).status == 400


@pytest.mark.parametrize(
    ("request_body", "words"),
    [
        (b"", ["empty"]),
        (b"  \n", ["empty"]),
        (b"{", ["truncated"]),
        (b"not json", ["malformed"]),
        (b'{"inputs":[]} trailing', ["trailing"]),
        (b"[]", ["expected object"]),
        (b"{}", ["inputs"]),
        (b'{"inputs":{}}', ["inputs"]),
        (b'{"inputs":[]}', ["'x'", "missing"]),
        (b'{"inputs":[3]}', ["inputs[0]"]),
        (b'{"inputs":[],"id":7}', ["id"]),
        (b'{"more":' + b"[" * 100_000, ["deeply"]),
        (b'{"inputs":[{"name":"\xff","shape":[1],"datatype":"FP32","data":[1]}]}', ["UTF-8"]),
        (body(tensor(), tensor()), ["'x'", "twice"]),
        (body(tensor(), tensor("extra")), ["'extra'", "'x'"]),
        (body(tensor("y")), ["'y'", "unknown", "'x'"]),
        (body(tensor(datatype="FP64")), ["'x'", "FP32", "FP64"]),
        (body(tensor(datatype="BF16")), ["BF16", "unknown"]),
        (body(tensor(datatype="fp32")), ["fp32", "unknown"]),
        (body(tensor(shape=(1, 5), data=[1] * 5)), ["[-1, 4]", "[1, 5]"]),
        (body(tensor(shape=(4,))), ["[-1, 4]", "[4]"]),
        (body(tensor(shape=())), ["shape"]),
        (body(tensor(shape=(0, 4), data=[])), ["at least one"]),
        (body(tensor(shape=(-1, 4))), ["shape[0]"]),
        (body(tensor(shape=(1.0, 4))), ["shape[0]"]),
        (body(tensor(shape=(2**40, 4))), ["shape[0]"]),
        (body(tensor(shape=(2**31 - 1, 4))), ["wants"]),
        (body(tensor(data=[1, 2, 3])), ["'x'", "wants 4", "holds 3"]),
        (body(tensor(data=[[1, 2], [3, 4]])), ["[2, 2]", "[1, 4]"]),
        (body(tensor(data=[[1, 2, 3], [4]])), ["'x'", "length"]),
        (body(tensor(data=[[1, 2, 3, [4]]])), ["data[0][3]"]),
        (body(tensor(data=[])), ["holds 0"]),
        (body(tensor(data=5)), ["list"]),
        (body(tensor(data=None)), ["list"]),
        (body(tensor(data={"a": 1})), ["list"]),
        (body({"name": "x", "datatype": "FP32", "shape": [1, 4]}), ["data is missing"]),
        (body({"name": "x", "datatype": "FP32", "data": [1]}), ["shape"]),
        (body({"datatype": "FP32", "shape": [1, 4], "data": [1, 2, 3, 4]}), ["name"]),
        (body(tensor(), outputs=[{"name": "zz"}]), ["'zz'", "'y'"]),
        (body(tensor(), outputs=["y"]), ["outputs[0]"]),
    ],
)
def test_one_line_names_the_place_and_the_remedy(request_body, words):
    reason = refused(request_body).reason
    assert [word for word in words if word not in reason] == [], reason


def test_nesting_beyond_what_an_array_can_have():
    assert (
        "64"
        in refused(
            b'{"inputs":[{"name":"x","shape":[1,4],"datatype":"FP32","data":' + b"[" * 70 + b"]" * 70 + b"}]}"
        ).reason
    )


def test_several_inputs_share_one_batch_axis_and_come_in_the_models_order():
    n, a = tensor("n", "INT64", (2,), [7, 8]), tensor("a", "FP32", (2, 1), [1, 2])
    decoded = OIP.decode(body(n, a), TWO)
    assert list(decoded.inputs.arrays) == ["a", "n"]
    assert decoded.size == 2
    assert "'n' is missing" in refused(body(a), TWO).reason
    short = tensor("n", "INT64", (1,), [7])
    assert "1 items" in refused(body(a, short), TWO).reason
    four = [tensor("n", "INT64", (4,), [7] * 4), tensor("a", "FP32", (4, 1), [1] * 4)]
    assert "at most 3" in refused(body(*four), TWO).reason


def test_only_requests_that_can_be_joined_share_a_key():
    def key(width, info=TWO):
        return OIP.decode(body(tensor("n", "INT64", (1,), [7]), tensor("a", "FP32", (1, width), [1] * width)), info).key

    assert key(2) == key(2)
    assert hash(key(2)) == hash(key(2))
    assert key(2) != key(3)
    one, two = (OIP.decode(body(tensor(shape=(n, 4), data=[1] * 4 * n)), DIGITS).key for n in (1, 2))
    assert one == two
    whole = body(tensor(shape=(2, 2), data=[1, 2, 3, 4]))
    assert OIP.decode(whole, UNBATCHED).key != OIP.decode(whole, UNBATCHED).key


def test_a_model_without_a_batch_axis_takes_one_request_of_its_whole_shape():
    decoded = OIP.decode(body(tensor(shape=(2, 2), data=[1, 2, 3, 4])), UNBATCHED)
    assert decoded.size == 1
    assert decoded.inputs.arrays["x"].shape == (2, 2)
    assert "[2, -1]" in refused(body(tensor(shape=(3, 1), data=[1, 2, 3])), UNBATCHED).reason


def test_a_python_model_without_hints_takes_any_tensors_as_items():
    decoded = OIP.decode(
        body(tensor("text", "BYTES", (2,), ["a", "b"]), tensor("w", "FP32", (2, 2), [[1, 2], [3, 4]])), ANYTHING
    )
    assert isinstance(decoded.inputs, Items)
    first, second = decoded.inputs.values
    assert first["text"] == "a"
    assert isinstance(first["text"], str)
    assert second["w"].tolist() == [3, 4]
    second["w"] += 1  # authors change what they get
    assert decoded.size == 2
    unequal = body(tensor("a", shape=(1,), data=[1]), tensor("b", shape=(2,), data=[1, 2]))
    assert "2 items" in refused(unequal, ANYTHING).reason
    assert "empty" in refused(b'{"inputs":[]}', ANYTHING).reason
    assert "first dimension" in refused(body(tensor(shape=(), data=[1])), ANYTHING).reason


def test_a_hinted_python_model_takes_any_width_of_the_right_kind():
    info = ModelInfo("m", "python", (TensorSpec("x", "FP64", (-1,)),), takes_items=True)
    assert OIP.decode(body(tensor(shape=(1,), data=[2])), info).inputs.values == [{"x": 2.0}]
    assert "FP64" in refused(body(tensor(datatype="INT64", shape=(1,), data=[2])), info).reason


def test_absent_and_null_options_are_the_same():
    decoded = OIP.decode(body(tensor(parameters=None), id=None, outputs=None, parameters=None), DIGITS)
    assert (decoded.id, decoded.outputs) == (None, None)
    assert OIP.decode(body(tensor(), outputs=[]), DIGITS).outputs is None
    assert OIP.decode(body(tensor(), outputs=[{"name": "y", "parameters": {"binary_data": True}}]), DIGITS).outputs == (
        "y",
    )


def test_binary_tensors_are_refused_with_a_reason_of_their_own():
    head = body({"name": "x", "datatype": "FP32", "shape": [1, 4], "parameters": {"binary_data_size": 16}})
    for request in (head, head + b"\x00\x00\x80\x3f" * 4):
        error = refused(request)
        assert error.status == 415
        assert "binary" in error.reason


def test_the_fast_and_the_general_way_agree():
    requests = [
        body(tensor("n", "INT64", (2,), [7, -8]), tensor("a", "FP32", (2, 3), [0.1, 1e-30, 3, 4, 5, 6.5]), id="q"),
        body(tensor("a", "FP32", (1, 0), []), tensor("n", "INT64", (1,), [7])),
        b'{"inputs":[{"data":[1],"shape":[1],"datatype":"INT64","name":"n"},{"data":[2],"shape":[1,1],"datatype":"FP32","name":"a"}]}',
    ]
    for request in requests:
        fast, general = OIP.decode(request, TWO), decode_generally(request, TWO)
        assert (fast.id, fast.size, fast.key) == (general.id, general.size, general.key)
        for name, array in fast.inputs.arrays.items():
            other = general.inputs.arrays[name]
            assert array.dtype == other.dtype
            np.testing.assert_array_equal(array, other)


def test_a_long_tensor_is_decoded_like_a_short_one():
    info = ModelInfo("m", "onnxruntime_onnx", (TensorSpec("x", "UINT64", (-1, 2000)),))
    values = [2**64 - 1, *range(1999)]
    assert OIP.decode(body(tensor(datatype="UINT64", shape=(1, 2000), data=values)), info).inputs.arrays[
        "x"
    ].tolist() == [values]
    values[7] = 2**64
    assert "UINT64" in refused(body(tensor(datatype="UINT64", shape=(1, 2000), data=values)), info).reason
