"""Messages between a replica and its own worker processes: 4 bytes of length, then msgpack. Never pickle.

Arrays and numpy's scalars travel as an extension: datatype, shape, raw bytes; BYTES arrays (numpy objects) as nested
lists; integers beyond 64 bits as decimal text. Everything else that an author's model may give (dataclasses, dates) is
turned into plain values as it would be for JSON, so an answer is the same whether the model runs in a thread or in a
process.
"""

import socket
import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias

import msgspec
import numpy as np

from plimsoll.core import errors
from plimsoll.core.errors import Invalid, ModelFailed, RequestError
from plimsoll.core.request import Inputs, Items, Tensors
from plimsoll.wire.tensor_json import json_hook

Frame: TypeAlias = bytes | bytearray

_LENGTH = struct.Struct(">I")
_BIN32 = struct.Struct(">BI")
_ARRAY, _OBJECTS, _SCALAR, _INTEGER = 1, 2, 3, 4
_TURN_BYTES = 64 * 1024
MAX_FRAME = 2**31  # a peer of our own that announces more has lost its place in the stream


class _Integer:
    """One that msgpack has no form for; `encode` puts it in its place."""

    __slots__ = ("value",)

    def __init__(self, value: int) -> None:
        self.value = value


@dataclass(slots=True, eq=False)
class Sealed(Items):
    """Items on their way between two other processes: `values` is empty, `packed` holds them as msgpack."""

    packed: bytes = b""


def seal(items: Items) -> Sealed:
    """Raises ModelFailed as `encode` does."""
    return Sealed([], bytes(memoryview(encode(items.values))[_LENGTH.size :]))


def unseal(value: Inputs | RequestError) -> Inputs:
    """What `unpack` gave, ready to be looked at."""
    assert not isinstance(value, RequestError)
    return Items(_decoder.decode(value.packed)) if isinstance(value, Sealed) else value


def _encode_hook(value: Any) -> Any:
    if hasattr(value, "detach"):  # a torch tensor: its datatype is part of the answer
        value = value.detach().cpu().numpy()
    if isinstance(value, np.generic) and value.dtype.kind in "biuf":
        return msgspec.msgpack.Ext(_SCALAR, value.dtype.str.encode() + b" " + value.tobytes())
    if isinstance(value, _Integer):
        return msgspec.msgpack.Ext(_INTEGER, b"%x" % value.value)
    if isinstance(value, np.ndarray):
        if value.dtype.hasobject or value.dtype.kind in "US":
            return msgspec.msgpack.Ext(_OBJECTS, msgspec.msgpack.encode([list(value.shape), value.ravel().tolist()]))
        header = msgspec.msgpack.encode([value.dtype.str, list(value.shape)])
        return msgspec.msgpack.Ext(_ARRAY, _LENGTH.pack(len(header)) + header + np.ascontiguousarray(value).tobytes())
    return json_hook(value)


def _decode_ext(code: int, data: memoryview) -> Any:
    if code == _OBJECTS:
        shape, values = msgspec.msgpack.decode(data)
        array = np.empty(len(values), dtype=object)
        array[:] = values
        return array.reshape(shape)
    if code == _ARRAY:
        size = _LENGTH.unpack(data[:4])[0]
        dtype, shape = msgspec.msgpack.decode(data[4 : 4 + size])
        return np.frombuffer(data, dtype=np.dtype(dtype), offset=4 + size).reshape(shape)
    if code == _SCALAR:
        name, _, raw = bytes(data).partition(b" ")
        return np.frombuffer(raw, np.dtype(name.decode()))[0]
    if code == _INTEGER:
        return int(bytes(data), 16)
    raise ValueError(f"unknown extension {code}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode_ext)


def encode(message: list[Any]) -> bytearray:
    """One frame. Raises ModelFailed where a value can't travel: the author's answer can't be said in JSON either."""
    frame = bytearray(_LENGTH.size)
    try:
        try:
            _encoder.encode_into(message, frame, _LENGTH.size)
        except OverflowError:
            _encoder.encode_into(_without_big_integers(message), frame, _LENGTH.size)
    except RequestError:
        raise
    except Exception as error:  # an author's own tolist or model_dump may raise anything
        raise ModelFailed(f"the result has no JSON form: {type(error).__name__}: {error}") from error
    _LENGTH.pack_into(frame, 0, len(frame) - _LENGTH.size)
    return frame


def encode_ending_in(message: list[Any], last: bytes) -> list[Frame]:
    """The frame of `[*message, last]` in two pieces, without a copy of `last`: 3 MB take 2 ms to copy, for the most
    part to get fresh memory."""
    head = encode([*message, b""])
    head[-2:] = _BIN32.pack(0xC6, len(last))  # msgpack's "bin 32" instead of the empty "bin 8" (0xc4 0)
    _LENGTH.pack_into(head, 0, len(head) - _LENGTH.size + len(last))
    return [head, last]


def _without_big_integers(value: Any) -> Any:
    if isinstance(value, int) and not -(2**63) <= value < 2**64:
        return _Integer(value)
    if isinstance(value, dict):
        return {key: _without_big_integers(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_without_big_integers(item) for item in value]
    return value


def pack(value: Inputs | Exception) -> list[Any]:
    """Inputs, outputs or an error as plain values."""
    if isinstance(value, Sealed):
        return ["s", value.packed]
    if isinstance(value, Items):
        return ["i", value.values]
    if isinstance(value, Tensors):
        return ["t", dict(value.arrays), value.size]
    if isinstance(value, RequestError):
        return ["e", type(value).__name__, utf8(value.reason), value.retry_after_s, getattr(value, "status", None)]
    return ["e", "ModelFailed", utf8(f"{type(value).__name__}: {value}"), None, None]


def utf8(text: str) -> str:
    """An author's exception may hold lone surrogates, which can't travel."""
    return text.encode("utf-8", "replace").decode()


def unpack(value: list[Any]) -> Inputs | RequestError:
    if value[0] == "i":
        return Items(value[1])
    if value[0] == "s":
        return Sealed([], value[1])
    if value[0] == "t":
        return Tensors(value[1], value[2])
    kind: type[RequestError] = getattr(errors, value[1])
    error = kind(value[2])
    error.retry_after_s = value[3]
    if isinstance(error, Invalid):
        error.status = value[4]
    return error


class FrameReader:
    """Bytes in, messages out: `feed` calls `deliver` for each complete frame."""

    def __init__(self, deliver: Callable[[list[Any]], None]) -> None:
        self._deliver = deliver
        self._buffer = bytearray()

    def feed(self, data: bytes) -> bool:
        """True where complete frames are left: after 64 KiB the loop is given a turn. Feed nothing, then, for more."""
        buffer = self._buffer
        buffer += data
        done = 0
        while len(buffer) >= 4:
            size = _LENGTH.unpack_from(buffer)[0]
            if size > MAX_FRAME:
                raise ValueError("the stream is out of step")
            if len(buffer) < 4 + size:
                return False
            if done > _TURN_BYTES:
                return True
            body = bytes(memoryview(buffer)[4 : 4 + size])
            del buffer[: 4 + size]
            done += size
            self._deliver(_decoder.decode(body))
        return False


def read_blocking(connection: socket.socket) -> list[Any] | None:
    """The next message, or None at the end of the stream (a frame cut short is the end, too)."""
    header = _read_exactly(connection, 4)
    if header is None:
        return None
    body = _read_exactly(connection, _LENGTH.unpack(header)[0])
    if body is None:
        return None
    message: list[Any] = _decoder.decode(body)
    return message


def _read_exactly(connection: socket.socket, count: int) -> bytes | None:
    data = bytearray(count)
    view, at = memoryview(data), 0
    while at < count:
        got = connection.recv_into(view[at:])
        if got == 0:
            return None
        at += got
    return bytes(data)
