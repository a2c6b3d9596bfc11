"""What the type hints of `predict` tell the protocols about its inputs and outputs.

    class Digit(TypedDict):
        image: Annotated[NDArray[np.float32], (64,)]   # FP32, [-1, 64]
        user: str                                      # BYTES, [-1]

    def predict(self, batch: list[Digit]) -> list[Answer]: ...

Anything else (no hints, optional keys, arrays without a shape) tells nothing, and the model takes whatever it decodes.
"""

import collections.abc
import typing
from collections.abc import Callable
from typing import Any

import numpy as np

from plimsoll.core.tensors import DATATYPES, TensorSpec

_SCALARS: dict[object, str] = {bool: "BOOL", int: "INT64", float: "FP64", str: "BYTES", bytes: "BYTES"}
_BY_DTYPE = {
    "bool": "BOOL", "uint8": "UINT8", "uint16": "UINT16", "uint32": "UINT32", "uint64": "UINT64",
    "int8": "INT8", "int16": "INT16", "int32": "INT32", "int64": "INT64",
    "float16": "FP16", "float32": "FP32", "float64": "FP64",
}  # fmt: skip


def tensors_of_predict(predict: Callable[..., Any]) -> tuple[tuple[TensorSpec, ...], tuple[TensorSpec, ...]]:
    """(inputs, outputs); either is empty where the hints don't tell all of it."""
    try:
        hints = typing.get_type_hints(predict, include_extras=True)
    except Exception:  # a hint that names something unknown at run time is the author's business
        return (), ()
    answer = hints.pop("return", None)
    batch = next(iter(hints.values()), None)
    return _tensors(batch), _tensors(answer)


def _tensors(hint: object) -> tuple[TensorSpec, ...]:
    if typing.get_origin(hint) not in (list, collections.abc.Sequence):
        return ()
    item = typing.get_args(hint)[0]
    if not typing.is_typeddict(item) or item.__optional_keys__:
        return ()
    try:
        fields = typing.get_type_hints(item, include_extras=True)
    except Exception:
        return ()
    tensors = [_tensor(name, field) for name, field in fields.items()]
    known = tuple(tensor for tensor in tensors if tensor is not None)
    return known if len(known) == len(tensors) else ()


def _tensor(name: str, hint: object) -> TensorSpec | None:
    if hint in _SCALARS:
        return TensorSpec(name, _SCALARS[hint], (-1,))
    if typing.get_origin(hint) is not typing.Annotated:
        return None
    array, *notes = typing.get_args(hint)
    shape = next((note for note in notes if isinstance(note, tuple)), None)
    datatype = next((note for note in notes if note in DATATYPES), None) or _datatype(array)
    if shape is None or datatype is None or not all(isinstance(size, int) for size in shape):
        return None
    return TensorSpec(name, datatype, (-1, *shape))


def _datatype(array: object) -> str | None:
    """Of `NDArray[np.float32]`, which is `ndarray[shape, dtype[float32]]`."""
    arguments = typing.get_args(array)
    if typing.get_origin(array) is not np.ndarray or len(arguments) != 2:
        return None
    scalar = typing.get_args(arguments[1])
    return _BY_DTYPE.get(getattr(scalar[0], "__name__", "")) if scalar else None
