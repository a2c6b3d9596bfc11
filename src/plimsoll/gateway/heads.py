"""Heads are rebuilt at the door, both ways: what belongs to one hop, or only a trusted hop may say, does not pass.

Clients and replicas repeat themselves, so a header's line is looked up by its name and value: an answer's seven headers
take 0.6 us where checking and building each costs 4.6.
"""

from plimsoll.wire.http1 import Exchange

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
_NOT_ANSWERED = HOP_BY_HOP | {
    b"server-timing", b"plimsoll-outcome", b"plimsoll-revision", b"endpoint-load-metrics", b"x-request-id", b"date",
    b"plimsoll-degraded-by",
}  # fmt: skip

# A tenant's proof is for the gateway; a replica must not see it.
_CREDENTIALS = frozenset({b"authorization", b"x-api-key"})

_REMEMBERED = 2048  # lines; full, the memory starts anew, so that no client can fill it or keep it useless
_REMEMBERED_BYTES = 256  # longer ones are built each time: 2048 lines are half a megabyte at most
# They differ from request to request, or hold what should not stay in memory.
_NOT_REMEMBERED = frozenset(
    {
        b"x-request-id", b"plimsoll-deadline-ms", b"grpc-timeout", b"traceparent", b"tracestate", b"authorization",
        b"x-api-key", b"cookie", b"set-cookie", b"etag", b"last-modified",
    }
)  # fmt: skip


class _Nominating(Exception):  # a signal, not an error
    """A Connection header that names others."""


class _Lines(dict[tuple[bytes, bytes], bytes]):
    """(name, value) → its line, empty where it does not pass."""

    def __init__(self, dropped: frozenset[bytes], dropped_prefix: bytes | None) -> None:
        self.dropped = dropped
        self._prefix = dropped_prefix

    def __missing__(self, header: tuple[bytes, bytes]) -> bytes:
        name, value = header
        if name == b"connection" and value.lower() not in {b"keep-alive", b"close"}:
            raise _Nominating
        if name in self.dropped or (self._prefix is not None and name.startswith(self._prefix)):
            line = b""
        else:
            line = b"%b: %b\r\n" % header
        if name not in _NOT_REMEMBERED and len(name) + len(value) <= _REMEMBERED_BYTES:
            if len(self) >= _REMEMBERED:
                self.clear()
            self[header] = line
        return line


# `plimsoll-*` headers are only a trusted hop's to set.
_requests = _Lines(_NOT_FORWARDED, b"plimsoll-")
_answers = _Lines(_NOT_ANSWERED, None)


def request_head(exchange: Exchange, request_id: bytes, hop_lines: bytes, credentials: bool, path: str) -> bytes:
    """The head for the replica, but for the time that is left. `credentials`: the client's proved a tenant, and end
    here; `hop_lines`: what we say of it instead."""
    headers = exchange.headers
    if credentials:
        headers = [header for header in headers if header[0] not in _CREDENTIALS]
    try:
        lines = b"".join(map(_requests.__getitem__, headers))  # as `request_lines` has it
    except _Nominating:
        lines = request_lines(headers)
    target = f"{path}?{exchange.query}" if exchange.query else path
    return b"%b %b HTTP/1.1\r\nhost: %b\r\ncontent-length: %d\r\nx-request-id: %b\r\n%b%b" % (
        exchange.method.encode(),
        target.encode("latin-1"),
        exchange.header(b"host") or b"-",
        len(exchange.body),
        request_id,
        hop_lines,
        lines,
    )


def path_at(path: str, asked: str, name: str) -> str:
    """Where the service `name` takes what came for `asked`; routes of the user's own stay."""
    if path.startswith("/v2/models/"):
        return f"/v2/models/{name}/infer"  # a version of the one asked is none of the other's
    if path.startswith("/v1/models/"):
        return f"/v1/models/{name}{path[len('/v1/models/') + len(asked) :]}"
    return path


def request_lines(headers: Headers) -> bytes:
    """The client's header lines that the replica may see."""
    try:
        return b"".join(map(_requests.__getitem__, headers))
    except _Nominating:
        return b"".join(map(_requests.__getitem__, _without_nominated(headers)))


def read_answer(headers: Headers) -> tuple[bytes, bytes | None, bytes, bytes]:
    """The replica's header lines that the client may see; its `plimsoll-outcome`; its `server-timing`, all of it; its
    `endpoint-load-metrics`."""
    lines, outcome, timing, load = b"", None, b"", b""
    try:
        for header in headers:
            name = header[0]
            if name == b"server-timing":
                timing = b"%b, %b" % (timing, header[1]) if timing else header[1]
            elif name == b"plimsoll-outcome":
                outcome = header[1]
            elif name == b"endpoint-load-metrics":
                load = header[1]
            elif name != b"x-request-id":
                lines += _answers[header]
    except _Nominating:
        return read_answer(_without_nominated(headers))
    return lines, outcome, timing, load


def _without_nominated(headers: Headers) -> Headers:
    """Without Connection headers and what they declare to be for this hop only."""
    named = {b"connection"}
    for name, value in headers:
        if name == b"connection":
            named.update(token.strip() for token in value.lower().split(b","))
    return [header for header in headers if header[0] not in named]
