"""Large JSON bodies, decoded and encoded in another process, so that the event loop never stalls on one.

A 224x224x3 tensor as JSON (2.9 MB) takes 19 ms to decode and 23 ms to encode, holding the interpreter lock all the
while, in a thread or not. The codec process starts with the first large body and stays.

Arrays come back as raw bytes. Python values would cost nearly as much to rebuild as to parse, so long lists come back
in parts of about 2,048 scalars, a frame each (20 us), and the loop turns between the reads.
"""

import asyncio
from collections.abc import Callable, Hashable
from itertools import chain
from typing import Any

import msgspec

from plimsoll.core.errors import HostError, Invalid, ReplicaLost, RequestError
from plimsoll.core.request import Inputs, Items, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.ports.spawner import ChildSpec, Spawner
from plimsoll.server import framing
from plimsoll.server.worker_process import ENTRY, WorkerProcess
from plimsoll.wire.codec import Codec, Decoded, codec_named

_PART = 2048
_PLACE = "\x00plimsoll-part"  # a client's own key of this name does not survive: see `_Parts`

OnAnswer = Callable[[list[Any] | RequestError], None]


class BulkCodec:
    """The replica's end. Each call ends with exactly one call of its callback, on the loop."""

    def __init__(self, info: ModelInfo, spawner: Spawner, name: str) -> None:
        self._info = info
        self._spawner = spawner
        self._spec = ChildSpec(
            entry=ENTRY, args={"role": "codec", "info": msgspec.to_builtins(info)}, name=f"{name}-codec"
        )
        self._worker: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._unsent: list[bytes] = []
        self._waiting: dict[int, OnAnswer] = {}
        self._parts: dict[int, list[list[Any]]] = {}
        self._number = 0

    def decode(self, codec: Codec, body: bytes, done: Callable[[Decoded | RequestError], None]) -> None:
        def answered(answer: list[Any] | RequestError) -> None:
            if isinstance(answer, RequestError):
                done(answer)
                return
            packed, size, key, request_id, outputs = answer
            inputs = framing.unpack(packed)
            assert not isinstance(inputs, RequestError)
            done(Decoded(inputs, size, _hashable(key), request_id, tuple(outputs) if outputs is not None else None))

        self._send(["decode", self._number, codec.name, body], answered)

    def encode(
        self,
        codec: Codec,
        decoded: Decoded,
        outputs: Outputs,
        version: str,
        done: Callable[[bytes | RequestError], None],
    ) -> None:
        message = ["encode", self._number, codec.name, decoded.id, decoded.outputs, framing.pack(outputs), version]
        self._send(message, lambda answer: done(answer if isinstance(answer, RequestError) else answer[0]))

    def close(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
        if self._worker is not None:
            self._worker.kill()

    def _send(self, message: list[Any], done: OnAnswer) -> None:
        self._waiting[self._number] = done
        self._number += 1
        frame = framing.encode(message)
        if self._worker is not None:
            self._worker.send(frame)
            return
        self._unsent.append(frame)
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _start(self) -> None:
        worker = WorkerProcess(self._message, self._lost)
        try:
            await worker.start(self._spawner, self._spec)
        except HostError as error:
            self._lost(str(error))
            return
        finally:
            self._starting = None
        self._worker = worker
        for frame in self._unsent:
            worker.send(frame)
        self._unsent.clear()

    def _message(self, message: list[Any]) -> None:
        kind, number, *rest = message
        if kind == "part":
            self._parts.setdefault(number, []).append(rest[0])
            return
        parts = self._parts.pop(number, None)
        done = self._waiting.pop(number)
        if kind == "error":
            error = framing.unpack(rest[0])
            assert isinstance(error, RequestError)
            if isinstance(error, Invalid) and rest[1]:
                error.status = rest[1]
            done(error)
        else:
            done(_put_back(rest, parts) if parts else rest)

    def _lost(self, reason: str) -> None:
        """The next body starts another process."""
        self._worker = None
        self._unsent.clear()
        self._parts.clear()
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(ReplicaLost(f"the codec process is gone: {reason}", retry_after_s=1))


def decode_job(info: ModelInfo, rest: list[Any], emit: Callable[[list[Any]], None]) -> list[Any]:
    """In the codec process. `emit` sends a part ahead of the answer."""
    name, body = rest
    decoded = codec_named(name).decode(body, info)
    inputs: Inputs = decoded.inputs
    if isinstance(inputs, Items):
        parts = _Parts(emit)
        inputs = Items([parts.take_out(value)[0] for value in inputs.values])
    return [framing.pack(inputs), decoded.size, _sendable(decoded.key), decoded.id, decoded.outputs]


def encode_job(info: ModelInfo, rest: list[Any], emit: Callable[[list[Any]], None]) -> list[Any]:
    name, request_id, wanted, packed, version = rest
    outputs = framing.unpack(packed)
    assert not isinstance(outputs, RequestError)
    size = outputs.size if isinstance(outputs, Tensors) else len(outputs.values)
    decoded = Decoded(Items([]), size, None, request_id, tuple(wanted) if wanted is not None else None)
    return [codec_named(name).encode(decoded, info, outputs, version)]


class _Parts:
    """Cuts a JSON value into parts of about `_PART` scalars; what is left of it holds places instead."""

    def __init__(self, emit: Callable[[list[Any]], None]) -> None:
        self._emit = emit
        self._count = 0

    def take_out(self, value: Any) -> tuple[Any, int]:
        """What stays, and how many scalars that is."""
        if isinstance(value, dict):
            kept, total = {}, 1
            for key, item in value.items():
                if key != _PLACE:
                    kept[key], weight = self.take_out(item)
                    total += weight
            return kept, total
        if not isinstance(value, list):
            return value, 1
        before = self._count
        kept_items, weights = [], []
        for item in value:
            kept_item, weight = self.take_out(item) if isinstance(item, list | dict) else (item, 1)
            kept_items.append(kept_item)
            weights.append(weight)
        total = sum(weights)
        if total <= _PART:
            return kept_items, total + 1
        nested, first = self._count > before, self._count
        at = heavy = 0
        for end, weight in enumerate(weights, 1):
            heavy += weight
            if heavy >= _PART or end == len(weights):
                self._emit(kept_items[at:end])
                self._count += 1
                at, heavy = end, 0
        return {_PLACE: [first, self._count, nested]}, 1


def _put_back(value: Any, parts: list[list[Any]]) -> Any:
    """What stays holds few scalars; parts without places of their own are joined as they are: a copy of pointers."""
    if isinstance(value, dict):
        if _PLACE in value:
            first, end, nested = value[_PLACE]
            joined = list(chain.from_iterable(parts[first:end]))
            return [_put_back(item, parts) for item in joined] if nested else joined
        return {key: _put_back(item, parts) for key, item in value.items()}
    if isinstance(value, list):
        return [_put_back(item, parts) for item in value]
    return value


def _sendable(key: Hashable) -> Any:
    return list(map(_sendable, key)) if isinstance(key, tuple) else key


def _hashable(key: Any) -> Hashable:
    return tuple(map(_hashable, key)) if isinstance(key, list) else key
