"""What the array formats share: datatypes, joining requests into one batch, splitting the answer again.

Shapes: every array of a batched model has its items along the first axis; a batch of requests of 1, 3 and 2 items is
one array of 6 rows. A lone request's arrays go in and out as they are, without a copy.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.errors import ModelFailed, RequestError
from plimsoll.core.request import Inputs, Outputs, Tensors
from plimsoll.core.tensors import TensorSpec

Array: TypeAlias = NDArray[Any]
Arrays: TypeAlias = Mapping[str, Array]

DTYPES: dict[str, Any] = {
    "BOOL": np.bool_, "UINT8": np.uint8, "UINT16": np.uint16, "UINT32": np.uint32, "UINT64": np.uint64,
    "INT8": np.int8, "INT16": np.int16, "INT32": np.int32, "INT64": np.int64,
    "FP16": np.float16, "FP32": np.float32, "FP64": np.float64, "BYTES": np.object_,
}  # fmt: skip

_BY_DTYPE = {np.dtype(dtype): name for name, dtype in DTYPES.items()}


def datatype_of(dtype: "np.dtype[Any]") -> str:
    """The protocol's name of a numpy dtype; text is BYTES. Raises KeyError for complex numbers and times."""
    return "BYTES" if dtype.kind in "USO" else _BY_DTYPE[dtype]


def tensors_of(request: Inputs) -> Tensors:
    if isinstance(request, Tensors):
        return request
    raise ModelFailed("this model takes tensors, not items")


def joined(requests: Sequence[Tensors], names: Sequence[str]) -> dict[str, Array]:
    """One array an input, the requests' rows one after the other."""
    if len(requests) == 1:
        arrays = requests[0].arrays
        return arrays if type(arrays) is dict else dict(arrays)
    return {name: np.concatenate([request.arrays[name] for request in requests]) for name in names}


def split(arrays: dict[str, Array], requests: Sequence[Tensors]) -> list[Outputs | Exception]:
    """Each request's rows, as views. Raises ModelFailed where an output does not have as many rows as items went in."""
    total = requests[0].size if len(requests) == 1 else sum(request.size for request in requests)
    for name, array in arrays.items():
        if array.ndim == 0 or array.shape[0] != total:
            found = f"shape {list(array.shape)}" if array.ndim == 0 else f"{array.shape[0]} rows"
            raise ModelFailed(f"the model gave output {name} with {found} for {total} items")
    if len(requests) == 1:
        return [Tensors(arrays, total)]
    answers: list[Outputs | Exception] = []
    at = 0
    for request in requests:
        end = at + request.size
        answers.append(Tensors({name: array[at:end] for name, array in arrays.items()}, request.size))
        at = end
    return answers


def run_isolated(
    run: Callable[[Sequence[Tensors]], list[Outputs | Exception]], requests: Sequence[Tensors]
) -> list[Outputs | Exception]:
    """One call for all; where it fails, one call each, so that one bad input (an index out of range) fails alone.

    Only for pure functions: these formats compute the same answer a second time. Raises what a lone request raises.
    """
    try:
        return run(requests)
    except RequestError:
        if len(requests) == 1:
            raise
    answers: list[Outputs | Exception] = []
    for request in requests:
        try:
            answers += run([request])
        except RequestError as error:
            answers.append(error)
    return answers


def made_up(specs: Sequence[TensorSpec], size: int, *, batched: bool) -> Tensors:
    """A request of `size` items of ones; dimensions that vary are 1. Texts are empty.

    Ones and not zeros: logarithms and divisions stay finite. As an index, 1 is nearly always in range.
    """
    arrays: dict[str, Array] = {}
    for spec in specs:
        shape = [1 if dimension < 0 else dimension for dimension in spec.shape]
        if batched:
            shape[0] = size
        blank = spec.datatype == "BYTES"
        arrays[spec.name] = np.full(shape, "", object) if blank else np.ones(shape, DTYPES[spec.datatype])
    return Tensors(arrays, size)


def with_text(array: Array) -> Array:
    """BYTES as the libraries want it: an object array of str. A new array only where something has to change."""
    if array.dtype.kind == "O" and all(type(value) is str for value in array.flat):
        return array
    texts = [value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value) for value in array.flat]
    out = np.empty(len(texts), object)
    out[:] = texts
    return out.reshape(array.shape)
