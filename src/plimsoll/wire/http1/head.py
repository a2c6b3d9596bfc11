"""The rules of a request's head that httptools (llhttp) leaves to us, each a defence or a line of RFC 9112.

llhttp 9 already refuses control characters, obs-fold, bare LF, whitespace before the colon, a repeated or malformed
Content-Length, Content-Length beside Transfer-Encoding, and a Transfer-Encoding that does not end in chunked.
"""

import re
from typing import TYPE_CHECKING, Final, TypeAlias

from plimsoll.core.errors import Invalid

if TYPE_CHECKING:
    from plimsoll.wire.http1.exchange import Exchange

Header: TypeAlias = tuple[bytes, bytes]

METHODS: Final = {name.encode(): name for name in ("GET", "HEAD", "POST", "PUT", "DELETE", "OPTIONS", "PATCH", "TRACE")}
SPECIAL: Final = frozenset({b"host", b"content-length", b"transfer-encoding", b"expect", b"upgrade"})

_ABSOLUTE = re.compile(rb"https?://([^/?]*)(.*)\Z", re.IGNORECASE | re.DOTALL)
# RFC 3986 reg-name, IPv4 or bracketed IPv6, with a port. User information has no place in a Host.
_HOST = re.compile(rb"(?:[A-Za-z0-9._~!$&'()*+,;=%-]*|\[[0-9A-Fa-f:.]+\])(?::[0-9]*)?\Z")

_CACHED_BYTES = 256  # longer targets and hosts are checked each time
_CACHED = 1024  # entries; a full cache starts anew, so that no client can fill memory or keep it useless


class HeadCache:
    """What a server has parsed and found good before: paths and hosts come again and again (saves 0.5 us a request)."""

    def __init__(self) -> None:
        self.targets: dict[bytes, tuple[str, str, bytes | None]] = {}
        self.hosts: set[bytes] = set()

    def target(self, method: str, target: bytes) -> tuple[str, str, bytes | None]:
        parsed = parse_target(method, target)
        if len(target) <= _CACHED_BYTES and target.startswith(b"/"):
            if len(self.targets) >= _CACHED:
                self.targets.clear()
            self.targets[target] = parsed
        return parsed

    def host(self, value: bytes) -> None:
        if _HOST.match(value) is None:
            raise Invalid("the Host header is no host")
        if len(value) <= _CACHED_BYTES:
            if len(self.hosts) >= _CACHED:
                self.hosts.clear()
            self.hosts.add(value)


def other_method(method: bytes) -> str:
    if method == b"CONNECT":
        raise Invalid("CONNECT: this is no proxy")
    return method.decode("ascii")


def parse_target(method: str, target: bytes) -> tuple[str, str, bytes | None]:
    """Path, query and, for the absolute form, the authority that replaces Host (RFC 9112 section 3.2.2)."""
    if not target.isascii() or b"#" in target:
        raise Invalid("the request's target holds a character that must be percent-encoded")
    authority = None
    if target == b"*":
        if method != "OPTIONS":
            raise Invalid("the target * is for OPTIONS alone")
    elif not target.startswith(b"/"):
        match = _ABSOLUTE.match(target)
        if match is None or not match[1] or _HOST.match(match[1]) is None:
            raise Invalid("the request's target is neither a path nor an http URL")
        authority, target = match[1], match[2]
        if not target:
            target = b"*" if method == "OPTIONS" else b"/"
        elif target.startswith(b"?"):
            target = b"/" + target
    path, _, query = target.decode("ascii").partition("?")
    return path, query, authority


def check_version(version: str, hosts: int) -> None:
    """`hosts`: how many Host headers came. RFC 9112 section 3.2: exactly one in 1.1; HTTP/1.0 does not know it."""
    if version not in ("1.1", "1.0"):
        raise Invalid("this server speaks HTTP/1.1 and HTTP/1.0")
    if hosts > 1:
        raise Invalid("the request has more than one Host header")
    if version == "1.1" and hosts == 0:
        raise Invalid("the request has no Host header")


def check_transfer_encoding(value: bytes, version: str) -> None:
    """RFC 9112 sections 6.1 and 6.3: a body that does not end in chunked has no end that both sides agree on (400); an
    unknown coding inside chunked is 501; Transfer-Encoding in HTTP/1.0 is faulty framing (400)."""
    if version != "1.1":
        raise Invalid("HTTP/1.0 has no Transfer-Encoding")
    coding = value.lower()
    if coding != b"chunked":
        if coding.rpartition(b",")[2].strip(b" \t") != b"chunked":
            raise Invalid("the Transfer-Encoding does not end in chunked")
        raise Invalid("the only Transfer-Encoding understood here is chunked", status=501)


def expects_continue(exchange: "Exchange") -> bool:
    """RFC 9110 section 10.1.1: 417 for an expectation other than 100-continue."""
    found = False
    for name, value in exchange.headers:
        if name == b"expect":
            if value.lower() != b"100-continue":
                raise Invalid("the only expectation understood here is 100-continue", status=417)
            found = True
    return found


def head_bytes(method: bytes, target: bytes, headers: list[Header]) -> int:
    """As sent, but for whitespace round the values: two spaces, the version and two line ends are 14 bytes."""
    return 14 + len(method) + len(target) + sum(len(name) + len(value) + 4 for name, value in headers)


def with_host(headers: list[Header], authority: bytes) -> list[Header]:
    return [(b"host", authority), *(header for header in headers if header[0] != b"host")]


def malformed(first: bytes, error: Exception) -> Invalid:
    """`first`: the connection's first byte, empty where it was fine; `error`: the parser's complaint."""
    if first == b"\x16":
        return Invalid("this port speaks plain HTTP, and the client began a TLS handshake")
    if "PRI" in str(error):
        return Invalid("this port speaks HTTP/1.1, and the client began HTTP/2")
    return Invalid(f"malformed request: {error}")
