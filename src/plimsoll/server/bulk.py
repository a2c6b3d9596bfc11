"""Large JSON bodies, decoded and encoded in another process, so that the event loop never stalls on one.

A 224x224x3 tensor as JSON (2.9 MB) takes 19 ms to decode and 23 ms to encode, holding the interpreter lock all the
while, in a thread or not. The codec process starts with the first large body and stays.

Arrays travel as raw bytes. Python values cost nearly as much to pack as to parse, so they travel in parts (`parts`),
cut in the codec process on the way in and in a thread on the way out. Where the model has a process of its own, they
pass through this one sealed.
"""

import asyncio
import logging
from collections.abc import Callable, Hashable, Sequence
from typing import Any

import msgspec

from plimsoll.core.errors import HostError, Invalid, ModelFailed, ReplicaLost, RequestError
from plimsoll.core.request import Inputs, Items, Outputs, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.ports.spawner import ChildSpec, Spawner
from plimsoll.server import framing
from plimsoll.server.parts import Cutter, put_back
from plimsoll.server.worker_process import ENTRY, WorkerProcess
from plimsoll.wire.codec import Codec, Decoded, codec_named

_log = logging.getLogger(__name__)
OnAnswer = Callable[[list[Any] | RequestError], None]


class BulkCodec:
    """The replica's end. Each call ends with exactly one call of its callback, on the loop."""

    def __init__(self, info: ModelInfo, spawner: Spawner, name: str, *, sealed: bool = False) -> None:
        """`sealed`: decoded items are not looked at here, but handed on to another process."""
        self._spawner = spawner
        self._sealed = sealed
        self._spec = ChildSpec(
            entry=ENTRY, args={"role": "codec", "info": msgspec.to_builtins(info)}, name=f"{name}-codec"
        )
        self._worker: WorkerProcess | None = None
        self._starting: asyncio.Task[None] | None = None
        self._cutting: set[asyncio.Task[None]] = set()
        self._unsent: list[framing.Frame] = []
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

        number = self._expect(answered)
        self._send(framing.encode_ending_in(["decode", number, codec.name, self._sealed], body))

    def encode(
        self,
        codec: Codec,
        decoded: Decoded,
        outputs: Outputs,
        version: str,
        done: Callable[[bytes | RequestError], None],
    ) -> None:
        number = self._expect(lambda answer: done(answer if isinstance(answer, RequestError) else answer[0]))
        message = ["encode", number, codec.name, decoded.id, decoded.outputs, version]
        if isinstance(outputs, Items) and not isinstance(outputs, framing.Sealed):
            task = asyncio.get_running_loop().create_task(self._cut_and_send(message, outputs))
            self._cutting.add(task)
            task.add_done_callback(self._cutting.discard)
        else:
            self._send([framing.encode([*message, framing.pack(outputs)])])

    def close(self) -> None:
        for task in (self._starting, *self._cutting):
            if task is not None:
                task.cancel()
        if self._worker is not None:
            self._worker.kill()

    @property
    def pid(self) -> int:
        return self._worker.pid if self._worker is not None else 0

    def _expect(self, done: OnAnswer) -> int:
        number = self._number
        self._number += 1
        self._waiting[number] = done
        return number

    def _send(self, frames: Sequence[framing.Frame]) -> None:
        if self._worker is not None:
            self._worker.send(*frames)
            return
        self._unsent += frames
        if self._starting is None:
            self._starting = asyncio.get_running_loop().create_task(self._start())

    async def _cut_and_send(self, message: list[Any], outputs: Items) -> None:
        number = message[1]
        try:
            # In a thread the interpreter lock changes hands between the parts.
            frames = await asyncio.get_running_loop().run_in_executor(None, _frames, message, outputs)
        except RequestError as error:
            done = self._waiting.pop(number, None)
            if done is not None:
                done(error)
            return
        if number in self._waiting:  # else the process was lost meanwhile, and that has been told
            self._send(frames)

    async def _start(self) -> None:
        worker = WorkerProcess(self._message, self._lost)
        try:
            await worker.start(self._spawner, self._spec)
        except HostError as error:
            self._lost(str(error))
            return
        finally:
            self._starting = None
        if worker.lost:
            return
        self._worker = worker
        worker.send(*self._unsent)
        self._unsent.clear()

    def _message(self, message: list[Any]) -> None:
        kind, number, *rest = message
        if kind == "part":
            self._parts.setdefault(number, []).append(rest[0])
            return
        parts = self._parts.pop(number, None)
        done = self._waiting.pop(number, None)
        if done is None:
            return
        if kind == "error":
            error = framing.unpack(rest[0])
            assert isinstance(error, RequestError)
            done(error)
        else:
            done(put_back(rest, parts) if parts else rest)

    def _lost(self, reason: str) -> None:
        """The next body starts another process."""
        _log.warning("codec process lost: %s", reason, extra={"requests": len(self._waiting)})
        self._worker = None
        self._unsent.clear()
        self._parts.clear()
        waiting, self._waiting = self._waiting, {}
        for done in waiting.values():
            done(ReplicaLost(f"the codec process is gone: {reason}", retry_after_s=1))


def _frames(message: list[Any], outputs: Items) -> list[framing.Frame]:
    """Raises ModelFailed where a value has no JSON form."""
    frames: list[framing.Frame] = []
    number = message[1]
    cutter = Cutter(lambda part: frames.append(framing.encode(["part", number, part])))
    try:
        left = cutter.cut(outputs.values)
    except RecursionError:
        raise ModelFailed("predict returned a value that is nested too deeply, or holds itself") from None
    frames.append(framing.encode([*message, ["i", left]]))
    return frames


def decode_job(info: ModelInfo, rest: list[Any], emit: Callable[[list[Any]], None]) -> list[Any]:
    """In the codec process. `emit` sends a part ahead of the answer."""
    name, sealed, body = rest
    decoded = codec_named(name).decode(body, info)
    inputs: Inputs = decoded.inputs
    packed = framing.pack(framing.seal(inputs) if sealed and isinstance(inputs, Items) else inputs)
    if packed[0] == "i":
        try:
            packed = ["i", Cutter(emit).cut(packed[1])]
        except RecursionError:
            raise Invalid("body: nested too deeply") from None
    return [packed, decoded.size, _sendable(decoded.key), decoded.id, decoded.outputs]


def encode_job(info: ModelInfo, rest: list[Any], emit: Callable[[list[Any]], None]) -> list[Any]:
    name, request_id, wanted, version, packed = rest
    outputs = framing.unseal(framing.unpack(packed))
    size = outputs.size if isinstance(outputs, Tensors) else len(outputs.values)
    decoded = Decoded(Items([]), size, None, request_id, tuple(wanted) if wanted is not None else None)
    return [codec_named(name).encode(decoded, info, outputs, version)]


def _sendable(key: Hashable) -> Any:
    return list(map(_sendable, key)) if isinstance(key, tuple) else key


def _hashable(key: Any) -> Hashable:
    return tuple(map(_hashable, key)) if isinstance(key, list) else key
