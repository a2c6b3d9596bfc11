"""What the operator answers over HTTP: health, metrics, and admission with a certificate that changes under it."""

import asyncio
import os
import ssl
import tempfile
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plimsoll.backends.kubernetes.names import LIVE_PATH, READY_PATH
from plimsoll.core.errors import HostError
from plimsoll.telemetry.metrics import Metrics
from plimsoll.wire.asgi import AsgiServer, listening_tcp

_GRACE_S = 2


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
        self._server: AsgiServer | None = None

    async def start(self) -> None:
        """Raises HostError where the address is taken."""
        try:
            bound = listening_tcp(self._host, self._port)
        except OSError as error:
            raise HostError(f"{self._host}:{self._port} can't be bound: {error.strerror}") from None
        self.port = bound.getsockname()[1]
        self._server = AsgiServer(self._app, bound, grace_s=_GRACE_S, context=self._context, http=self._http)
        await self._server.start()

    async def close(self) -> None:
        if self._server is not None:
            await self._server.close()


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
