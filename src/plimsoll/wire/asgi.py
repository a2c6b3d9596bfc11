"""An ASGI app on a socket, within a loop and a process that are somebody else's: the admin API, pages of pods.

uvicorn serves it, but leaves the process's signals alone: how the process ends is its owner's to say.
"""

import asyncio
import contextlib
import socket
import ssl
from collections.abc import Iterator

import uvicorn
from starlette.types import ASGIApp

from plimsoll.core.errors import HostError

_BACKLOG = 128


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AsgiServer:
    """Serves `app` on `bound`, which listens already, until closed. `grace_s`: whoever isn't answered by then is cut.
    `context`: TLS. `http`: the protocol class, or uvicorn's name of one."""

    def __init__(
        self,
        app: ASGIApp,
        bound: socket.socket,
        *,
        grace_s: int,
        context: ssl.SSLContext | None = None,
        http: str | type[asyncio.Protocol] = "httptools",
    ) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http=http,
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=grace_s,
            ssl_context_factory=None if context is None else (lambda *_: context),
        )
        self._server, self._bound = _QuietServer(config), bound
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Returns once it answers. Raises HostError where it can't."""
        self._task = asyncio.create_task(self._server.serve(sockets=[self._bound]))
        while not self._server.started:  # uvicorn has no event for it; binding is done, so this is one or two turns
            if self._task.done():
                raise HostError(f"{self._bound.getsockname()} could not be served: {self._task.exception()}")
            await asyncio.sleep(0)

    async def close(self) -> None:
        if self._task is not None:
            self._server.should_exit = True
            await asyncio.gather(self._task, return_exceptions=True)


def listening_tcp(host: str, port: int) -> socket.socket:
    """A socket that listens there. Raises OSError."""
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(_BACKLOG)
    except OSError:
        bound.close()
        raise
    return bound
