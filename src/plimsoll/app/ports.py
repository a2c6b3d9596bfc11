"""Takes a TCP port before anything is started, and names who has it where it is taken."""

import contextlib
import errno
import socket
from dataclasses import dataclass

from plimsoll.core.errors import HostError

BACKLOG = 1024


@dataclass(slots=True)
class Claim:
    """A listening socket on 127.0.0.1, held until `close`."""

    port: int
    sock: socket.socket

    def fileno(self) -> int:
        return self.sock.fileno()

    def close(self) -> None:
        self.sock.close()


def claim(what: str, port: int, option: str) -> Claim:
    """`port` 0 takes a free one. Raises HostError, which names the option to choose another with."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        sock.bind(("127.0.0.1", port))
        sock.listen(BACKLOG)
    except (OSError, OverflowError) as error:
        sock.close()
        if isinstance(error, OSError) and error.errno == errno.EADDRINUSE:
            reason = f"is taken{_owner(port)}"
        elif isinstance(error, PermissionError):
            reason = "needs privileges"
        else:
            reason = f"cannot be used: {error}"
        raise HostError(f"port {port} for the {what} {reason}; choose another with {option}") from None
    sock.setblocking(False)
    return Claim(sock.getsockname()[1], sock)


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
