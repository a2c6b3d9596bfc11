"""What the operator answers over HTTP: health, metrics, and admission with a certificate that changes under it."""

import asyncio
import contextlib
import os
import socket
import ssl
import tempfile
from collections.abc import Callable, Iterator

import uvicorn
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plimsoll.backends.kubernetes.names import LIVE_PATH, READY_PATH
from plimsoll.core.errors import HostError
from plimsoll.telemetry.metrics import Metrics

_GRACE_S = 2


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Page:
    """One app on one address, until closed."""

    def __init__(
        self,
        app: ASGIApp,
        host: str,
        port: int,
        context: ssl.SSLContext | None = None,
        *,
        http: str | type[asyncio.Protocol] = "httptools",
    ) -> None:
        self._app, self._host, self._port, self._context, self._http = app, host, port, context, http
        self.port = port  # 0: what it got, once started
        self._server: _QuietServer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises HostError where the address is taken."""
        bound = _bound(self._host, self._port)
        self.port = bound.getsockname()[1]
        context = self._context
        config = uvicorn.Config(
            self._app,
            lifespan="off",
            ws="none",
            http=self._http,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
            ssl_context_factory=None if context is None else (lambda *_: context),
        )
        self._server = _QuietServer(config)
        self._task = asyncio.create_task(self._server.serve(sockets=[bound]))
        while not self._server.started:  # binding is done: one or two turns
            if self._task.done():
                raise HostError(f"{self._host}:{self._port} could not be served: {self._task.exception()}")
            await asyncio.sleep(0)

    async def close(self) -> None:
        if self._server is None or self._task is None:
            return
        self._server.should_exit = True
        await asyncio.gather(self._task, return_exceptions=True)


def status_app(metrics: Metrics, ready: Callable[[], str]) -> ASGIApp:
    """`ready`: why it isn't, "" when it is."""

    async def live(_: Request) -> Response:
        return PlainTextResponse("live\n")

    async def is_ready(_: Request) -> Response:
        why = ready()
        return PlainTextResponse(f"{why or 'ready'}\n", 503 if why else 200)

    async def exposition(request: Request) -> Response:
        kind, text = metrics.render("application/openmetrics-text" in request.headers.get("accept", ""))
        return Response(text, media_type=kind)

    return Starlette(routes=[Route(LIVE_PATH, live), Route(READY_PATH, is_ready), Route("/metrics", exposition)])


class ServerCertificate:
    """A TLS context whose certificate can be replaced: connections made from then on see the new one."""

    def __init__(self) -> None:
        self.context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        self.context.minimum_version = ssl.TLSVersion.TLSv1_2
        self.loaded = False

    def load(self, certificate: bytes, key: bytes) -> None:
        # OpenSSL takes files alone; nobody else may read them, and they are gone at once.
        with tempfile.TemporaryDirectory(prefix="plimsoll-") as folder:
            paths = [os.path.join(folder, name) for name in ("tls.crt", "tls.key")]
            for path, content in zip(paths, (certificate, key), strict=True):
                with open(os.open(path, os.O_CREAT | os.O_WRONLY, 0o600), "wb") as file:
                    file.write(content)
            self.context.load_cert_chain(*paths)
        self.loaded = True


def _bound(host: str, port: int) -> socket.socket:
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise HostError(f"{host}:{port} can't be bound: {error.strerror}") from None
    return bound
