"""Limits of the HTTP/1.1 server and client. httptools has none of its own: every one of them is kept here."""

from dataclasses import dataclass

from plimsoll.wire.http1.tls import TlsSettings


@dataclass(frozen=True, slots=True)
class HttpSettings:
    """Of one server. Deadlines are kept by one sweep each `sweep_s`, so they are late by up to that much."""

    max_target_bytes: int = 8 * 1024  # 414 beyond; RFC 9112 section 3 recommends at least 8000
    max_head_bytes: int = 32 * 1024  # target and headers, 431 beyond; also trailers and chunk extensions
    max_headers: int = 100  # 431 beyond
    max_body_bytes: int = 64 * 1024 * 1024  # 413 beyond, declared or counted while chunks come in
    head_timeout_s: float = 10.0  # from the first byte of a request to the end of its head, else 408
    body_timeout_s: float = (
        30.0  # from the head to the end of the body, plus a second for each min_bytes_per_s received
    )
    write_timeout_s: float = 30.0  # to drain an answer to a slow reader, plus a second for each min_bytes_per_s drained
    min_bytes_per_s: int = 64 * 1024
    idle_timeout_s: float = 75.0  # a kept-alive connection without a request closes silently
    # A refused client may go on sending for so long and so much before the connection is cut: many clients read the
    # answer only after the last byte of their body. Nothing of it is kept.
    linger_s: float = 2.0
    linger_bytes: int = 16 * 1024 * 1024
    pipeline_depth: int = 32  # unanswered requests a connection; reading pauses beyond
    write_high_bytes: int = 256 * 1024  # reading pauses while more than this waits for a slow reader
    max_connections: int = 16 * 1024  # further ones are closed at once; TLS handshakes under way count
    # From one address (IPv6: one /64, what a single host gets), further ones are closed at once. A quarter of them all:
    # no one address shuts out the others, and a proxy in front, which is one address, still has room. 0: no limit.
    max_connections_per_peer: int = 4096
    # Bodies that are still coming in, together. Looked at each `sweep_s`; beyond it the largest are refused (503).
    max_incomplete_bytes: int = 1024 * 1024 * 1024
    # Answers that clients have not taken, together. Beyond it the connections that hold most are cut: a client may ask
    # for `pipeline_depth` answers of any size and read none.
    max_unsent_bytes: int = 1024 * 1024 * 1024
    # After this long the next answer says `connection: close`: load spreads anew after scaling, and a certificate or
    # client CA that was replaced is out of use in the end. There is no limit of requests: none of them leaves anything.
    max_age_s: float = 3600.0
    backlog: int = 1024
    reuse_port: bool = False  # SO_REUSEPORT: several processes share one TCP port
    half_close: bool = True  # a client that has shut its sending side still gets its answers
    sweep_s: float = 0.5
    tls: TlsSettings | None = None  # for TCP addresses; Unix sockets stay plain


@dataclass(frozen=True, slots=True)
class ClientSettings:
    """Of one upstream connection. Timeouts are the caller's own: it knows the deadline."""

    max_head_bytes: int = 64 * 1024
    max_headers: int = 200
    max_body_bytes: int = 256 * 1024 * 1024
    max_interim: int = 64  # 1xx answers before the final one
