"""The two models of the benchmarks: multi-layer perceptrons with seeded weights, as ONNX files."""

import itertools
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

LAYERS = {"digits": [64, 64, 10], "heavy": [64, 2048, 2048, 10]}


def make(folder: Path) -> dict[str, Path]:
    """Writes what is missing and gives the paths by name."""
    folder.mkdir(parents=True, exist_ok=True)
    paths = {name: folder / f"{name}.onnx" for name in LAYERS}
    for name, path in paths.items():
        if not path.exists():
            onnx.save(_perceptron(name, LAYERS[name]), path)
    return paths


def _perceptron(name: str, sizes: list[int]) -> onnx.ModelProto:
    random = np.random.default_rng(0)
    nodes, weights, previous = [], [], "x"
    for index, (rows, columns) in enumerate(itertools.pairwise(sizes)):
        matrix = (random.standard_normal((rows, columns)) / rows**0.5).astype(np.float32)
        weights.append(numpy_helper.from_array(matrix, f"w{index}"))
        weights.append(numpy_helper.from_array(np.zeros(columns, np.float32), f"b{index}"))
        nodes.append(helper.make_node("Gemm", [previous, f"w{index}", f"b{index}"], [f"h{index}"]))
        previous = f"h{index}"
        if index < len(sizes) - 2:
            nodes.append(helper.make_node("Relu", [previous], [f"r{index}"]))
            previous = f"r{index}"
    nodes.append(helper.make_node("Softmax", [previous], ["y"]))
    graph = helper.make_graph(
        nodes,
        name,
        [helper.make_tensor_value_info("x", TensorProto.FLOAT, ["n", sizes[0]])],
        [helper.make_tensor_value_info("y", TensorProto.FLOAT, ["n", sizes[-1]])],
        weights,
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)])
    model.ir_version = 8
    return model
