"""The admin API (docs/admin-api.md): services, tenants, replicas, logs, events and metrics, as JSON over HTTP.

`admin_app` is a plain ASGI application over a Controller; `admin_server` puts it on sockets. Errors are
`{"error": line, "errors": [lines]}` with 400 (a request nobody can read), 404, 422 (a service file is wrong), 500.
"""

import asyncio
import os
from collections.abc import AsyncIterator, Mapping
from dataclasses import asdict, dataclass, field
from typing import TypeVar

import msgspec
from starlette.applications import Starlette
from starlette.exceptions import HTTPException
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from plimsoll import __version__
from plimsoll.control.admin_page import PAGE
from plimsoll.control.controller import Controller
from plimsoll.control.log_follow import follow_logs
from plimsoll.control.scrape import fetch_all
from plimsoll.control.timeline import Event
from plimsoll.control.wishes import UnknownName
from plimsoll.core.errors import HostError, PlimsollError, SpecError, SpecErrors, UserError
from plimsoll.ports.backend import ReplicaPhase
from plimsoll.spec import Documents, load_all_text
from plimsoll.telemetry.merge import merge
from plimsoll.telemetry.metrics import TEXT

_BODY_MAX = 16 << 20  # service files are kilobytes; a folder of them stays far below
_LINES_MAX = 100_000

_Shape = TypeVar("_Shape")


@dataclass(frozen=True, slots=True)
class AdminInfo:
    """`metrics`: gateways' addresses (`unix:/path`) by name, whose `/metrics` join ours."""

    gateway: str = "http://localhost:8080"
    admin: str | None = "http://localhost:8090"
    started_at: float = 0.0
    metrics: Mapping[str, str] = field(default_factory=dict)


class _Document(msgspec.Struct, forbid_unknown_fields=True):
    text: str
    file: str = "service.yaml"


class _Documents(msgspec.Struct, forbid_unknown_fields=True):
    documents: list[_Document]


class _Scale(msgspec.Struct, forbid_unknown_fields=True):
    replicas: int | None
    for_s: float | None = None


def admin_app(controller: Controller, info: AdminInfo) -> Starlette:
    api = _Api(controller, info)
    routes = [
        Route("/", api.page),
        Route("/healthz", api.health),
        Route("/metrics", api.metrics),
        Route("/v1/info", api.info),
        Route("/v1/services", api.services, methods=["GET"]),
        Route("/v1/services", api.apply, methods=["POST"]),
        Route("/v1/services/{name}", api.service, methods=["GET"]),
        Route("/v1/services/{name}", api.delete, methods=["DELETE"]),
        Route("/v1/services/{name}/scale", api.scale, methods=["POST"]),
        Route("/v1/services/{name}/logs", api.logs),
        Route("/v1/services/{name}/cache/purge", api.purge, methods=["POST"]),
        Route("/v1/tenants", api.tenants),
        Route("/v1/tenants/{name}", api.delete_tenant, methods=["DELETE"]),
        Route("/v1/platforms/{name}", api.delete_platform, methods=["DELETE"]),
        Route("/v1/events", api.events),
    ]
    # By class for errors of ours (Starlette looks along the class's ancestors), the last for what nobody foresaw.
    handlers = {PlimsollError: _refused, HTTPException: _http_error, Exception: _unforeseen}
    return Starlette(routes=routes, exception_handlers=handlers)


class _Api:
    """One method a route."""

    def __init__(self, controller: Controller, info: AdminInfo) -> None:
        self._controller, self._info = controller, info

    async def page(self, request: Request) -> Response:
        return HTMLResponse(PAGE, headers={"cache-control": "no-store"})

    async def health(self, request: Request) -> Response:
        return PlainTextResponse("ok\n")

    async def info(self, request: Request) -> Response:
        info = self._info
        told = {"gateway": info.gateway, "admin": info.admin, "started_at": info.started_at}
        notes = self._controller.stream.reports.notes()
        return _json({"version": __version__, "pid": os.getpid(), **told, "notes": notes})

    async def services(self, request: Request) -> Response:
        return _json({"services": self._controller.statuses()})

    async def service(self, request: Request) -> Response:
        return _json(self._controller.status(request.path_params["name"]))

    async def apply(self, request: Request) -> Response:
        documents = await _body(request, _Documents)
        found = Documents()
        problems: list[SpecError] = []
        for document in documents.documents:
            try:
                found = found.joined(load_all_text(document.text, file=document.file))
            except SpecErrors as errors:
                problems += errors.errors
        if problems:
            raise SpecErrors(problems)
        return _json({"applied": await self._controller.apply(found)})

    async def scale(self, request: Request) -> Response:
        asked = await _body(request, _Scale)
        name = request.path_params["name"]
        await self._controller.scale(name, asked.replicas, for_s=asked.for_s)
        return _json(self._controller.status(name))

    async def delete(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._controller.delete(name)
        return _json({"deleted": name})

    async def purge(self, request: Request) -> Response:
        return _json(await self._controller.purge(request.path_params["name"]))

    async def tenants(self, request: Request) -> Response:
        return _json({"tenants": self._controller.tenants(), "limits": self._controller.limits()})

    async def delete_tenant(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._controller.delete_tenant(name)
        return _json({"deleted": name})

    async def delete_platform(self, request: Request) -> Response:
        name = request.path_params["name"]
        await self._controller.delete_platform(name)
        return _json({"deleted": name})

    async def logs(self, request: Request) -> Response:
        name, replica = request.path_params["name"], request.query_params.get("replica") or None
        lines = min(_number(request, "lines", 100), _LINES_MAX)
        self._controller.status(name)  # UnknownService
        if not _follows(request):
            found = self._controller.backend.logs(name, replica=replica, lines=lines)
            return PlainTextResponse("".join(f"{line}\n" for line in found))
        followed = follow_logs(
            self._controller.backend, name, replica=replica, lines=lines, closing=self._controller.closing
        )
        return StreamingResponse(_text(followed), media_type="text/plain; charset=utf-8")

    async def events(self, request: Request) -> Response:
        timeline, since = self._controller.timeline, _number(request, "since", 0)
        if _follows(request):
            return StreamingResponse(_lines(timeline.follow(since)), media_type="application/x-ndjson")
        body = b"".join(_event_line(event) for event in timeline.since(since))
        return Response(body, media_type="application/x-ndjson")

    async def metrics(self, request: Request) -> Response:
        """Ours, the gateways' and the replicas', all asked at once; who does not answer in 2 s is left out."""
        replicas = {
            replica.id: replica
            for replica in self._controller.backend.observe()
            if replica.address and replica.phase in {ReplicaPhase.READY, ReplicaPhase.DRAINING}
        }
        addresses = {name: replica.address for name, replica in replicas.items()}
        gateways, own = await asyncio.gather(fetch_all(self._info.metrics), fetch_all(addresses))
        text = merge(
            [
                ({}, self._controller.instruments.metrics.render()[1].decode()),
                *(({"gateway": name}, text) for name, text in gateways.items()),
                *(({"service": replicas[name].service, "replica": name}, text) for name, text in own.items()),
            ]
        )
        return Response(text, headers={"content-type": TEXT})


def _json(value: object, status: int = 200) -> Response:
    return Response(msgspec.json.encode(value), status_code=status, media_type="application/json")


def _error(lines: list[str], status: int) -> Response:
    return _json({"error": lines[0], "errors": lines}, status)


async def _refused(request: Request, error: Exception) -> Response:
    match error:
        case SpecErrors():
            return _error([str(problem) for problem in error.errors], 422)
        case UnknownName():
            return _error([str(error)], 404)
        case UserError():
            return _error([str(error)], 422)
        case HostError():
            return _error([str(error)], 500)
    return _error([str(error)], 400)


async def _http_error(request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    return _error([str(error.detail)], error.status_code)


async def _unforeseen(request: Request, error: Exception) -> Response:
    return _error([f"{type(error).__name__}: {error}"], 500)


async def _body(request: Request, shape: type[_Shape]) -> _Shape:
    """The JSON body. 400 for what is none, or has other keys; 413 above 16 MiB."""
    body = bytearray()
    async for chunk in request.stream():
        body += chunk
        if len(body) > _BODY_MAX:
            raise HTTPException(413, f"the body is over {_BODY_MAX >> 20} MiB")
    try:
        return msgspec.json.decode(bytes(body), type=shape)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError) as error:
        raise HTTPException(400, f"the body is not as expected: {error}") from None


def _number(request: Request, name: str, default: int) -> int:
    text = request.query_params.get(name, str(default))
    if not text.isascii() or not text.isdigit() or len(text) > 15:
        raise HTTPException(400, f"{name}={text[:40]!r} is no number; expected 0 or more")
    return int(text)


def _follows(request: Request) -> bool:
    return request.query_params.get("follow", "") in {"1", "true"}


def _event_line(event: Event) -> bytes:
    """One line of NDJSON; the details stand beside the other keys."""
    told = asdict(event)
    details = told.pop("details")
    return msgspec.json.encode({**told, **details}) + b"\n"


async def _lines(events: AsyncIterator[Event]) -> AsyncIterator[bytes]:
    async for event in events:
        yield _event_line(event)


async def _text(lines: AsyncIterator[str]) -> AsyncIterator[bytes]:
    async for line in lines:
        yield f"{line}\n".encode()
