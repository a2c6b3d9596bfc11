"""Listening sockets: TCP, and Unix sockets that only their owner may open."""

import errno
import os
import socket
import stat
import sys

from plimsoll.core.errors import HostError
from plimsoll.wire.http1.address import TcpAddress, UnixAddress

# sockaddr_un.sun_path less the final NUL: 108 bytes on Linux, 104 on macOS and the BSDs.
UNIX_PATH_BYTES = 107 if sys.platform == "linux" else 103


def check_unix_path(path: str) -> None:
    length = len(os.fsencode(path))
    if length > UNIX_PATH_BYTES:
        raise HostError(
            f"the socket path {path} has {length} bytes, and this system allows {UNIX_PATH_BYTES}; "
            "choose a folder with a shorter name"
        )


def listen(address: UnixAddress | TcpAddress, *, reuse_port: bool = False) -> socket.socket:
    """A bound socket, not yet listening. Raises HostError."""
    match address:
        case UnixAddress(path):
            return _bind_unix(path)
        case TcpAddress(host, port):
            return _bind_tcp(host, port, reuse_port)


def _bind_unix(path: str) -> socket.socket:
    check_unix_path(path)
    _remove_stale(path)
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)  # never open to others, not even between bind and chmod
    try:
        listener.bind(path)
        os.chmod(path, 0o600)
    except OSError as error:
        listener.close()
        raise HostError(f"can't listen on {path}: {error.strerror}") from error
    finally:
        os.umask(mask)
    listener.setblocking(False)
    return listener


def _remove_stale(path: str) -> None:
    """A socket file outlives its process. It goes only if nobody answers on it; any other file stays."""
    try:
        mode = os.lstat(path).st_mode
    except FileNotFoundError:
        return
    except OSError as error:
        raise HostError(f"can't listen on {path}: {error.strerror}") from error
    if not stat.S_ISSOCK(mode):
        raise HostError(f"can't listen on {path}: a file that is no socket is there")
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(path)
        except ConnectionRefusedError:
            pass
        except FileNotFoundError:
            return
        except OSError as error:  # a full backlog, no permission: somebody may be there
            raise HostError(f"can't listen on {path}: {error.strerror or error}") from error
        else:
            raise HostError(f"can't listen on {path}: another process is answering on it")
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass
    except OSError as error:
        raise HostError(f"can't remove the stale socket {path}: {error.strerror}") from error


def _bind_tcp(host: str, port: int, reuse_port: bool) -> socket.socket:
    try:
        family, kind, protocol, _, target = socket.getaddrinfo(
            host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE
        )[0]
    except OSError as error:
        raise HostError(f"can't listen on {host}: {error.strerror}") from error
    listener = socket.socket(family, kind, protocol)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if reuse_port:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        listener.bind(target)
    except OSError as error:
        listener.close()
        raise HostError(_tcp_reason(host, port, error)) from error
    listener.setblocking(False)
    return listener


def _tcp_reason(host: str, port: int, error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return f"port {port} is taken by another process; choose another with --port"
    if error.errno == errno.EACCES:
        return f"port {port} needs more rights than this process has; choose one above 1023 with --port"
    return f"can't listen on {host}:{port}: {error.strerror}"
