"""The HTTP/1.1 server: a listening socket, its connections, and the one timer that keeps all their deadlines."""

import asyncio
import os
import socket
from collections.abc import Callable

from plimsoll.core.errors import HostError
from plimsoll.wire.http1.address import TcpAddress, UnixAddress, format_address, parse_address
from plimsoll.wire.http1.burst import Burst
from plimsoll.wire.http1.connection import ServerConnection
from plimsoll.wire.http1.exchange import Application
from plimsoll.wire.http1.head import HeadCache
from plimsoll.wire.http1.listen import listen
from plimsoll.wire.http1.peer import peer_of
from plimsoll.wire.http1.settings import HttpSettings
from plimsoll.wire.http1.sweep import cut_greedy, relieve, sweep
from plimsoll.wire.http1.tls import TlsContext
from plimsoll.wire.http1.tls_connection import TlsConnection


class HttpServer:
    """May listen on several addresses: call `start` once for each.

    `clock`: monotonic seconds, by default the loop's. uvloop's loop.time() moves in steps of a millisecond; a host
    that measures finer passes time.monotonic and compares only with that (it has the same zero). `burst`: shared with
    others of the same loop, so that what they write leaves together.
    """

    def __init__(
        self,
        application: Application,
        settings: HttpSettings | None = None,
        *,
        clock: Callable[[], float] | None = None,
        burst: Burst | None = None,
    ) -> None:
        self.application = application
        self.settings = settings or HttpSettings()
        self.clock: Callable[[], float] = clock or _no_clock
        self._given_clock = clock
        self.head_cache = HeadCache()
        self.burst = burst or Burst()
        self.closing = self._retiring = False
        self._connections: set[ServerConnection] = set()
        self._handshakes: set[TlsConnection] = set()  # under way, or failed and about to go
        self._peers: dict[object, int] = {}  # connections by whose they are, handshakes included
        self.tls: TlsContext | None = None
        self._renewing: asyncio.Task[None] | None = None
        self._listeners: list[asyncio.Server] = []
        self._unix_paths: dict[str, tuple[int, int]] = {}  # path: device and inode, so that only our own is removed
        self._sweep_timer: asyncio.TimerHandle | None = None
        self._empty: asyncio.Event | None = None

    @property
    def connections(self) -> int:
        return len(self._connections)

    @property
    def handshakes(self) -> int:
        return len(self._handshakes)

    async def start(self, address: str | socket.socket) -> str:
        """Listens on `unix:/path`, `tcp:host:port` (port 0: any free one) or a socket that is bound already.

        With `settings.tls`, TCP means HTTPS.

        Returns the address as bound. Raises HostError: a taken port, a path that is too long or not ours, TLS files
        that can't be used.
        """
        loop = asyncio.get_running_loop()
        self.clock = self._given_clock or loop.time
        if self.settings.tls is not None and self.tls is None:
            self.tls = TlsContext(self.settings.tls)
        sock = (
            address
            if isinstance(address, socket.socket)
            else listen(parse_address(address), reuse_port=self.settings.reuse_port)
        )
        bound = _bound(sock)
        try:
            server = await self._serve(loop, sock)
        except OSError as error:  # two processes may bind one port where neither listens yet
            sock.close()
            raise HostError(f"can't listen on {format_address(bound)}: {error.strerror}") from error
        self._listeners.append(server)
        if isinstance(bound, UnixAddress) and not isinstance(address, socket.socket):
            found = os.stat(bound.path)
            self._unix_paths[bound.path] = (found.st_dev, found.st_ino)
        if self._sweep_timer is None:
            self._sweep_timer = loop.call_later(self.settings.sweep_s, self._sweep)
        if self.tls is not None and self._renewing is None:
            self._renewing = loop.create_task(self._renew(self.tls))
        return format_address(bound)

    async def _serve(self, loop: asyncio.AbstractEventLoop, sock: socket.socket) -> asyncio.Server:
        backlog = self.settings.backlog
        if sock.family == socket.AF_UNIX:
            return await loop.create_unix_server(self.connection, sock=sock, backlog=backlog)
        return await loop.create_server(self._accept, sock=sock, backlog=backlog)

    def _accept(self) -> asyncio.Protocol:
        return self.connection() if self.tls is None else TlsConnection(self, self.tls)

    async def _renew(self, tls: TlsContext) -> None:
        """Certificates that change on disk are in use within about a second. The disk is not waited for here."""
        while True:
            await asyncio.sleep(tls.settings.check_s)
            await asyncio.to_thread(tls.refresh)

    def connection(self) -> ServerConnection:
        """The protocol of one accepted connection."""
        return ServerConnection(self)

    def retire(self) -> None:
        """Before it closes: every connection, also one that is yet to come, ends with its next answer, so that clients
        go elsewhere by themselves."""
        self._retiring = True
        for connection in self._connections:
            connection.retire()

    def stop_listening(self) -> None:
        """No new connections; those that are open go on. The socket file goes at once: nobody must find it."""
        for listener in self._listeners:
            listener.close()
        self._listeners.clear()
        for path, identity in self._unix_paths.items():
            try:
                found = os.lstat(path)
                if (found.st_dev, found.st_ino) == identity:
                    os.unlink(path)
            except FileNotFoundError:
                pass
        self._unix_paths.clear()

    async def close(self, grace_s: float = 0.0) -> None:
        """Stops listening, closes idle connections, gives requests in flight `grace_s` seconds, then cuts."""
        self.stop_listening()
        self.closing = True
        for handshake in list(self._handshakes):
            handshake.abort()
        for connection in list(self._connections):
            connection.wind_down()
        await self._until_empty(grace_s)
        for connection in list(self._connections):
            connection.abort()
        await self._until_empty(1.0)  # connection_lost comes within a turn of the loop or two
        if self._renewing is not None:
            self._renewing.cancel()
            self._renewing = None
        if self._sweep_timer is not None:
            self._sweep_timer.cancel()
            self._sweep_timer = None

    async def _until_empty(self, seconds: float) -> None:
        if not self._connections:
            return
        self._empty = asyncio.Event()
        try:
            await asyncio.wait_for(self._empty.wait(), seconds)
        except TimeoutError:
            pass
        finally:
            self._empty = None

    # A connection's calls

    def admit(self, connection: ServerConnection) -> bool:
        """False: there are too many, or the server is closing."""
        self._connections.add(connection)
        if self._retiring:
            connection.retire()
        return self._arrived(connection)

    def forget(self, connection: ServerConnection) -> None:
        if connection in self._connections:
            self._connections.discard(connection)
            self._left(connection)
        if self._empty is not None and not self._connections:
            self._empty.set()

    def admit_handshake(self, handshake: TlsConnection) -> bool:
        self._handshakes.add(handshake)
        return self._arrived(handshake)

    def forget_handshake(self, handshake: TlsConnection) -> None:
        if handshake in self._handshakes:
            self._handshakes.discard(handshake)
            self._left(handshake)

    def _arrived(self, one: ServerConnection | TlsConnection) -> bool:
        settings, mine = self.settings, 0
        one.peer = peer = peer_of(one.transport)
        if peer is not None:
            self._peers[peer] = mine = self._peers.get(peer, 0) + 1
        crowded = 0 < settings.max_connections_per_peer < mine
        total = len(self._connections) + len(self._handshakes)
        return total <= settings.max_connections and not crowded and not self.closing

    def _left(self, one: ServerConnection | TlsConnection) -> None:
        if one.peer is not None:
            self._peers[one.peer] -= 1
            if not self._peers[one.peer]:
                del self._peers[one.peer]

    def sweep(self) -> None:
        """Checks every connection's deadlines now. The timer's work; tests call it with a clock of their own."""
        now = self.clock()
        for connection in list(self._connections):
            sweep(connection, now)
        relieve(list(self._connections), self.settings.max_incomplete_bytes)
        cut_greedy(list(self._connections), self.settings.max_unsent_bytes)
        for handshake in list(self._handshakes):
            handshake.sweep(now)

    def _sweep(self) -> None:
        self._sweep_timer = asyncio.get_running_loop().call_later(self.settings.sweep_s, self._sweep)
        self.sweep()


def _no_clock() -> float:
    raise RuntimeError("the server has not been started")


def _bound(sock: socket.socket) -> UnixAddress | TcpAddress:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return UnixAddress(os.fsdecode(name))
    return TcpAddress(name[0], name[1])
