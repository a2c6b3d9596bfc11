"""What is sent, and where to."""

import re
import ssl
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import urlsplit

from plimsoll.core.errors import Invalid, UserError
from plimsoll.load.connect import client_tls
from plimsoll.wire.deadline import DEADLINE, time_left
from plimsoll.wire.http1 import TcpAddress, UnixAddress, encode_request_head, format_address

_NAME = re.compile(rb"[!#$%&'*+.^_`|~0-9A-Za-z-]+\Z")  # a token of RFC 9110 section 5.6.2
_ZEROS_MAX = 4_000_000  # elements: some 8 MB of JSON


@dataclass(frozen=True, slots=True)
class Target:
    """`head` and `body`: the request as it goes on the wire; the head may hold a key, so nobody prints it.
    `deadline_s`: where a header says one. `tls`: None for plain HTTP; `host`: whose certificate is expected."""

    url: str
    address: str
    head: bytes = field(repr=False)
    body: bytes = field(repr=False)
    deadline_s: float | None = None
    tls: ssl.SSLContext | None = None
    host: str = ""


def http_target(
    url: str,
    body: bytes | None = None,
    headers: Iterable[str] = (),
    *,
    unix_socket: str | None = None,
    tls: Callable[[], ssl.SSLContext] = client_tls,
) -> Target:
    """POST where there is a body, else GET. `headers`: `NAME: value`. `unix_socket`: connect there, whatever host the
    URL names. `tls` is called for an https URL. Raises UserError."""
    parts = urlsplit(url if "://" in url else f"http://{url}")
    if parts.scheme not in ("http", "https"):
        raise UserError(f"{url}: {parts.scheme}:// is not supported; name an http:// or https:// URL")
    secure = parts.scheme == "https"
    if secure and unix_socket is not None:
        raise UserError(f"{url}: a Unix socket is not spoken to over TLS; name an http:// URL")
    try:
        host, port = parts.hostname, parts.port if parts.port is not None else 443 if secure else 80
    except ValueError as error:
        raise UserError(f"{url}: {error}") from None
    if not host:
        raise UserError(f"{url} names no host; write http://HOST:PORT/PATH")
    if parts.username is not None:
        raise UserError(f"{url}: credentials in a URL are not sent; use --header 'authorization: …'")
    sent = _headers(headers)
    lines = [(b"host", parts.netloc.encode("ascii", "replace"))] if not _has(sent, b"host") else []
    if body is not None:
        if not _has(sent, b"content-type"):
            lines.append((b"content-type", b"application/json"))
        lines.append((b"content-length", b"%d" % len(body)))
    path = f"{parts.path or '/'}?{parts.query}" if parts.query else parts.path or "/"
    try:
        head = encode_request_head("GET" if body is None else "POST", path, lines + sent)
    except ValueError as error:
        raise UserError(str(error)) from None
    address = format_address(UnixAddress(unix_socket) if unix_socket is not None else TcpAddress(host, port))
    return Target(url, address, head, body or b"", _deadline(sent), tls() if secure else None, host)


def _headers(headers: Iterable[str]) -> list[tuple[bytes, bytes]]:
    read = []
    for header in headers:
        name, colon, value = header.partition(":")
        pair = (name.strip().lower().encode("latin-1", "replace"), value.strip().encode("latin-1", "replace"))
        if not colon or not _NAME.match(pair[0]) or any(end in pair[1] for end in (b"\r", b"\n", b"\0")):
            raise UserError(f"--header {header!r} is no header; write 'NAME: value'")
        if pair[0] in (b"content-length", b"transfer-encoding", b"connection"):
            raise UserError(f"--header {header!r}: {name.strip()} is the client's own to say")
        read.append(pair)
    return read


def _has(headers: Iterable[tuple[bytes, bytes]], name: bytes) -> bool:
    return any(found == name for found, _ in headers)


def _deadline(headers: Iterable[tuple[bytes, bytes]]) -> float | None:
    for name, value in headers:
        if name == DEADLINE:
            try:
                return time_left(name, value)
            except Invalid:
                return None  # an absurd deadline may be what is tested; the server refuses it
    return None


def body_of_zeros(inputs: Sequence[Mapping[str, object]]) -> dict[str, object] | None:
    """A body of the Open Inference Protocol for a model's metadata: zeros (empty texts for BYTES), 1 for dimensions
    that vary. None where the metadata does not tell, or the tensors are too large to be made up."""
    tensors = []
    for spec in inputs:
        shape = spec.get("shape")
        if not isinstance(shape, list) or not all(isinstance(size, int) for size in shape):
            return None
        fixed = [size if size > 0 else 1 for size in shape]
        count = 1
        for size in fixed:
            count *= size
        if count > _ZEROS_MAX:
            return None
        datatype = spec.get("datatype")
        value: object = "" if datatype == "BYTES" else False if datatype == "BOOL" else 0
        tensors.append({"name": spec.get("name"), "datatype": datatype, "shape": fixed, "data": [value] * count})
    return {"inputs": tensors} if tensors else None
