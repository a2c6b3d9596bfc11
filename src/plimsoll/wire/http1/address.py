"""Addresses as the processes pass them around: `unix:/path`, `tcp:host:port`, `tls:host:port`; IPv6: `tcp:[::1]:8080`.

`tls:mood.shop.svc@10.2.0.7:8080` names what the certificate there must say, where that is not the host.
"""

from dataclasses import dataclass

from plimsoll.core.errors import HostError


@dataclass(frozen=True, slots=True)
class UnixAddress:
    path: str


@dataclass(frozen=True, slots=True)
class TcpAddress:
    host: str
    port: int


@dataclass(frozen=True, slots=True)
class TlsAddress(TcpAddress):
    """`name`: what the peer's certificate must hold."""

    name: str


Address = UnixAddress | TcpAddress  # a TlsAddress is a TcpAddress, too


def parse_address(text: str) -> Address:
    """Raises HostError, naming what was expected."""
    scheme, _, rest = text.partition(":")
    if scheme == "unix" and rest:
        return UnixAddress(rest)
    if scheme in {"tcp", "tls"}:
        name, at, rest = rest.rpartition("@") if scheme == "tls" else ("", "", rest)
        host, _, port = rest.rpartition(":")
        host = host[1:-1] if host.startswith("[") and host.endswith("]") else host
        if host and port.isascii() and port.isdigit() and int(port) <= 65535 and bool(name) == bool(at):
            return TcpAddress(host, int(port)) if scheme == "tcp" else TlsAddress(host, int(port), name or host)
    raise HostError(f"{text!r} is no address; write unix:/path, tcp:host:port or tls:host:port")


def format_address(address: Address) -> str:
    match address:
        case UnixAddress(path):
            return f"unix:{path}"
        case TlsAddress(host, port, name):
            return f"tls:{'' if name == host else name + '@'}{_bracketed(host)}:{port}"
        case TcpAddress(host, port):
            return f"tcp:{_bracketed(host)}:{port}"


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host
