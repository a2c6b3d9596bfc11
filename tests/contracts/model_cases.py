"""One small model of every format, made into a folder: what `test_models.py` runs its cases over."""

from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper

from plimsoll.core.request import Inputs, Items, Outputs, Tensors
from plimsoll.models import ModelSource

PYTHON = """
class Doubler:
    examples = [{"input": {"value": 1.5}, "output": {"value": 3.0}}]

    def load(self):
        self.factor = 2

    def predict(self, batch):
        return [self._one(item) for item in batch]

    def _one(self, item):
        try:
            return {"value": item["value"] * self.factor}
        except TypeError as error:
            return error
"""


@dataclass(frozen=True)
class Case:
    """`make` writes the model and says where it is; `bad` is a request of one item that the model fails on (None:
    whatever passes the protocol's checks suits this model)."""

    name: str
    make: Callable[[Path], ModelSource]
    request: Callable[[int, int], Inputs]  # (items, seed)
    bad: Inputs | None
    file: str
    platform: str


def rows(outputs: Outputs) -> list[object]:
    """The answer item by item, in plain values."""
    if isinstance(outputs, Items):
        return list(outputs.values)
    names = sorted(outputs.arrays)
    return [{name: outputs.arrays[name][index].tolist() for name in names} for index in range(outputs.size)]


def save_onnx(path: Path, nodes, inputs, outputs, initializers=()) -> Path:
    """`inputs` and `outputs` are (name, element type, shape)."""
    graph = helper.make_graph(
        nodes,
        "model",
        [helper.make_tensor_value_info(*value) for value in inputs],
        [helper.make_tensor_value_info(*value) for value in outputs],
        list(initializers),
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    if all(shape is not None for _, _, shape in outputs):
        onnx.checker.check_model(model)
    onnx.save(model, path)
    return path


def _python(folder: Path) -> ModelSource:
    (folder / "model.py").write_text(PYTHON)
    return ModelSource("doubler", str(folder / "model.py"), requirements=("numpy",))


def _onnx(folder: Path) -> ModelSource:
    """Gather: looks rows up by index, so that an index out of range is a request that fails at run time."""
    table = helper.make_tensor("table", TensorProto.FLOAT, [10, 4], np.arange(40, dtype="f4"))
    path = save_onnx(
        folder / "model.onnx",
        [helper.make_node("Gather", ["table", "row"], ["y"], axis=0)],
        [("row", TensorProto.INT64, ["n"])],
        [("y", TensorProto.FLOAT, ["n", 4])],
        [table],
    )
    return ModelSource("lookup", str(path))


@cache
def digits_classifier():
    from sklearn.datasets import load_digits
    from sklearn.linear_model import LogisticRegression

    x, y = load_digits(return_X_y=True)
    return LogisticRegression(max_iter=500, random_state=0).fit(x[:300] / 16, y[:300])


def _sklearn(folder: Path) -> ModelSource:
    import skops.io

    skops.io.dump(digits_classifier(), folder / "model.skops")
    return ModelSource("digits", str(folder / "model.skops"))


CASES = [
    Case(
        "python",
        _python,
        lambda size, seed: Items([{"value": float(seed * 100 + index)} for index in range(size)]),
        Items([{"value": None}]),
        "model.py",
        "python",
    ),
    Case(
        "onnx",
        _onnx,
        lambda size, seed: Tensors({"row": (np.arange(size) + seed) % 10}, size),
        Tensors({"row": np.array([99])}, 1),
        "model.onnx",
        "onnxruntime_onnx",
    ),
    Case(
        "sklearn",
        _sklearn,
        lambda size, seed: Tensors({"x": np.random.default_rng(seed).random((size, 64))}, size),
        Tensors({"x": np.full((1, 64), np.nan)}, 1),
        "model.skops",
        "sklearn",
    ),
]
