"""The other side of a worker process: a blocking loop over one socket, with no event loop and no threads of ours.

Two roles. `model` loads a model and runs batches. `codec` decodes large JSON bodies into arrays and encodes large
answers, because either would hold the replica's interpreter lock for tens of milliseconds.
"""

import socket
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import msgspec

from plimsoll.core.errors import ModelLoadError, RequestError
from plimsoll.core.request import Inputs, Outputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.models import open_model
from plimsoll.models.source import ModelSource
from plimsoll.server import framing
from plimsoll.server.bulk import decode_job, encode_job
from plimsoll.server.runner import Results, run_batch, warm_up

Job = Callable[[ModelInfo, list[Any], Callable[[list[Any]], None]], list[Any]]


def serve_model(connection: socket.socket, args: Mapping[str, Any]) -> None:
    """`args`: {"source": ModelSource as JSON, "max_batch": int}. Returns when the replica is gone."""
    source = msgspec.convert(args["source"], ModelSource)
    model = open_model(source)
    try:
        model.load()
        times = warm_up(model, args["max_batch"])
    except ModelLoadError as error:
        connection.sendall(framing.encode(["failed", error.reason, error.file, error.line, error.detail]))
        return
    connection.sendall(framing.encode(["loaded", msgspec.to_builtins(model.info), times]))
    while (message := framing.read_blocking(connection)) is not None:
        batch: list[Inputs] = []
        for packed in message[1]:
            inputs = framing.unpack(packed)
            assert not isinstance(inputs, RequestError)
            batch.append(inputs)
        start = perf_counter()
        results = run_batch(model, batch)
        connection.sendall(_answer(results, perf_counter() - start))
    model.close()


def _answer(results: Results, seconds: float) -> bytes:
    if isinstance(results, RequestError):
        return framing.encode(["done", framing.pack(results), None, seconds])
    try:
        return framing.encode(["done", None, [framing.pack(result) for result in results], seconds])
    except RequestError:
        # One answer can't travel: find which, so that its batch mates are not failed with it.
        return framing.encode(["done", None, [_pack_or_error(result) for result in results], seconds])


def _pack_or_error(result: Outputs | Exception) -> list[Any]:
    packed = framing.pack(result)
    try:
        framing.encode(packed)
    except RequestError as error:
        return framing.pack(error)
    return packed


def serve_codec(connection: socket.socket, args: Mapping[str, Any]) -> None:
    """`args`: {"info": ModelInfo as JSON}. One job at a time, in order."""
    info = msgspec.convert(args["info"], ModelInfo)
    jobs: dict[str, Job] = {"decode": decode_job, "encode": encode_job}
    while (message := framing.read_blocking(connection)) is not None:
        kind, number, *rest = message

        def emit(part: list[Any], number: int = number) -> None:
            connection.sendall(framing.encode(["part", number, part]))

        try:
            answer: list[Any] = ["ok", number, *jobs[kind](info, rest, emit)]
        except RequestError as error:
            answer = ["error", number, framing.pack(error), getattr(error, "status", None)]
        connection.sendall(framing.encode(answer))
