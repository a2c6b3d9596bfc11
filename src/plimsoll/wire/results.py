"""A Python model's results to tensors: each item a dict of scalars, strings, lists or arrays, or one bare value.

All items of a request must agree on keys and shapes; the datatype follows numpy's (float -> FP64, int -> INT64,
bool -> BOOL, str -> BYTES), or the model's own metadata where it names the output.
"""

from typing import Any

import numpy as np

from plimsoll.core.errors import ModelFailed
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.wire.tensor_json import DATATYPES, Array, no_element

DEFAULT_OUTPUT = "output"


def stack(values: list[Any], info: ModelInfo) -> dict[str, Array]:
    """Arrays by output name, items along the first axis (without one where the model has no batch axis).

    Raises ModelFailed where the items are no tensors: different keys, ragged shapes, None, nested dicts.
    """
    specs = {spec.name: spec for spec in info.outputs}
    rows = [_as_mapping(value, specs) for value in values]
    first = rows[0] if rows else {}
    for index, row in enumerate(rows):
        if row.keys() != first.keys():
            raise ModelFailed(
                f"result {index} has the keys {sorted(map(str, row))} but result 0 has {sorted(map(str, first))}; "
                "as tensors all must have the same"
            )
    arrays = {}
    for name in first:
        if not isinstance(name, str):
            raise ModelFailed(f"a result's key is a {type(name).__name__}; output names are strings")
        array = _to_array(name, [row[name] for row in rows])
        if not info.batched and len(rows) == 1:
            array = array[0] if array.ndim > 1 else array
        arrays[name] = _as_declared(array, specs.get(name))
    return arrays


def _as_mapping(value: Any, specs: dict[str, TensorSpec]) -> dict[Any, Any]:
    if isinstance(value, dict):
        return value
    fields = getattr(value, "__dataclass_fields__", None)
    if fields is not None:
        return {name: getattr(value, name) for name in fields}
    dump = getattr(value, "model_dump", None)
    if callable(dump):
        dumped: dict[Any, Any] = dump()
        return dumped
    return {next(iter(specs)) if len(specs) == 1 else DEFAULT_OUTPUT: value}


def _to_array(name: str, values: list[Any]) -> Array:
    if isinstance(values[0], str | bytes):
        if all(isinstance(value, str | bytes) for value in values):
            texts = np.empty(len(values), object)
            texts[:] = values
            return texts
        raise ModelFailed(f"output {name!r} is text in one result and something else in another")
    try:
        array = np.array([_plain(value) for value in values])
    except (ValueError, TypeError, OverflowError, RuntimeError) as error:
        raise ModelFailed(f"output {name!r} is no tensor: {error}") from None
    kind = array.dtype.kind
    if kind == "O":
        elements = array.ravel().tolist()
        odd = [item for item in elements if not isinstance(item, str | bytes)]
        if odd:  # numbers beside something that is none are not to blame
            strange = [item for item in odd if not isinstance(item, int | float) or abs(item) >= 2**63]
            raise no_element(name, (strange or odd)[0])
    elif kind in "US" and not _all_text(values):
        raise ModelFailed(f"output {name!r} mixes text and numbers")
    return array


def _plain(value: Any) -> Any:
    return value.detach().cpu().numpy() if hasattr(value, "detach") else value  # torch


def _all_text(value: Any) -> bool:
    if isinstance(value, list | tuple):
        return all(_all_text(item) for item in value)
    return isinstance(value, str | bytes) or (isinstance(value, np.ndarray) and value.dtype.kind in "OUST")


def _as_declared(array: Array, spec: TensorSpec | None) -> Array:
    """In the datatype that the metadata promises, where that loses nothing but precision."""
    if spec is None:
        return array
    dtype = DATATYPES[spec.datatype].dtype
    if array.dtype == dtype or dtype.kind == "O" or array.dtype.kind in "OUST":
        return array
    if np.can_cast(array.dtype, dtype, "same_kind"):
        with np.errstate(over="ignore"):  # an overflow shows as infinity, which the encoder refuses
            return array.astype(dtype)
    return array
