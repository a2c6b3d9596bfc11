"""Who may speak to the admin API over TCP.

It listens on loopback, which keeps other machines out, but neither this machine's other users (whoever may apply a
service runs code as the one who started us) nor the pages in its browsers. So over TCP one can only read; changes go
over the Unix socket, whose mode is 0600. And a page can't even read: neither through a name of its own that it
re-points to 127.0.0.1 (DNS rebinding: the Host header still says its name) nor across sites (the Origin says who).
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_OURS = frozenset({"localhost", "127.0.0.1", "::1"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})


def refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """The status and one line for a request that is refused; None for one that may go on.

    421 where the Host is not this machine's (RFC 9110 section 7.4: misdirected request), 403 for a foreign Origin and
    for a change.
    """
    found = list(headers)
    hosts = [value.decode("latin-1") for name, value in found if name == b"host"]
    if len(hosts) != 1 or _host_of(hosts[0]) not in _OURS:
        return 421, "this API answers to localhost alone; use http://localhost or the Unix socket"
    for name, value in found:
        if name == b"origin" and _authority_of(value.decode("latin-1")) != hosts[0].lower():
            return 403, "requests from other sites are refused (Origin)"
    if method not in _READS:
        return 403, "this port only reads; make changes with the plimsoll command, which uses the Unix socket"
    return None


def _host_of(host: str) -> str | None:
    """The name in a Host header, without its port; None where it is not one."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port  # raises ValueError on what is no port
    except ValueError:
        return None
    return parts.hostname if parts.netloc == host and "@" not in host and host else None


def _authority_of(origin: str) -> str | None:
    """Name and port in an Origin such as `http://localhost:8090`; None for `null` and anything else."""
    scheme, separator, rest = origin.partition("://")
    return rest.lower() if separator and scheme in {"http", "https"} else None


class LoopbackOnly:
    """ASGI middleware for the TCP listener."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http":
            refused = refusal(scope["method"], scope["headers"])
            if refused is not None:
                status, reason = refused
                answer = JSONResponse({"error": reason, "errors": [reason]}, status_code=status)
                await answer(scope, receive, send)
                return
        await self._app(scope, receive, send)
