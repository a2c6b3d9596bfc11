"""Who may speak to the admin API over TCP.

It listens on loopback, which keeps other machines out but not the pages in this machine's browsers. A page can reach
127.0.0.1 in two ways: through a name of its own that it re-points to 127.0.0.1 (DNS rebinding; the Host header then
still says its name), and by a cross-site request that the browser sends without asking (the Origin says who, and a
"simple" request can carry neither a JSON content type nor a header of ours without a preflight, which is not answered).
The Unix socket needs none of this: its mode is 0600.
"""

from collections.abc import Iterable
from urllib.parse import urlsplit

from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

_OURS = frozenset({"localhost", "127.0.0.1", "::1"})
_READS = frozenset({"GET", "HEAD", "OPTIONS"})
CLIENT_HEADER = b"plimsoll-client"


def refusal(method: str, headers: Iterable[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """The status and one line for a request that is refused; None for one that may go on.

    421 where the Host is not this machine's (RFC 9110 section 7.4: misdirected request), 403 for a foreign Origin or
    a change that a cross-site page could have sent.
    """
    found = list(headers)
    hosts = [value.decode("latin-1") for name, value in found if name == b"host"]
    if len(hosts) != 1 or _host_of(hosts[0]) not in _OURS:
        return 421, "this API answers to localhost alone; use http://localhost or the Unix socket"
    for name, value in found:
        if name == b"origin" and _authority_of(value.decode("latin-1")) != hosts[0].lower():
            return 403, "requests from other sites are refused (Origin)"
    if method not in _READS and not _deliberate(found):
        return 403, "a change needs the header `content-type: application/json` or `plimsoll-client: 1`"
    return None


def _deliberate(headers: list[tuple[bytes, bytes]]) -> bool:
    for name, value in headers:
        if name == CLIENT_HEADER and value.strip() == b"1":
            return True
        if name == b"content-type" and value.split(b";")[0].strip().lower() == b"application/json":
            return True
    return False


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
