"""Puts the admin API on sockets: loopback TCP behind `LoopbackOnly`, and a Unix socket of mode 0600 without it.

It runs in the controller's own loop and leaves the process's signals alone: Ctrl-C is the caller's to answer.
"""

import asyncio
import errno
import ipaddress
import os
import socket
from pathlib import Path

from starlette.types import ASGIApp

from plimsoll.control.admin import AdminInfo, admin_app
from plimsoll.control.admin_security import LoopbackOnly
from plimsoll.control.controller import Controller
from plimsoll.core.errors import HostError
from plimsoll.wire.asgi import AsgiServer, listening_tcp

_GRACE_S = 1  # followers end with the controller; whoever else is slower is cut


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
        self._running: list[AsgiServer] = []
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
            server = AsgiServer(served, bound, grace_s=_GRACE_S)
            self._running.append(server)
            await server.start()

    async def close(self) -> None:
        await asyncio.gather(*(server.close() for server in self._running))
        self._running.clear()
        if self._unix is not None:
            self._unix.unlink(missing_ok=True)


def _bind_tcp(host: str, port: int) -> socket.socket:
    if not ipaddress.ip_address(host).is_loopback:
        raise HostError(f"the admin API listens on loopback alone; {host} is reachable from other machines")
    try:
        return listening_tcp(host, port)
    except OSError as error:
        if error.errno == errno.EADDRINUSE:
            raise HostError(f"port {port} is taken by another program; choose another with --admin-port") from None
        raise HostError(f"{host}:{port} cannot be bound: {error.strerror}; choose another with --admin-port") from None


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
