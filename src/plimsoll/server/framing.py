"""Messages between a replica and its own worker processes: 4 bytes of length, then msgpack. Never pickle.

Arrays travel as an extension: datatype, shape, raw bytes; BYTES arrays (numpy objects) as nested lists. Everything
else that an author's model may give (numpy scalars, dataclasses, dates) is turned into plain values as it would be for
JSON, so an answer is the same whether the model runs in a thread or in a process.
"""

import socket
import struct
from collections.abc import Callable
from typing import Any

import msgspec
import numpy as np

from plimsoll.core import errors
from plimsoll.core.errors import ModelFailed, RequestError
from plimsoll.core.request import Inputs, Items, Tensors
from plimsoll.wire.tensor_json import json_hook

_LENGTH = struct.Struct(">I")
_ARRAY, _OBJECTS = 1, 2
MAX_FRAME = 2**31  # a peer of our own that announces more has lost its place in the stream


def _encode_hook(value: Any) -> Any:
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
    raise ValueError(f"unknown extension {code}")


_encoder = msgspec.msgpack.Encoder(enc_hook=_encode_hook)
_decoder = msgspec.msgpack.Decoder(ext_hook=_decode_ext)


def encode(message: list[Any]) -> bytes:
    """One frame. Raises ModelFailed where a value can't travel: the author's answer can't be said in JSON either."""
    try:
        body = _encoder.encode(message)
    except (TypeError, ValueError, OverflowError, RecursionError) as error:
        raise ModelFailed(f"an answer cannot be written as JSON: {error}") from error
    return _LENGTH.pack(len(body)) + body


def pack(value: Inputs | Exception) -> list[Any]:
    """Inputs, outputs or an error as plain values."""
    if isinstance(value, Items):
        return ["i", value.values]
    if isinstance(value, Tensors):
        return ["t", dict(value.arrays), value.size]
    if isinstance(value, RequestError):
        return ["e", type(value).__name__, value.reason, value.retry_after_s]
    return ["e", "ModelFailed", f"{type(value).__name__}: {value}", None]


def unpack(value: list[Any]) -> Inputs | RequestError:
    if value[0] == "i":
        return Items(value[1])
    if value[0] == "t":
        return Tensors(value[1], value[2])
    kind: type[RequestError] = getattr(errors, value[1])
    error = kind(value[2])
    error.retry_after_s = value[3]
    return error


class FrameReader:
    """Bytes in, messages out: `feed` calls `deliver` for each complete frame."""

    def __init__(self, deliver: Callable[[list[Any]], None]) -> None:
        self._deliver = deliver
        self._buffer = bytearray()

    def feed(self, data: bytes) -> None:
        buffer = self._buffer
        buffer += data
        while len(buffer) >= 4:
            size = _LENGTH.unpack_from(buffer)[0]
            if size > MAX_FRAME:
                raise ValueError("the stream is out of step")
            if len(buffer) < 4 + size:
                return
            body = bytes(memoryview(buffer)[4 : 4 + size])
            del buffer[: 4 + size]
            self._deliver(_decoder.decode(body))


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
