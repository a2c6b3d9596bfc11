"""Addresses as the processes pass them around: `unix:/path` and `tcp:host:port`, IPv6 as `tcp:[::1]:8080`."""

from dataclasses import dataclass

from plimsoll.core.errors import HostError


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    host: str
    port: int


def parse_address(text: str) -> UnixAddress | TcpAddress:
    """Raises HostError, naming what was expected."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest:
        return UnixAddress(rest)
    if scheme == "tcp":
        host, _, port = rest.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if host and port.isascii() and port.isdigit() and int(port) <= 65535:
            return TcpAddress(host, int(port))
    raise HostError(f"{text!r} is no address; write unix:/path or tcp:host:port")


def format_address(address: UnixAddress | TcpAddress) -> str:
    match address:
        case UnixAddress(path):
            return f"unix:{path}"
        case TcpAddress(host, port):
            return f"tcp:[{host}]:{port}" if ":" in host else f"tcp:{host}:{port}"
