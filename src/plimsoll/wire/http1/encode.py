"""Heads of requests and answers as bytes. Header lines come ready made: their makers know what may stand in them."""

from collections.abc import Iterable
from http import HTTPStatus

CONTINUE = b"HTTP/1.1 100 Continue\r\n\r\n"
CLOSE = b"connection: close\r\n"
KEEP_ALIVE = b"connection: keep-alive\r\n"  # HTTP/1.0 clients wait for it

# Precomputed for all codes with a name; others get an empty phrase (RFC 9112 section 4 allows it).
STATUS_LINES = {code.value: f"HTTP/1.1 {code.value} {code.phrase}\r\n".encode("ascii") for code in HTTPStatus}
# They have no body whatever their headers say (RFC 9112 section 6.3).
BODILESS = frozenset({*range(100, 200), 204, 304})
PLAIN_STATUS_LINES = {status: line for status, line in STATUS_LINES.items() if status not in BODILESS}


def status_line(status: int) -> bytes:
    line = STATUS_LINES.get(status)
    if line is None:
        line = STATUS_LINES[status] = b"HTTP/1.1 %d \r\n" % status
    return line


def encode_response_head(status: int, headers: bytes, length: int, connection: bytes = b"") -> bytes:
    """`headers`: ready lines, each ending in CRLF. 204 and 1xx must not, 304 need not say a length (RFC 9110 8.6)."""
    if status in BODILESS:
        return b"".join((status_line(status), headers, connection, b"\r\n"))
    return b"%b%b%bcontent-length: %d\r\n\r\n" % (status_line(status), headers, connection, length)


def encode_request_head(method: str, target: str, headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """`target` as it goes on the wire, percent-encoded. The caller brings host and content-length.

    Raises ValueError where a part holds a byte that would end its line or its field early.
    """
    first = f"{method} {target}"
    if not method.isalpha() or not first.isascii() or not first.isprintable() or " " in target or not target:
        raise ValueError(f"{first!r} is no request line")
    lines = [first.encode("ascii"), b" HTTP/1.1\r\n"]
    for name, value in headers:
        if b"\n" in value or b"\r" in value or b"\0" in value or b":" in name or b"\n" in name or b"\r" in name:
            raise ValueError(f"header {name!r} holds a byte that ends it early")
        lines += (name, b": ", value, b"\r\n")
    lines.append(b"\r\n")
    return b"".join(lines)
