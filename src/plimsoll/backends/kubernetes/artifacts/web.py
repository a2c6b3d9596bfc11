"""HTTP for artifacts: blocking, streamed, with the standard library alone, so that the fetch step needs no extra.

A redirect to another host loses the credentials (a registry's storage must not see its token), and never leads from
https to http. Certificates are checked against the system's, or those that SSL_CERT_FILE names.
"""

import http.client
import socket
import ssl
import urllib.error
import urllib.request
from collections.abc import Iterable, Iterator, Mapping
from email.message import Message
from typing import IO, Any
from urllib.parse import urlsplit

from plimsoll.backends.kubernetes.artifacts.references import is_loopback
from plimsoll.core.errors import HostError

SILENT_S = 30.0  # a peer that says nothing for so long is taken for dead
_ERROR_TEXT_MAX = 2000
_CHUNK = 1 << 20
_SECRET_HEADERS = frozenset({"authorization", "cookie"})


class Unreachable(HostError):
    """Worth another try: no answer, a broken one, 408, 429 or 5xx. `retry_after_s`: what the server asked for."""

    def __init__(self, message: str, *, retry_after_s: float | None = None) -> None:
        super().__init__(message)
        self.retry_after_s = retry_after_s


class Refused(HostError):
    """Not worth another try with the same words. `status`: the answer's, or 0."""

    def __init__(self, message: str, *, status: int = 0, headers: Mapping[str, str] | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.headers = headers or {}


class Answer:
    """A 2xx (or 304) answer; a context manager, since its body is still on the way."""

    def __init__(self, raw: Any, url: str) -> None:
        self._raw = raw
        self.status: int = raw.status
        self.headers: Message = raw.headers
        self.url = url

    def __enter__(self) -> "Answer":
        return self

    def __exit__(self, *_: object) -> None:
        self._raw.close()

    def read(self, most: int) -> bytes:
        """The whole body. HostError where it is longer than `most` bytes."""
        body = b"".join(self.chunks(most + 1))
        if len(body) > most:
            raise Refused(f"{shown(self.url)} answered with more than {most:,} bytes")
        return body

    def chunks(self, most: int | None = None) -> Iterator[bytes]:
        """Raises Unreachable where the body breaks off, or nothing comes for SILENT_S."""
        length = self.headers.get("content-length")
        left = int(length) if length is not None and length.isdigit() else None
        total = 0
        try:
            while most is None or total < most:
                chunk = self._raw.read1(_CHUNK)
                if not chunk:
                    break
                total += len(chunk)
                yield chunk
        except (OSError, http.client.HTTPException) as error:
            raise Unreachable(f"{shown(self.url)} broke off after {total:,} bytes: {reason(error)}") from error
        if left is not None and total < left and most is None:
            raise Unreachable(f"{shown(self.url)} broke off after {total:,} of {left:,} bytes")


class _Redirects(urllib.request.HTTPRedirectHandler):
    def redirect_request(
        self, req: urllib.request.Request, fp: IO[bytes], code: int, msg: str, headers: Any, newurl: str
    ) -> urllib.request.Request | None:
        made = super().redirect_request(req, fp, code, msg, headers, newurl)
        if made is None:
            return None
        before, after = urlsplit(req.full_url), urlsplit(newurl)
        if after.scheme not in {"http", "https"} or (before.scheme, after.scheme) == ("https", "http"):
            raise Refused(f"{shown(req.full_url)} redirects from {before.scheme} to {shown(newurl)}; refused")
        if (before.scheme, before.netloc) != (after.scheme, after.netloc):
            for name in list(made.headers):
                if name.lower() in _SECRET_HEADERS:
                    made.remove_header(name)
        made.method = req.get_method() if code in {307, 308} else made.get_method()
        return made


class Web:
    """`silent_s`: how long a peer may say nothing. Has no state but its settings; connections are not kept: artifacts
    are few and large."""

    def __init__(self, *, silent_s: float = SILENT_S, agent: str = "plimsoll") -> None:
        self._silent_s, self._agent = silent_s, agent
        context = ssl.create_default_context()
        self._opener = urllib.request.build_opener(_Redirects(), urllib.request.HTTPSHandler(context=context))

    def ask(
        self,
        method: str,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        body: bytes | Iterable[bytes] | None = None,
    ) -> Answer:
        """A body in pieces needs a `Content-Length` among the headers. Raises Refused, Unreachable."""
        check_url(url, secret=bool(headers and any(name.lower() in _SECRET_HEADERS for name in headers)))
        request = urllib.request.Request(url, data=body, method=method)
        request.add_header("User-Agent", self._agent)
        request.add_header("Accept-Encoding", "identity")  # digests are of what stands there, not of a compressed form
        for name, value in (headers or {}).items():
            request.add_header(name, value)
        try:
            return Answer(self._opener.open(request, timeout=self._silent_s), url)
        except urllib.error.HTTPError as error:
            raise _answered(method, url, error) from None
        except (OSError, http.client.HTTPException) as error:  # URLError is an OSError
            raise Unreachable(f"{method} {shown(url)}: {reason(error)}") from error


def check_url(url: str, *, secret: bool) -> None:
    """Raises Refused where credentials would go over the network in the clear."""
    parts = urlsplit(url)
    if secret and parts.scheme == "http" and not is_loopback(parts.netloc):
        raise Refused(f"{shown(url)} is not https: credentials are not sent there")


def shown(url: str) -> str:
    """Without its query, where signed URLs keep their secrets."""
    return url.partition("?")[0]


def reason(error: BaseException) -> str:
    inner = getattr(error, "reason", None)
    if isinstance(inner, BaseException):
        return reason(inner)
    if isinstance(error, TimeoutError | socket.timeout):
        return "nothing came for too long"
    if isinstance(error, ConnectionRefusedError):
        return "connection refused"
    return str(error) or type(error).__name__


def _answered(method: str, url: str, error: urllib.error.HTTPError) -> HostError:
    with error:
        try:
            text = " ".join(error.read(_ERROR_TEXT_MAX).decode("utf-8", "replace").split())[:300]
        except (OSError, http.client.HTTPException):
            text = ""
    message = f"{method} {shown(url)}: {error.code} {error.reason}" + (f": {text}" if text else "")
    if error.code in {408, 425, 429} or error.code >= 500:
        after = error.headers.get("retry-after", "") if error.headers else ""
        return Unreachable(message, retry_after_s=float(after) if after.isdigit() else None)
    headers = {name.lower(): value for name, value in error.headers.items()} if error.headers else {}
    return Refused(message, status=error.code, headers=headers)
