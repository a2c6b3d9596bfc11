"""The other side of a worker process: a blocking loop over one socket, with no event loop and no threads of ours.

Two roles. `model` loads a model and runs batches. `codec` decodes large JSON bodies into arrays and encodes large
answers, because either would hold the replica's interpreter lock for tens of milliseconds.
"""

import socket
from collections.abc import Callable, Mapping
from time import perf_counter
from typing import Any

import msgspec

from plimsoll.core.errors import ModelFailed, ModelLoadError, RequestError
from plimsoll.core.request import Items, Outputs
from plimsoll.core.tensors import ModelInfo
from plimsoll.models import open_model
from plimsoll.models.source import ModelSource
from plimsoll.server import framing
from plimsoll.server.bulk import decode_job, encode_job
from plimsoll.server.parts import exceeds, put_back
from plimsoll.server.runner import Results, run_batch, warm_up

Job = Callable[[ModelInfo, list[Any], Callable[[list[Any]], None]], list[Any]]


def serve_model(connection: socket.socket, args: Mapping[str, Any]) -> None:
    """`args`: {"source": ModelSource as JSON, "max_batch", "bulk_items"}. Returns when the replica is gone."""
    source = msgspec.convert(args["source"], ModelSource)
    model = open_model(source)
    try:
        model.load()
        times = warm_up(model, args["max_batch"])
    except ModelLoadError as error:
        texts = [framing.utf8(text) for text in (error.reason, error.file, error.detail)]
        connection.sendall(framing.encode(["failed", texts[0], texts[1], error.line, texts[2]]))
        return
    except Exception as error:  # what our own adapters did not foresee
        connection.sendall(framing.encode(["failed", framing.utf8(f"{type(error).__name__}: {error}"), "", 0, ""]))
        return
    connection.sendall(framing.encode(["loaded", msgspec.to_builtins(model.info), times]))
    while (message := framing.read_blocking(connection)) is not None:
        batch = [framing.unseal(framing.unpack(packed)) for packed in message[1]]
        start = perf_counter()
        results = run_batch(model, batch)
        connection.sendall(_answer(results, perf_counter() - start, args["bulk_items"]))
        del message, batch, results
    model.close()


def _answer(results: Results, seconds: float, bulk_items: int) -> framing.Frame:
    if isinstance(results, RequestError):
        return framing.encode(["done", framing.pack(results), None, seconds])
    try:
        return framing.encode(["done", None, [_pack(result, bulk_items) for result in results], seconds])
    except RequestError:
        # One answer can't travel: find which, so that its batch mates are not failed with it.
        return framing.encode(["done", None, [_pack_or_error(result, bulk_items) for result in results], seconds])


def _pack(result: Outputs | Exception, bulk_items: int) -> list[Any]:
    """Large items stay sealed until the codec process writes them as JSON."""
    if isinstance(result, Items) and exceeds(result.values, bulk_items):
        result = framing.seal(result)
    return framing.pack(result)


def _pack_or_error(result: Outputs | Exception, bulk_items: int) -> list[Any]:
    try:
        packed = _pack(result, bulk_items)
        framing.encode(packed)
    except RequestError as error:
        return framing.pack(error)
    return packed


def serve_codec(connection: socket.socket, args: Mapping[str, Any]) -> None:
    """`args`: {"info": ModelInfo as JSON}. One job at a time, in order."""
    info = msgspec.convert(args["info"], ModelInfo)
    jobs: dict[str, Job] = {"decode": decode_job, "encode": encode_job}
    parts: dict[int, list[list[Any]]] = {}
    while (message := framing.read_blocking(connection)) is not None:
        kind, number, *rest = message
        if kind == "part":
            parts.setdefault(number, []).append(rest[0])
            continue
        if number in parts:
            rest = put_back(rest, parts.pop(number))

        def emit(part: list[Any], number: int = number) -> None:
            connection.sendall(framing.encode(["part", number, part]))

        connection.sendall(_job_done(jobs[kind], number, info, rest, emit))
        del message, rest


def _job_done(
    job: Job, number: int, info: ModelInfo, rest: list[Any], emit: Callable[[list[Any]], None]
) -> framing.Frame:
    try:
        return framing.encode(["ok", number, *job(info, rest, emit)])
    except RequestError as error:
        told = error
    except Exception as error:  # a bug of ours must cost one request, not those that wait behind it
        told = ModelFailed(f"internal error: {type(error).__name__}: {error}")
    return framing.encode(["error", number, framing.pack(told)])
