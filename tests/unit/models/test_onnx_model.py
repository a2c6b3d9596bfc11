"""What an ONNX file tells about its batch axis, its datatypes and its failures."""

import numpy as np
import pytest
from onnx import TensorProto, helper
from tests.contracts.model_cases import save_onnx

from plimsoll.core.errors import ModelFailed, ModelLoadError
from plimsoll.core.request import Items, Tensors
from plimsoll.core.tensors import TensorSpec
from plimsoll.models import ModelSource, open_model

FLOAT, INT64 = TensorProto.FLOAT, TensorProto.INT64


@pytest.fixture
def load(tmp_path):
    loaded = []

    def run(nodes, inputs, outputs, initializers=(), **options):
        path = save_onnx(tmp_path / "model.onnx", nodes, inputs, outputs, initializers)
        model = open_model(ModelSource("m", str(path), **options))
        model.load()
        loaded.append(model)
        return model

    yield run
    for model in loaded:
        model.close()


def identity(load, shape, out=None, kind=FLOAT):
    out = shape if out is None else out
    return load([helper.make_node("Identity", ["x"], ["y"])], [("x", kind, shape)], [("y", kind, out)])


def ask(model, *arrays, name="x"):
    size = len(arrays[0]) if model.info.batched else 1
    return model.predict([Tensors({name: array}, len(array) if model.info.batched else size) for array in arrays])


def f4(*shape):
    return np.arange(np.prod(shape, dtype=int), dtype="f4").reshape(shape)


def test_a_shared_symbol_is_the_batch_axis(load):
    model = load(
        [helper.make_node("Add", ["a", "b"], ["c"]), helper.make_node("Sub", ["a", "b"], ["d"])],
        [("a", FLOAT, ["n", 3]), ("b", FLOAT, ["n", 3])],
        [("c", FLOAT, ["n", 3]), ("d", FLOAT, ["n", 3])],
    )
    assert model.info.inputs == (TensorSpec("a", "FP32", (-1, 3)), TensorSpec("b", "FP32", (-1, 3)))
    assert (model.info.batched, model.info.fixed_batch, model.info.max_batch) == (True, False, None)
    requests = [Tensors({"b": f4(n, 3), "a": 10 * f4(n, 3)}, n) for n in (1, 2)]
    one, two = model.predict(requests)
    assert np.array_equal(one.arrays["c"], 11 * f4(1, 3))
    assert np.array_equal(two.arrays["d"], 9 * f4(2, 3))


def test_different_symbols_are_no_batch_axis(load):
    model = load(
        [helper.make_node("MatMul", ["a", "b"], ["c"])],
        [("a", FLOAT, ["n", "k"]), ("b", FLOAT, ["k", "m"])],
        [("c", FLOAT, ["n", "m"])],
    )
    assert (model.info.batched, model.info.max_batch) == (False, 1)
    # each has a request of its own shape, and one that fails does not harm the other
    good = Tensors({"a": f4(1, 2), "b": f4(2, 3)}, 1)
    bad = Tensors({"a": f4(1, 2), "b": f4(3, 3)}, 1)
    first, failed, last = model.predict([good, bad, good])
    assert first.arrays["c"].shape == last.arrays["c"].shape == (1, 3)
    assert isinstance(failed, ModelFailed)


def test_an_output_without_the_axis_makes_requests_go_alone(load):
    nodes = [helper.make_node("ReduceMean", ["x"], ["y"], keepdims=0)]
    model = load(nodes, [("x", FLOAT, ["n", 2])], [("y", FLOAT, [])])
    assert (model.info.batched, model.info.max_batch) == (False, 1)
    [result] = model.predict([Tensors({"x": f4(3, 2)}, 1)])
    assert result.arrays["y"] == pytest.approx(2.5)


def test_unnamed_axes_are_tried_out(load):
    follows = identity(load, [None, 2])
    assert follows.info.batched
    other_name = identity(load, ["n", 2], ["m", 2])
    assert other_name.info.batched, "exporters name the axis of inputs and outputs differently"
    nodes = [helper.make_node("Reshape", ["x", "flat"], ["y"])]
    flat = helper.make_tensor("flat", INT64, [1], [-1])
    folded = load(nodes, [("x", FLOAT, [None, 2])], [("y", FLOAT, [None])], [flat])
    assert not folded.info.batched, "4 rows for 2 items"


def test_an_unknown_output_shape_is_learned(load):
    model = load([helper.make_node("Identity", ["x"], ["y"])], [("x", FLOAT, [None, 2, 5])], [("y", FLOAT, None)])
    assert model.info.batched
    assert model.info.outputs == (TensorSpec("y", "FP32", (-1, 2, 5)),)


def test_a_fixed_axis_takes_up_to_that_many(load):
    model = identity(load, [4, 2])
    info = model.info
    assert (info.batched, info.fixed_batch, info.max_batch) == (True, True, 4)
    assert info.inputs[0].shape == (4, 2)
    one, two = ask(model, f4(1, 2), 5 + f4(2, 2))
    assert np.array_equal(one.arrays["y"], f4(1, 2))
    assert np.array_equal(two.arrays["y"], 5 + f4(2, 2))
    [full] = ask(model, f4(4, 2))
    assert np.array_equal(full.arrays["y"], f4(4, 2))
    with pytest.raises(ModelFailed, match="5 items are more than the 4"):
        ask(model, f4(5, 2))
    assert model.warm_up_inputs(64).size == 4


def test_a_batch_axis_of_one(load):
    model = identity(load, [1, 2])
    assert (model.info.batched, model.info.fixed_batch, model.info.max_batch) == (True, True, 1)
    [result] = ask(model, f4(1, 2))
    assert result.arrays["y"].shape == (1, 2)


def test_a_scalar_input_is_no_batch(load):
    model = identity(load, [])
    assert not model.info.batched
    [result] = model.predict([Tensors({"x": np.array(3, "f4")}, 1)])
    assert result.arrays["y"] == 3
    assert model.warm_up_inputs(8).arrays["x"].shape == ()


@pytest.mark.parametrize(
    ("kind", "datatype", "values"),
    [
        (TensorProto.BOOL, "BOOL", np.array([True, False])),
        (TensorProto.UINT8, "UINT8", np.array([0, 255], "u1")),
        (TensorProto.UINT16, "UINT16", np.array([0, 65535], "u2")),
        (TensorProto.UINT32, "UINT32", np.array([0, 2**32 - 1], "u4")),
        (TensorProto.UINT64, "UINT64", np.array([0, 2**64 - 1], "u8")),
        (TensorProto.INT8, "INT8", np.array([-128, 127], "i1")),
        (TensorProto.INT16, "INT16", np.array([-(2**15), 1], "i2")),
        (TensorProto.INT32, "INT32", np.array([-(2**31), 1], "i4")),
        (TensorProto.INT64, "INT64", np.array([-(2**63), 1], "i8")),
        (TensorProto.FLOAT16, "FP16", np.array([0.5, -65504], "f2")),
        (TensorProto.FLOAT, "FP32", np.array([0.5, 3e38], "f4")),
        (TensorProto.DOUBLE, "FP64", np.array([0.5, 1e300], "f8")),
        (TensorProto.STRING, "BYTES", np.array(["a", "ü€"], object)),
    ],
)
def test_every_datatype(load, kind, datatype, values):
    model = identity(load, ["n"], kind=kind)
    assert model.info.inputs == (TensorSpec("x", datatype, (-1,)),)
    first, second = ask(model, values, values[:1])
    assert first.arrays["y"].tolist() == values.tolist()
    assert second.arrays["y"].tolist() == values[:1].tolist()
    assert len(model.predict([model.warm_up_inputs(3)])[0].arrays["y"]) == 3


def test_bytes_become_text(load):
    model = identity(load, ["n"], kind=TensorProto.STRING)
    [result] = ask(model, np.array([b"caf\xc3\xa9", "b"], object))
    assert result.arrays["y"].tolist() == ["café", "b"]


def test_a_lone_request_goes_in_without_a_copy(load):
    model = identity(load, ["n", 2])
    fed = []
    session = model._session

    class Spy:
        def run(self, names, feed):
            fed.append(feed)
            return session.run(names, feed)

    model._session = Spy()
    request = Tensors({"x": f4(1, 2)}, 1)
    model.predict([request])
    assert fed[0]["x"] is request.arrays["x"]


def test_zip_map_is_told_how_to_be_turned_off(tmp_path):
    from skl2onnx import to_onnx
    from sklearn.linear_model import LogisticRegression

    x = np.array([[0.0], [1.0]], "f4")
    path = tmp_path / "zip.onnx"
    path.write_bytes(to_onnx(LogisticRegression().fit(x, [0, 1]), x, target_opset=17).SerializeToString())
    with pytest.raises(ModelLoadError, match=r"options=\{'zipmap': False\}") as caught:
        open_model(ModelSource("m", str(path))).load()
    assert caught.value.file == "zip.onnx"


def test_a_failed_load_can_be_tried_again(tmp_path):
    path = tmp_path / "m.onnx"
    path.write_bytes(b"no model")
    model = open_model(ModelSource("m", str(path)))
    with pytest.raises(ModelLoadError, match=r"^m\.onnx onnxruntime can't load it: "):
        model.load()
    save_onnx(path, [helper.make_node("Neg", ["x"], ["y"])], [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])])
    model.load()
    assert ask(model, f4(2))[0].arrays["y"].tolist() == [0, -1]


def test_without_onnxruntime_the_extra_is_named(tmp_path, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "onnxruntime", None)
    path = save_onnx(
        tmp_path / "m.onnx", [helper.make_node("Neg", ["x"], ["y"])], [("x", FLOAT, ["n"])], [("y", FLOAT, ["n"])]
    )
    with pytest.raises(ModelLoadError, match=r"run: pip install 'plimsoll-serve\[onnx\]'"):
        open_model(ModelSource("m", str(path))).load()


def test_items_are_refused(load):
    with pytest.raises(ModelFailed, match="takes tensors"):
        identity(load, ["n"]).predict([Items([1])])
