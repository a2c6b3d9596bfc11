"""Whatever the bytes, a decoder gives a request or raises Invalid; arrays survive the way there and back."""

import json

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import DATATYPES, ModelInfo, TensorSpec
from plimsoll.wire.codec import Decoded, codec_named
from plimsoll.wire.oip import decode_generally
from plimsoll.wire.tensor_json import DATATYPES as FORMS

CODECS = [codec_named(name) for name in ("oip", "kserve_v1", "plain")]
OIP = CODECS[0]
MODELS = [
    ModelInfo("array", "onnxruntime_onnx", (TensorSpec("x", "FP32", (-1, 2)),), (TensorSpec("y", "FP32", (-1,)),)),
    ModelInfo(
        "two", "onnxruntime_onnx", (TensorSpec("x", "INT8", (-1, -1)), TensorSpec("y", "BYTES", (-1,))), max_batch=2
    ),
    ModelInfo("fixed", "onnxruntime_onnx", (TensorSpec("x", "BOOL", (4,)),), fixed_batch=True, max_batch=4),
    ModelInfo("whole", "onnxruntime_onnx", (TensorSpec("x", "FP64", (-1, 2)),), batched=False),
    ModelInfo("python", "python", takes_items=True),
    ModelInfo("hinted", "python", (TensorSpec("x", "FP64", (-1,)),), takes_items=True),
    ModelInfo("odd", "python", takes_items=True, batched=False),
    ModelInfo("unknown", "sklearn"),
]

NUMBERS = st.one_of(
    st.integers(), st.floats(allow_nan=True), st.booleans(), st.none(), st.sampled_from([0, 1, 2, -1, 1e39])
)
SCALARS = st.one_of(NUMBERS, st.text(max_size=4))
VALUES = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
)
NAMES = st.sampled_from(["x", "y", "z", ""])


def maybe(strategy):
    """Nearly right: mostly what belongs there, sometimes anything."""
    return st.one_of(strategy, strategy, strategy, VALUES)


TENSOR = st.fixed_dictionaries(
    {},
    optional={
        "name": maybe(NAMES),
        "datatype": maybe(st.sampled_from([*DATATYPES, "BF16"])),
        "shape": maybe(st.lists(st.integers(0, 3), max_size=3)),
        "data": maybe(st.lists(SCALARS, max_size=6) | st.lists(st.lists(NUMBERS, max_size=3), max_size=3)),
        "parameters": maybe(st.just({"binary_data_size": 4})),
    },
)
OIP_BODY = st.fixed_dictionaries(
    {"inputs": maybe(st.lists(TENSOR, max_size=3))},
    optional={"id": maybe(st.text(max_size=5)), "outputs": maybe(st.just([{"name": "y"}])), "parameters": VALUES},
)
V1_BODY = st.fixed_dictionaries(
    {"instances": maybe(st.lists(maybe(st.fixed_dictionaries({}, optional={"x": VALUES, "y": VALUES})), max_size=4))}
)
BODIES = st.one_of(OIP_BODY, V1_BODY, VALUES).map(lambda value: json.dumps(value).encode("utf-8", "replace"))


def attempt(call, *arguments):
    """What it returns, or the refusal it raises; anything else fails the test."""
    try:
        return call(*arguments)
    except (Invalid, ModelFailed) as error:
        return error


def check(codec, body, info):
    decoded = attempt(codec.decode, body, info)
    if isinstance(decoded, Invalid):
        assert decoded.reason
        assert "\n" not in decoded.reason
        assert 400 <= decoded.status < 500
        return
    assert decoded.size >= 1
    hash(decoded.key)
    if isinstance(decoded.inputs, Items):
        assert len(decoded.inputs.values) == decoded.size
        return
    assert list(decoded.inputs.arrays) == [spec.name for spec in info.inputs] or not info.inputs
    for spec in info.inputs:
        array = decoded.inputs.arrays[spec.name]
        assert array.dtype == FORMS[spec.datatype].dtype
        assert array.ndim == len(spec.shape)
        assert not info.batched or array.shape[0] == decoded.size
        if array.dtype.kind == "f":
            assert np.isfinite(array).all()


@settings(max_examples=150, deadline=None)
@given(body=st.binary(max_size=200))
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_arbitrary_bytes(codec, body):
    for info in MODELS:
        check(codec, body, info)


@settings(max_examples=150, deadline=None)
@example(body=b'{"instances": [{"\\n": null}]}')
@given(body=BODIES)
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_json_that_is_nearly_right(codec, body):
    for info in MODELS:
        check(codec, body, info)


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_a_byte_changed_in_a_good_request(data):
    good = b'{"id":"a","inputs":[{"name":"x","shape":[1,2],"datatype":"FP32","data":[1.5,2]}],"outputs":[{"name":"y"}]}'
    at, byte = data.draw(st.integers(0, len(good) - 1)), data.draw(st.integers(0, 255))
    for body in (good[:at] + bytes([byte]) + good[at + 1 :], good[:at], good[:at] + good[at + 1 :]):
        check(OIP, body, MODELS[0])


@settings(max_examples=150, deadline=None)
@given(body=OIP_BODY.map(lambda value: json.dumps(value).encode("utf-8", "replace")))
def test_the_fast_way_decides_as_the_general_way(body):
    for info in MODELS[:6]:
        fast, general = (attempt(decode, body, info) for decode in (OIP.decode, decode_generally))
        if isinstance(fast, Invalid) or isinstance(general, Invalid):
            assert (fast.reason, fast.status) == (general.reason, general.status)
            continue
        assert (fast.size, fast.id, fast.outputs) == (general.size, general.id, general.outputs)
        if isinstance(fast.inputs, Tensors):
            for name, array in fast.inputs.arrays.items():
                assert array.dtype == general.inputs.arrays[name].dtype
                np.testing.assert_array_equal(array, general.inputs.arrays[name])


@st.composite
def arrays(draw):
    datatype = draw(st.sampled_from(DATATYPES))
    shape = draw(hnp.array_shapes(min_dims=1, max_dims=4, min_side=0, max_side=3))
    shape = (max(1, shape[0]), *shape[1:])
    if datatype == "BYTES":
        count = int(np.prod(shape))
        array = np.empty(count, object)
        array[:] = draw(st.lists(st.text(max_size=5), min_size=count, max_size=count))
        return datatype, array.reshape(shape)
    floats = {"allow_nan": False, "allow_infinity": False} if datatype.startswith("FP") else {}
    dtype = FORMS[datatype].dtype
    return datatype, draw(hnp.arrays(dtype, shape, elements=hnp.from_dtype(dtype, **floats)))


@settings(max_examples=150, deadline=None)
@given(drawn=arrays(), nested=st.booleans())
def test_arrays_of_every_datatype_and_shape_there_and_back(drawn, nested):
    datatype, array = drawn
    info = ModelInfo("m", "x", (TensorSpec("x", datatype, (-1,) * array.ndim),), (TensorSpec("x", datatype, (-1,)),))
    sent = OIP.encode(Decoded(Tensors({"x": array}, 1), 1, None), info, Tensors({"x": array}, len(array)), "")
    message = json.loads(sent)
    (output,) = message["outputs"]
    assert output["shape"] == list(array.shape)
    assert output["datatype"] == datatype
    if nested:
        output["data"] = array.tolist()
    received = OIP.decode(json.dumps({"inputs": [output]}).encode(), info).inputs.arrays["x"]
    assert received.dtype == array.dtype
    np.testing.assert_array_equal(received, array)


RESULTS = st.recursive(
    st.one_of(SCALARS, st.binary(max_size=3), st.just(np.float32(1)), st.complex_numbers()),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=2), inner, max_size=3),
)


@settings(max_examples=150, deadline=None)
@given(values=st.lists(RESULTS, min_size=1, max_size=3))
@pytest.mark.parametrize("codec", CODECS, ids=lambda codec: codec.name)
def test_whatever_an_author_returns_is_json_without_nan_or_model_failed(codec, values):
    info = MODELS[4]
    values = values if codec.name != "plain" else values[:1]

    def refuse(word):
        raise AssertionError(word)

    body = attempt(codec.encode, Decoded(Items(values), len(values), None), info, Items(values), "1")
    if isinstance(body, ModelFailed):
        assert body.reason
    else:
        json.loads(body, parse_constant=refuse)
