"""What `cache.inputs` chooses of a body, in each protocol; and the id that an answer repeats.

A body in which one of the named inputs is missing has no key: were it left out, a misspelt name in the service file
would make all requests one. Values are compared as they are written: `1.0` and `1` are two keys, as are two spellings
of one text. That costs a miss, never a wrong answer.
"""

from enum import Enum

import msgspec
from msgspec import Raw, Struct


class Protocol(Enum):
    PLAIN = "plain"
    OIP = "oip"
    KSERVE_V1 = "kserve_v1"


class _Tensor(Struct):
    name: str
    shape: Raw = Raw(b"")
    datatype: Raw = Raw(b"")
    data: Raw = Raw(b"")
    parameters: Raw = Raw(b"")


class _Inference(Struct):
    inputs: list[_Tensor]
    outputs: Raw = Raw(b"")
    id: str | None = None


class _Instances(Struct):
    instances: Raw


_Object = dict[str, Raw]
_inference = msgspec.json.Decoder(_Inference)
_instances = msgspec.json.Decoder(_Instances)
_objects = msgspec.json.Decoder(_Object | list[_Object])
_values = msgspec.json.Decoder(list[Raw])
_members = msgspec.json.Decoder(_Object)
_encode = msgspec.json.Encoder().encode
_ERRORS = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)


def protocol_of(path: str) -> Protocol | None:
    """Of a path that a service answers at; None where it is not one for inference."""
    if path.startswith("/v2/models/"):
        return Protocol.OIP if path.endswith("/infer") else None
    if path.startswith("/v1/models/"):
        return Protocol.KSERVE_V1 if path.endswith(":predict") else None
    return Protocol.PLAIN


def chosen_parts(body: bytes, names: tuple[str, ...], protocol: Protocol) -> list[bytes] | None:
    """The named members of a JSON object, or of each object of a list, as written. None: it can't be read like that.

    KServe v1: of each of `instances`; where they are bare values and one input is named, `instances` are that input.
    """
    try:
        if protocol is Protocol.KSERVE_V1:
            body = bytes(_instances.decode(body).instances)
            if len(names) == 1 and not any(bytes(value)[:1] == b"{" for value in _values.decode(body)):
                return [b"bare", body]
        found = _objects.decode(body)
    except _ERRORS:
        return None
    objects = found if isinstance(found, list) else [found]
    if not objects:
        return None
    parts = [b"many" if isinstance(found, list) else b"one"]
    for members in objects:
        for name in names:
            value = members.get(name)
            if value is None:
                return None
            parts.append(bytes(value))
    return parts


def chosen_tensors(body: bytes, names: tuple[str, ...]) -> tuple[list[bytes], bytes] | None:
    """The named tensors and the outputs asked for; and the request's id as JSON, empty where it has none."""
    try:
        message = _inference.decode(body)
    except _ERRORS:
        return None
    tensors = {tensor.name: tensor for tensor in message.inputs}
    if len(tensors) != len(message.inputs):
        return None
    parts = [bytes(message.outputs)]
    for name in names:
        tensor = tensors.get(name)
        if tensor is None:
            return None
        parts += (bytes(tensor.shape), bytes(tensor.datatype), bytes(tensor.data), bytes(tensor.parameters))
    return parts, b"" if message.id is None else _encode(message.id)


def without_id(body: bytes) -> bytes | None:
    """An answer as it is kept for requests that differ in their id. None: it is no JSON object."""
    try:
        members = _members.decode(body)
    except _ERRORS:
        return None
    members.pop("id", None)
    return _encode(members)


def with_id(body: bytes, answer_id: bytes) -> bytes:
    """What `without_id` gave, with an id: JSON, empty for none."""
    if not answer_id:
        return body
    return b'{"id":%b%b%b' % (answer_id, b"}" if body == b"{}" else b",", b"" if body == b"{}" else body[1:])
