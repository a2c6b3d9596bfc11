"""Frames between a replica and its workers, and the parts of large values: what goes in comes out."""

import datetime
import decimal
import enum
import math
import uuid
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.core.errors import Invalid, ModelFailed, ReplicaLost
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.server import framing, parts
from plimsoll.wire.codec import Decoded, codec_named

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=6) | st.dictionaries(st.text(max_size=3), inner, max_size=6),
    max_leaves=60,
)


def travelled(message, chunk=7):
    """Through the stream, `chunk` bytes a read."""
    got = []
    reader = framing.FrameReader(got.append)
    frame = framing.encode(message)
    for at in range(0, len(frame), chunk):
        reader.feed(frame[at : at + chunk])
    (one,) = got
    return one


@given(JSON, st.integers(1, 50))
def test_json_values_travel(value, chunk):
    assert travelled(["x", value], chunk) == ["x", value]


@pytest.mark.parametrize("value", [2**63, 2**64, -(2**63) - 1, 10**400])
def test_integers_beyond_msgpack_travel(value):
    assert travelled([{"a": [1, value]}]) == [{"a": [1, value]}]


@pytest.mark.parametrize("dtype", ["?", "u1", "i2", "i8", "u8", "f2", "f4", "f8"])
def test_arrays_and_scalars_keep_their_type(dtype):
    array = np.arange(12).reshape(3, 4).astype(dtype)
    got, rows, scalar = travelled([array, array[:, 1], array[1, 2]])
    assert got.dtype == array.dtype
    assert (got == array).all()
    assert (rows == array[:, 1]).all()
    assert type(scalar) is type(array[1, 2])
    assert scalar == array[1, 2]


def test_a_long_blob_is_not_copied():
    for size in (0, 1, 300, 70_000):
        blob = bytes(size)
        pieces = framing.encode_ending_in(["decode", 7, "plain", False], blob)
        assert pieces[1] is blob
        got = []
        framing.FrameReader(got.append).feed(b"".join(pieces))
        assert got == [["decode", 7, "plain", False, blob]]


def test_the_reader_gives_the_loop_a_turn():
    got = []
    reader = framing.FrameReader(got.append)
    rest = reader.feed(framing.encode(["x" * 50_000]) * 5)
    assert rest
    assert 0 < len(got) < 5
    while reader.feed(b""):
        pass
    assert len(got) == 5


def test_text_arrays_travel():
    array = np.array([["a", "ü"], ["", "x" * 300]], object)
    (got,) = travelled([array])
    assert got.shape == (2, 2)
    assert (got == array).all()


def test_errors_travel():
    for error in (Invalid("text is missing", status=415), ReplicaLost("gone", retry_after_s=2.5)):
        (packed,) = travelled([framing.pack(error)])
        got = framing.unpack(packed)
        assert type(got) is type(error)
        assert (got.reason, got.retry_after_s) == (error.reason, error.retry_after_s)
        assert getattr(got, "status", None) == getattr(error, "status", None)
    odd = framing.unpack(travelled([framing.pack(ValueError("a \ud800 surrogate"))])[0])
    assert isinstance(odd, ModelFailed)
    assert odd.reason.startswith("ValueError: a ")


def test_what_cannot_travel_says_so():
    class Odd:
        def tolist(self):
            raise RuntimeError("the author's own")

    holds_itself = []
    holds_itself.append(holds_itself)
    for value in (object(), Odd(), "\ud800", holds_itself):
        with pytest.raises(ModelFailed):
            framing.encode([value])


class Colour(enum.Enum):
    RED = "red"


@dataclass
class Score:
    label: str
    value: float


SAME = [
    {"score": np.float32(0.1)}, {"n": np.int64(3)}, {"flag": np.bool_(True)}, {"a": np.arange(3, dtype="f4")},
    (1, 2), {"set": {1}}, Score("a", 0.5), Colour.RED, uuid.UUID(int=5), decimal.Decimal("1.50"), b"bytes",
    datetime.date(2026, 1, 2), datetime.time(3, 4, 5), {1: "a"}, {"big": 2**80}, "ü", None, 1.5,
]  # fmt: skip


@pytest.mark.parametrize("value", SAME, ids=repr)
def test_an_answer_is_the_same_from_a_thread_and_from_a_process(value):
    info = ModelInfo("m", "python", takes_items=True)
    for name in ("plain", "kserve_v1", "oip"):
        codec = codec_named(name)
        decoded = Decoded(Items([0]), 1, None)

        def answer(outputs, codec=codec, decoded=decoded):
            try:
                return codec.encode(decoded, info, outputs, "1")
            except ModelFailed as error:
                return type(error)

        direct = answer(Items([value]))
        if direct is ModelFailed and name == "oip":
            continue  # dates, enums and sets are no tensor elements here; from a process they come as text and lists
        (packed,) = travelled([framing.pack(Items([value]))], 1000)
        assert answer(framing.unpack(packed)) == direct
        (sealed,) = travelled([framing.pack(framing.seal(Items([value])))], 1000)
        assert answer(framing.unseal(framing.unpack(sealed))) == direct


def test_nan_survives_so_that_the_codec_can_refuse_it():
    (packed,) = travelled([framing.pack(framing.seal(Items([math.nan])))])
    assert math.isnan(framing.unseal(framing.unpack(packed)).values[0])


def test_tensors_travel():
    (packed,) = travelled([framing.pack(Tensors({"x": np.ones((2, 3), "f4")}, 2))])
    got = framing.unpack(packed)
    assert (got.size, got.arrays["x"].shape) == (2, (2, 3))


def through_parts(value):
    emitted = []
    left = parts.Cutter(emitted.append).cut(value)
    return parts.put_back(left, emitted), emitted, left


@settings(max_examples=200)
@given(JSON, st.integers(1, 12))
def test_what_is_cut_is_put_back(value, size):
    kept, parts.PART = parts.PART, size
    try:
        back, _, _ = through_parts(value)
    finally:
        parts.PART = kept
    assert back == value


def scalars(value):
    if isinstance(value, dict):
        return 1 + sum(map(scalars, value.values()))
    if isinstance(value, list):
        return 1 + sum(map(scalars, value))
    return 1


LARGE = {
    "flat": [0.5] * 100_000,
    "rows": [[0.5] * 224 for _ in range(400)],
    "image": [[[1, 2, 3] for _ in range(100)] for _ in range(100)],
    "deep": {"a": {"b": [{"c": [0.5] * 5000}, {"c": [1] * 5000}]}},
    "records": [{"id": index, "name": "x"} for index in range(20_000)],
    "wide": {str(index): index for index in range(50_000)},
    "wide and deep": {str(index): [index, {"x": [1.0] * 10}] for index in range(5_000)},
    "mixed": [1, [2.0] * 9000, "x", {"y": [3] * 9000}, None],
}


@pytest.mark.parametrize("kind", LARGE)
def test_no_part_is_large(kind):
    back, emitted, left = through_parts(LARGE[kind])
    assert back == LARGE[kind]
    assert len(emitted) > 1
    assert max(map(scalars, emitted)) <= 3 * parts.PART
    assert scalars(left) <= 3 * parts.PART
    assert parts.exceeds([LARGE[kind]], 8192)


def test_a_client_cannot_name_parts_itself():
    value = {"\x00plimsoll-part": [0, 5, False, False], "kept": 1}
    back, _, _ = through_parts(value)
    assert back == {"kept": 1}


@pytest.mark.parametrize("value", [{"label": "POSITIVE", "score": 0.9}, [1.0] * 500, "x" * 100_000, None, [[], {}]])
def test_usual_answers_are_not_large(value):
    assert not parts.exceeds([value], 8192)


def test_an_array_in_an_answer_counts():
    assert parts.exceeds([{"image": np.zeros((100, 100))}], 8192)
    assert parts.exceeds([{"rows": [[0.0] * 1000] * 100}], 8192)
