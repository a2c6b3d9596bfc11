"""Heads are rebuilt at the door, both ways: what belongs to one hop, or only a trusted hop may say, does not pass."""

from collections.abc import Iterable

Headers = list[tuple[bytes, bytes]]

# RFC 9110 section 7.6.1, and what the next hop's own framing replaces.
HOP_BY_HOP = frozenset(
    {
        b"connection", b"keep-alive", b"proxy-connection", b"proxy-authenticate", b"proxy-authorization", b"te",
        b"trailer", b"transfer-encoding", b"upgrade", b"expect", b"content-length",
    }
)  # fmt: skip

# Read here and said anew to the replica, or not for it at all.
_OURS = frozenset({b"host", b"x-request-id", b"grpc-timeout", b"x-envoy-upstream-rq-timeout-ms"})
_NOT_FORWARDED = HOP_BY_HOP | _OURS
_NOT_ANSWERED = HOP_BY_HOP | {b"server-timing", b"plimsoll-outcome", b"endpoint-load-metrics", b"x-request-id", b"date"}


def request_lines(headers: Headers) -> bytes:
    """The client's header lines that the replica may see. `plimsoll-*` headers are only a trusted hop's to set."""
    named = _nominated(headers)
    return b"".join(
        b"%b: %b\r\n" % (name, value)
        for name, value in headers
        if name not in _NOT_FORWARDED and not name.startswith(b"plimsoll-") and name not in named
    )


def answer_lines(headers: Headers) -> bytes:
    """The replica's header lines that the client may see."""
    named = _nominated(headers)
    return b"".join(
        b"%b: %b\r\n" % (name, value) for name, value in headers if name not in _NOT_ANSWERED and name not in named
    )


def _nominated(headers: Headers) -> Iterable[bytes]:
    """Headers that a Connection header declares to be for this hop only."""
    for name, value in headers:
        if name == b"connection":
            lower = value.lower()
            if lower not in {b"keep-alive", b"close"}:
                return {token.strip() for token in lower.split(b",")}
    return ()
