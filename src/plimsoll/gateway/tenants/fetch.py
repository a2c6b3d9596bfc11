"""One GET of a small document over https, on our own HTTP/1.1 client: no redirects, no proxies, bounded in all.

http alone is for loopback, where no network is between: a key set that came over plain HTTP is anybody's.
"""

import asyncio
import ssl
from ipaddress import ip_address
from urllib.parse import SplitResult, urlsplit

from plimsoll.wire.http1 import ClientConnection, ClientSettings

TIMEOUT_S = 5.0
_LIMITS = ClientSettings(max_head_bytes=32 * 1024, max_body_bytes=2**20)


class FetchFailed(Exception):  # the caller serves on without
    """`str()` says why, without the address."""


class Fetcher:
    """`await fetcher(uri)`: the document's bytes. Raises FetchFailed. `context`: for a private certificate authority;
    else the system's authorities are loaded at the first use, off the event loop (20 ms)."""

    def __init__(self, context: ssl.SSLContext | None = None, timeout_s: float = TIMEOUT_S) -> None:
        self._context = context
        self._timeout_s = timeout_s

    async def __call__(self, uri: str) -> bytes:
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._get(uri)
        except TimeoutError:
            raise FetchFailed(f"no answer within {self._timeout_s:g} s") from None
        except ssl.SSLCertVerificationError as error:
            raise FetchFailed(f"its certificate is not trusted: {error.verify_message}") from None
        except OSError as error:
            raise FetchFailed(error.strerror or type(error).__name__) from None

    async def _get(self, uri: str) -> bytes:
        parts = check_uri(uri)
        secure = parts.scheme == "https"
        if secure and self._context is None:
            self._context = await asyncio.to_thread(ssl.create_default_context)
        host = parts.hostname or ""
        loop = asyncio.get_running_loop()
        _, connection = await loop.create_connection(
            lambda: ClientConnection(_LIMITS),
            host,
            parts.port or (443 if secure else 80),
            ssl=self._context if secure else None,
            server_hostname=host if secure else None,
        )
        answer = _Answer(loop.create_future())
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        head = (
            f"GET {target} HTTP/1.1\r\nhost: {parts.netloc}\r\naccept: application/json\r\n"
            "accept-encoding: identity\r\nuser-agent: plimsoll\r\nconnection: close\r\n\r\n"
        )
        try:
            connection.send(head.encode("ascii"), b"", answer)
            return await answer.done
        finally:
            connection.close()


def check_uri(uri: str) -> SplitResult:
    """Raises FetchFailed for what is not fetched at all."""
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError:
        raise FetchFailed("no URL") from None
    if not host or not uri.isascii() or not uri.isprintable() or " " in uri:
        raise FetchFailed("no URL")
    if "@" in parts.netloc:
        raise FetchFailed("a password has no place in a URL")
    if parts.scheme != "https" and not (parts.scheme == "http" and _loopback(host)):
        raise FetchFailed("only https is fetched, and http from this machine's loopback")
    return parts


def _loopback(host: str) -> bool:
    try:
        return ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"


class _Answer:
    """wire.http1's Receiver, as a future."""

    def __init__(self, done: "asyncio.Future[bytes]") -> None:
        self.done = done

    def on_interim(self, status: int) -> None:
        pass

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        if self.done.done():
            return
        if status == 200:
            self.done.set_result(body)
        else:
            self.done.set_exception(FetchFailed(f"status {status}"))

    def on_lost(self, reason: str, started: bool) -> None:
        if not self.done.done():
            self.done.set_exception(FetchFailed(reason))
