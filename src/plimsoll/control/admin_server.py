"""Puts the admin API on sockets: loopback TCP behind `LoopbackOnly`, and a Unix socket of mode 0600 without it.

uvicorn runs in the controller's own loop and leaves the process's signals alone: Ctrl-C is the caller's to answer.
"""

import asyncio
import contextlib
import errno
import ipaddress
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import uvicorn
from starlette.types import ASGIApp

from plimsoll.control.admin import AdminInfo, admin_app
from plimsoll.control.admin_security import LoopbackOnly
from plimsoll.control.controller import Controller
from plimsoll.core.errors import HostError

_GRACE_S = 1  # followers end with the controller; whoever else is slower is cut


class _QuietServer(uvicorn.Server):
    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class AdminServer:
    """`tcp`: a loopback address and a port (0: any free one), or None. `unix`: the socket's path, or None."""

    def __init__(
        self,
        controller: Controller,
        *,
        tcp: tuple[str, int] | None = ("127.0.0.1", 8090),
        unix: Path | None = None,
        info: AdminInfo | None = None,
    ) -> None:
        self._controller, self._tcp, self._unix = controller, tcp, unix
        self._info = info or AdminInfo()
        self._running: list[tuple[_QuietServer, asyncio.Task[None]]] = []
        self.port: int | None = None

    async def start(self) -> None:
        """Returns once both listen. Raises HostError where one can't."""
        app = admin_app(self._controller, self._info)
        listeners: list[tuple[ASGIApp, socket.socket]] = []
        try:
            if self._tcp is not None:
                listeners.append((LoopbackOnly(app), _bind_tcp(*self._tcp)))
                self.port = listeners[-1][1].getsockname()[1]
            if self._unix is not None:
                listeners.append((app, _bind_unix(self._unix)))
        except HostError:
            for _, bound in listeners:
                bound.close()
            raise
        for served, bound in listeners:
            await self._serve(served, bound)

    async def close(self) -> None:
        for server, _ in self._running:
            server.should_exit = True
        await asyncio.gather(*(task for _, task in self._running), return_exceptions=True)
        self._running.clear()
        if self._unix is not None:
            self._unix.unlink(missing_ok=True)

    async def _serve(self, app: ASGIApp, bound: socket.socket) -> None:
        config = uvicorn.Config(
            app,
            lifespan="off",
            ws="none",
            http="httptools",
            log_config=None,
            access_log=False,
            server_header=False,
            proxy_headers=False,
            timeout_graceful_shutdown=_GRACE_S,
        )
        server = _QuietServer(config)
        task = asyncio.create_task(server.serve(sockets=[bound]))
        self._running.append((server, task))
        while not server.started:  # uvicorn has no event for it; binding is done, so this is one or two turns
            if task.done():
                raise HostError(f"the admin API did not start: {task.exception()}")
            await asyncio.sleep(0)


def _bind_tcp(host: str, port: int) -> socket.socket:
    if not ipaddress.ip_address(host).is_loopback:
        raise HostError(f"the admin API listens on loopback alone; {host} is reachable from other machines")
    bound = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_STREAM)
    bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        bound.bind((host, port))
        bound.listen(128)
    except OSError as error:
        bound.close()
        if error.errno == errno.EADDRINUSE:
            raise HostError(f"port {port} is taken by another program; choose another with --admin-port") from None
        raise HostError(f"{host}:{port} cannot be bound: {error.strerror}; choose another with --admin-port") from None
    return bound


def _bind_unix(path: Path) -> socket.socket:
    path.unlink(missing_ok=True)
    bound = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        bound.bind(str(path))
        os.chmod(path, 0o600)  # before anybody can connect: nothing listens yet
        bound.listen(128)
    except OSError as error:
        bound.close()
        raise HostError(f"{path}: cannot be bound: {error}") from None
    return bound
