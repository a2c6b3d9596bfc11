"""Takes a TCP port before anything is started, and names who has it where it is taken.

Several gateways listen on one port, each on a socket of its own (SO_REUSEPORT): the kernel gives each new connection
to one of them by a hash of its addresses, so connections are spread, not requests. All sockets are held here as long as
the instance lives: what comes for a gateway that died waits in its socket's backlog until it is started again.
"""

import contextlib
import errno
import socket
import sys
from dataclasses import dataclass
from ipaddress import ip_address

from plimsoll.core.errors import HostError

BACKLOG = 1024
LOOPBACK = "127.0.0.1"


@dataclass(slots=True)
class Claim:
    """Listening sockets on one port, held until `close`: one for each process that will accept, or one for all where
    the system doesn't spread connections over several (macOS gives them all to the last)."""

    host: str
    port: int
    sockets: list[socket.socket]

    def fileno(self, number: int = 0) -> int:
        """The socket of the `number`-th process."""
        return self.sockets[number % len(self.sockets)].fileno()

    @property
    def address(self) -> str:
        """`tcp:HOST:PORT`."""
        return f"tcp:[{self.host}]:{self.port}" if ":" in self.host else f"tcp:{self.host}:{self.port}"

    @property
    def authority(self) -> str:
        """Where a user on this machine reaches it: `localhost:8080`."""
        named = "localhost" if reaches_loopback(self.host) else f"[{self.host}]" if ":" in self.host else self.host
        return f"{named}:{self.port}"

    def close(self) -> None:
        for one in self.sockets:
            one.close()


def claim(what: str, port: int, option: str, *, host: str = LOOPBACK, processes: int = 1) -> Claim:
    """`port` 0 takes a free one. Raises HostError, which names the option to choose another with."""
    spread = processes > 1 and sys.platform == "linux"
    first = _bound(what, host, port, option)
    if not spread:
        first.listen(BACKLOG)
        return Claim(host, first.getsockname()[1], [first])
    # Bound alone first: SO_REUSEPORT would share the port with any other program of this user that sets it, too.
    port = first.getsockname()[1]
    first.close()
    held: list[socket.socket] = []
    try:
        for _ in range(processes):
            held.append(_bound(what, host, port, option, shared=True))
            held[-1].listen(BACKLOG)
    except HostError:
        for one in held:
            one.close()
        raise
    return Claim(host, port, held)


def is_loopback(host: str) -> bool:
    """Whether only programs on this machine reach it."""
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


def reaches_loopback(host: str) -> bool:
    return is_loopback(host) or host in {"0.0.0.0", "::"}


def _bound(what: str, host: str, port: int, option: str, *, shared: bool = False) -> socket.socket:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except (OSError, UnicodeError) as error:
        raise HostError(f"{host} for the {what} is no address of this machine: {error}; choose with --host") from None
    sock = socket.socket(family, kind, protocol)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        sock.bind(target)
        if not shared:
            sock.listen(1)  # two sockets may be bound to one port as long as neither listens
    except (OSError, OverflowError) as error:
        sock.close()
        raise HostError(_reason(what, host, port, option, error)) from None
    sock.setblocking(False)
    return sock


def _reason(what: str, host: str, port: int, option: str, error: Exception) -> str:
    if isinstance(error, OSError) and error.errno == errno.EADDRNOTAVAIL:
        return f"{host} for the {what} is no address of this machine; choose with --host"
    if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
        reason = f"is taken{_owner(port)}"
    elif isinstance(error, PermissionError):
        reason = "needs privileges"
    else:
        reason = f"cannot be used: {error}"
    return f"port {port} for the {what} {reason}; choose another with {option}"


def _owner(port: int) -> str:
    """` by nginx (pid 12)` where the system tells us; other users' processes stay nameless."""
    import psutil

    with contextlib.suppress(psutil.Error, OSError):
        for connection in psutil.net_connections("tcp"):
            if connection.status != psutil.CONN_LISTEN or not connection.laddr or not connection.pid:
                continue
            if connection.laddr.port == port:
                return f" by {psutil.Process(connection.pid).name()} (pid {connection.pid})"
    return ""
