"""Items written as JSON objects, for models of arrays: `{"x": [[…]], "y": 3}` or the bare value of the one input.

Values carry no batch axis and no datatype: the model's metadata says how deep the lists go and what they hold, and a
struct made from it once a model lets msgspec check them while it decodes.
"""

from collections.abc import Mapping
from typing import Any

import msgspec
import numpy as np

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Tensors
from plimsoll.wire.plan import ModelPlan
from plimsoll.wire.tensor_json import (
    DECODE_ERRORS,
    Array,
    datatype_of,
    encode_strings,
    explain,
    from_nested,
    list_of,
    nested_type,
    not_finite,
)

_encode = msgspec.json.Encoder().encode


class InstancePlan:
    """Decoders for one model: of one item or of a list of them, as objects or (one input only) bare."""

    __slots__ = ("bare_many", "bare_one", "fields", "many", "one")

    def __init__(self, plan: ModelPlan) -> None:
        self.fields = [(f"f{index}", wanted) for index, wanted in enumerate(plan.inputs.values())]
        types = [nested_type(wanted.form.name, len(wanted.rest)) for _, wanted in self.fields]
        item = msgspec.defstruct(
            "Item",
            [(field, kind) for (field, _), kind in zip(self.fields, types, strict=True)],
            rename={field: wanted.name for field, wanted in self.fields},
            forbid_unknown_fields=True,
            gc=False,
        )
        self.one: Any = msgspec.json.Decoder(item)
        self.many: Any = msgspec.json.Decoder(list_of(item))
        single = len(types) == 1
        self.bare_one: Any = msgspec.json.Decoder(types[0]) if single else None
        self.bare_many: Any = msgspec.json.Decoder(list_of(types[0])) if single else None


def _instance_plan(plan: ModelPlan) -> InstancePlan:
    made = plan.instances
    if not isinstance(made, InstancePlan):
        made = plan.instances = InstancePlan(plan)
    return made


def decode_one(body: bytes, plan: ModelPlan) -> dict[str, Array]:
    """One item as arrays with a batch axis of 1 (without one where the model has none). Raises Invalid."""
    how = _instance_plan(plan)
    bare = how.bare_one is not None and body.lstrip(b" \t\r\n")[:1] != b"{"
    value = _decoded(how.bare_one if bare else how.one, body, "", plan)
    if bare:
        return {plan.names[0]: _column(how, 0, [value], plan)}
    return _columns(how, [value], plan)


def decode_many(body: bytes, plan: ModelPlan) -> tuple[dict[str, Array], int]:
    """A list of items as arrays, and how many they are. Raises Invalid."""
    how = _instance_plan(plan)
    first = body[:64].lstrip(b" \t\r\n[")[:1]
    bare = how.bare_many is not None and first != b"{"
    values = _decoded(how.bare_many if bare else how.many, body, "instances", plan)
    plan.check_size(len(values))
    arrays = {plan.names[0]: _column(how, 0, values, plan)} if bare else _columns(how, values, plan)
    return arrays, len(values)


def _decoded(decoder: Any, body: bytes, root: str, plan: ModelPlan) -> Any:
    try:
        return decoder.decode(body)
    except DECODE_ERRORS as error:
        takes = ", ".join(f"{spec.name!r} {spec.datatype} {list(spec.shape)}" for spec in plan.info.inputs)
        axis = " (the first dimension counts items and is left out here)" if plan.batched else ""
        raise Invalid(f"{explain(error, root)}; the model takes {takes}{axis}") from None


def _columns(how: InstancePlan, values: list[Any], plan: ModelPlan) -> dict[str, Array]:
    return {
        wanted.name: _column(how, index, [getattr(value, field) for value in values], plan)
        for index, (field, wanted) in enumerate(how.fields)
    }


def _column(how: InstancePlan, index: int, values: list[Any], plan: ModelPlan) -> Array:
    wanted = how.fields[index][1]
    where = f"input {wanted.name!r}"
    array = from_nested(wanted.form, values, len(wanted.rest) + 1, where)
    if not plan.batched:
        array = array.reshape(array.shape[1:])
    rest = array.shape[1:] if plan.batched else array.shape
    if rest != wanted.rest:
        wanted.check(wanted.form, array.shape, rest)
    return array


def encode_many(outputs: Tensors, batched: bool) -> bytes:
    """A JSON list of items: bare values where the model has one output, else objects. Raises ModelFailed."""
    arrays = outputs.arrays
    if len(arrays) == 1:
        ((name, array),) = arrays.items()
        encoded = _encode_nested(name, array)
        return encoded if batched else b"[" + encoded + b"]"
    if not batched:
        return b"[" + encode_one(outputs, batched) + b"]"
    return b"[" + b",".join(_encode_row(arrays, index) for index in range(outputs.size)) + b"]"


def encode_one(outputs: Tensors, batched: bool) -> bytes:
    """One item as a JSON object, without the batch axis. Raises ModelFailed."""
    return _encode_row(outputs.arrays, 0 if batched else None)


def _encode_row(arrays: Mapping[str, Array], index: int | None) -> bytes:
    parts = [
        _encode(name) + b":" + _encode_nested(name, array if index is None else array[index])
        for name, array in arrays.items()
    ]
    return b"{" + b",".join(parts) + b"}"


def _encode_nested(name: str, array: Array) -> bytes:
    """`array` may be one element of an array: numpy's scalar, or an object."""
    if not isinstance(array, np.ndarray | np.generic) or array.dtype.kind in "OUST":
        return _encode_text(name, array)
    if datatype_of(array) is None:
        raise ModelFailed(f"output {name!r} is of numpy's {array.dtype}, which JSON has no form for")
    encoded = _encode(array.tolist())
    if b"null" in encoded:
        raise not_finite(name)
    return encoded


def _encode_text(name: str, array: Any) -> bytes:
    whole = np.asarray(array, object)
    flat = encode_strings(name, whole.ravel().tolist())
    if whole.ndim == 0:
        return flat[1:-1]
    if whole.ndim == 1:
        return flat
    texts: list[str] = msgspec.json.decode(flat)
    return _encode(np.array(texts, object).reshape(whole.shape).tolist())
