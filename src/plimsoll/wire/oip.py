"""The Open Inference Protocol v2, REST, in JSON: requests, answers, metadata.

https://github.com/kserve/open-inference-protocol, "REST API". A request is tried against a decoder that takes flat data
of every datatype straight into typed lists (64 floats: 2 us); whatever it refuses goes the general way, which also
takes nested data and says what is wrong. Triton's binary tensor extension is refused in requests; a client that asks
for binary outputs gets JSON, as the extension allows.
"""

import functools
import operator
from collections.abc import Mapping
from typing import Annotated, Any, TypeAlias

import msgspec
from msgspec import Meta, Raw, Struct

from plimsoll.core.errors import Invalid, ModelFailed
from plimsoll.core.request import Outputs, Tensors
from plimsoll.core.tensors import ModelInfo, TensorSpec
from plimsoll.wire import results
from plimsoll.wire.codec import Decoded
from plimsoll.wire.plan import ITEMS_FROM_ARRAYS, ModelPlan, alone, plan_of, to_items
from plimsoll.wire.tensor_json import (
    DATATYPES,
    DECODE_ERRORS,
    Array,
    Datatype,
    datatype_of,
    encode_flat,
    explain,
    from_flat,
    from_raw,
    list_of,
)

# Triton's binary tensors announce themselves by this header: refuse such a request with `binary_refused()`.
BINARY_HEADER = b"inference-header-content-length"

Dimension = Annotated[int, Meta(ge=0, le=2**31 - 1)]


Parameters: TypeAlias = dict[str, Raw] | None  # free by the protocol: their shape is checked, their values ignored


class RequestedOutput(Struct, gc=False):
    name: str
    parameters: Parameters = None


class RawTensor(Struct, gc=False):
    name: str
    shape: tuple[Dimension, ...]
    datatype: str
    data: Raw = Raw(b"")
    parameters: Parameters = None


class RawRequest(Struct, gc=False):
    inputs: list[RawTensor]
    outputs: list[RequestedOutput] | None = None
    id: str | None = None
    parameters: Parameters = None


def _flat_struct(form: Datatype) -> type[Struct]:
    """A tensor with flat data, told from those of other datatypes by its `datatype`."""
    fields: list[tuple[str, Any] | tuple[str, Any, Any]] = [
        ("name", str),
        ("shape", tuple[Dimension, ...]),
        ("data", list_of(form.element)),
    ]
    fields.append(("parameters", Parameters, None))
    return msgspec.defstruct(f"Flat{form.name}", fields, tag_field="datatype", tag=form.name, gc=False)


_FORM_OF: dict[type, Datatype] = {_flat_struct(form): form for form in DATATYPES.values()}
_FAST = msgspec.json.Decoder(
    msgspec.defstruct(
        "FlatRequest",
        [
            ("inputs", list[functools.reduce(operator.or_, _FORM_OF)]),  # type: ignore[misc]  # a type made at run time
            ("outputs", list[RequestedOutput] | None, None),
            ("id", str | None, None),
            ("parameters", Parameters, None),
        ],
        gc=False,
    )
)
_GENERAL = msgspec.json.Decoder(RawRequest)
_encode = msgspec.json.Encoder().encode


class OipCodec:
    """`Decoded.id` is the client's own id, `Decoded.outputs` the names it asked for."""

    name = "oip"

    def decode(self, body: bytes, info: ModelInfo) -> Decoded:
        plan = plan_of(info)
        try:
            message: Any = _FAST.decode(body)
        except DECODE_ERRORS:
            return decode_generally(body, info)
        arrays: dict[str, Array] = {}
        size = -1
        for tensor in message.inputs:
            form = _FORM_OF[type(tensor)]
            size = _check(plan, arrays, tensor.name, form, tensor.shape, size)
            try:
                arrays[tensor.name] = from_flat(form, tensor.data, tensor.shape)
            except (ValueError, OverflowError):
                return decode_generally(body, info)  # which says why
        return _decoded(plan, arrays, size, message.id, message.outputs)

    def encode(self, decoded: Decoded, info: ModelInfo, outputs: Outputs, version: str) -> bytes:
        arrays = outputs.arrays if isinstance(outputs, Tensors) else results.stack(outputs.values, info)
        if decoded.outputs is not None:
            arrays = _select(arrays, decoded.outputs)
        plan = plan_of(info)
        headers = plan.headers
        start = headers.get(version)
        if start is None:
            start = headers[version] = _start(info.name, version)
        parts = [start]
        if decoded.id is not None:
            parts += (b',"id":', _encode(decoded.id))
        parts.append(b',"outputs":[')
        comma = b""
        for name, array in arrays.items():
            key = (name, array.dtype.char, array.shape)
            header = headers.get(key)
            if header is None:
                if len(headers) > 512:  # shapes vary: forget rather than grow
                    headers.clear()
                header = headers[key] = _tensor_start(name, array)
            parts += (comma, header, encode_flat(name, array), b"}")
            comma = b","
        parts.append(b"]}")
        return b"".join(parts)


def decode_generally(body: bytes, info: ModelInfo) -> Decoded:
    """What `OipCodec.decode` does, for any legal request, slower; every problem is named. Raises Invalid."""
    plan = plan_of(info)
    try:
        message = _GENERAL.decode(body)
    except DECODE_ERRORS as error:
        if b'"binary_data_size"' in body:
            raise binary_refused() from None
        if not body.strip():
            raise Invalid('the body is empty; send {"inputs":[{"name":…,"shape":…,"datatype":…,"data":…}]}') from None
        raise Invalid(explain(error)) from None
    arrays: dict[str, Array] = {}
    size = -1
    for tensor in message.inputs:
        where = f"input {tensor.name[:64]!r}"
        form = DATATYPES.get(tensor.datatype)
        if form is None:
            raise Invalid(f"{where}: datatype {tensor.datatype[:32]!r} is unknown; it is one of {', '.join(DATATYPES)}")
        size = _check(plan, arrays, tensor.name, form, tensor.shape, size)
        raw = bytes(tensor.data)
        if not raw:
            if tensor.parameters and "binary_data_size" in tensor.parameters:
                raise binary_refused()
            raise Invalid(f"{where}: data is missing")
        arrays[tensor.name] = from_raw(form, raw, tensor.shape, where)
    return _decoded(plan, arrays, size, message.id, message.outputs)


def binary_refused() -> Invalid:
    return Invalid("binary tensors are not supported yet; send the data as JSON numbers", status=415)


def _check(
    plan: ModelPlan, arrays: dict[str, Array], name: str, form: Datatype, shape: tuple[int, ...], size: int
) -> int:
    """The request's size, once this input has been found to be what the model takes. `size` is -1 for the first."""
    if name in arrays:
        raise Invalid(f"input {name[:64]!r} is there twice")
    if not plan.batched:
        rest = shape
        shared = 1
    elif shape:
        rest = shape[1:]
        shared = shape[0]
    else:
        raise Invalid(f"input {name[:64]!r}: shape is empty; its first dimension counts the items")
    if plan.inputs:
        wanted = plan.inputs.get(name)
        if wanted is None:
            raise plan.unknown(name)
        if form is not wanted.form or rest != wanted.rest:
            wanted.check(form, shape, rest)
    elif len(shape) > 64:
        raise Invalid(f"input {name[:64]!r}: shape has more than 64 dimensions")
    if shared != size:
        if size >= 0:
            raise Invalid(f"input {name[:64]!r} holds {shared} items but the ones before it hold {size}")
        plan.check_size(shared)
    return shared


def _decoded(
    plan: ModelPlan, arrays: dict[str, Array], size: int, client_id: str | None, requested: list[RequestedOutput] | None
) -> Decoded:
    if len(arrays) != len(plan.inputs):
        plan.check_names(arrays)
    if not arrays:
        raise Invalid("inputs is empty; send at least one tensor")
    if len(arrays) > 1 and plan.inputs and tuple(arrays) != plan.names:
        arrays = {name: arrays[name] for name in plan.names}  # the model's order
    outputs = None
    if requested:
        outputs = tuple(output.name for output in requested)
        known = plan.info.outputs
        if known and not plan.takes_items:
            _check_requested(outputs, known)
    tensors = Tensors(arrays, size)
    if plan.takes_items:
        key = ITEMS_FROM_ARRAYS if plan.batched else alone()
        return Decoded(to_items(tensors, batched=plan.batched), size, key, client_id, outputs)
    return Decoded(tensors, size, plan.key(arrays), client_id, outputs)


def _check_requested(names: tuple[str, ...], known: tuple[TensorSpec, ...]) -> None:
    for name in names:
        if all(name != spec.name for spec in known):
            raise _unknown_output(name, [spec.name for spec in known])


def _unknown_output(name: str, known: list[str]) -> Invalid:
    return Invalid(f"output {name[:64]!r} is unknown; the model gives {', '.join(map(repr, known))}")


def _select(arrays: Mapping[str, Array], names: tuple[str, ...]) -> dict[str, Array]:
    chosen = {}
    for name in names:
        if name not in arrays:
            raise _unknown_output(name, list(arrays))
        chosen[name] = arrays[name]
    return chosen


def _start(model: str, version: str) -> bytes:
    start = b'{"model_name":' + _encode(model)
    return start + b',"model_version":' + _encode(version) if version else start


def _tensor_start(name: str, array: Array) -> bytes:
    datatype = datatype_of(array)
    if datatype is None:
        raise ModelFailed(f"output {name!r} is of numpy's {array.dtype}, which the protocol has no datatype for")
    head = _encode({"name": name, "datatype": datatype, "shape": array.shape})
    return head[:-1] + b',"data":'


def server_metadata(version: str) -> bytes:
    """The body of `GET /v2`. `extensions` is empty: none is implemented."""
    return _encode({"name": "plimsoll", "version": version, "extensions": []})


def model_metadata(info: ModelInfo, version: str = "") -> bytes:
    """The body of `GET /v2/models/{name}`."""
    document: dict[str, Any] = {"name": info.name}
    if version:
        document["versions"] = [version]
    document["platform"] = info.platform
    document["inputs"] = [_spec(spec) for spec in info.inputs]
    document["outputs"] = [_spec(spec) for spec in info.outputs]
    return _encode(document)


def live_body(live: bool = True) -> bytes:
    """`GET /v2/health/live`."""
    return b'{"live":true}' if live else b'{"live":false}'


def server_ready_body(ready: bool) -> bytes:
    """`GET /v2/health/ready`."""
    return b'{"ready":true}' if ready else b'{"ready":false}'


def model_ready_body(name: str, ready: bool) -> bytes:
    """`GET /v2/models/{name}/ready`. `name` is OIP's, `ready` is what KServe's clients look for."""
    return _encode({"name": name, "ready": ready})


def _spec(spec: TensorSpec) -> dict[str, Any]:
    return {"name": spec.name, "datatype": spec.datatype, "shape": list(spec.shape)}
