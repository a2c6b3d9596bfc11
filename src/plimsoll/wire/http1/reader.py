"""Bytes to exchanges: httptools' callbacks, and every limit and rule that httptools leaves to us. No I/O, no clock.

The owner sets `now` and `read`, calls `feed(data)`, hands an exception of it to `interrupted`, and calls `partial`
where `phase` says that a request is incomplete. Complete requests go to `owner.take`.
"""

from typing import Final, Protocol

import httptools

from plimsoll.core.errors import Invalid, RequestError, TooLarge
from plimsoll.wire.http1 import head as rules
from plimsoll.wire.http1.exchange import Answerer, Exchange
from plimsoll.wire.http1.settings import HttpSettings

IDLE: Final = 0  # between requests
HEAD: Final = 1
BODY: Final = 2

_PIECE_BYTES: Final = (
    1024  # smaller pieces of a body share one buffer: a bytes object costs 33 bytes beside its content
)


class Owner(Answerer, Protocol):
    def take(self, exchange: Exchange) -> None:
        """A request is complete."""
        ...

    def invite(self) -> None:
        """The client waits for 100 before it sends the body."""
        ...


class _Nowhere(list[rules.Header]):
    """Where trailers go: httptools hands them to on_header, and one named plimsoll-tenant must never be a header."""

    def append(self, _: rules.Header) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class RequestReader:
    __slots__ = (
        "_body_seen",
        "_continued",
        "_exchange",
        "_graft",
        "_headers",
        "_lines",
        "_overhead",
        "_owner",
        "_parser",
        "_pieces",
        "_received",
        "_rules",
        "_settings",
        "_target",
        "_unused",
        "began",
        "feed",
        "now",
        "phase",
        "read",
        "refusal",
    )

    def __init__(self, owner: Owner, settings: HttpSettings, cache: rules.HeadCache) -> None:
        self._owner = owner
        self._settings = settings
        self._rules = cache
        self._parser = httptools.HttpRequestParser(self)
        self.feed = self._parser.feed_data
        self.phase = IDLE
        self.now = 0.0  # the clock at this read
        self.read = 0  # bytes of this read
        self.began = 0.0  # the read of the head's first byte; then the read that completed the head
        self.refusal: RequestError | None = None
        self._target = b""
        self._headers: list[rules.Header] = _NOWHERE
        self._continued = False  # the head in progress began in an earlier read ...
        self._lines = 0  # ... and this many bytes of later reads belong to it
        self._unused = True  # no request has come yet
        self._exchange: Exchange | None = None  # its body is being read
        self._pieces: list[bytes | bytearray] = []
        self._received = 0
        self._body_seen = 0
        self._overhead = 0  # bytes read in a body without one byte of it: chunk extensions, trailers
        self._graft: bytes | None = None

    @property
    def exchange(self) -> Exchange | None:
        """The request whose body is being read."""
        return self._exchange

    @property
    def received(self) -> int:
        """Bytes of that body so far."""
        return self._received

    def close(self) -> None:
        """The parser holds this object's methods, and the owner this object: without this all of them, and under TLS
        50 kB of OpenSSL's, would live until the next collection."""
        del self._parser, self.feed, self._owner
        self._pieces = []
        self._exchange = None

    # httptools' calls

    def on_message_begin(self) -> None:
        self.phase = HEAD
        self.began = self.now
        self._target = b""
        self._headers = []
        self._continued = False

    def on_url(self, url: bytes) -> None:
        self._target = target = self._target + url if self._target else url
        if len(target) > self._settings.max_target_bytes:
            limit = self._settings.max_target_bytes
            self.refusal = Invalid(f"the request's target is longer than {limit} bytes", status=414)
            raise self.refusal

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        headers = self._headers
        self._headers = _NOWHERE
        self.phase = BODY
        if self._exchange is not None:  # the stand-in head of `_after_upgrade`
            return
        try:
            parser, cache, settings = self._parser, self._rules, self._settings
            raw_method: bytes = parser.get_method()
            # What one read brings is an upper bound of the head's size: counting is for heads that might be over.
            if len(headers) > settings.max_headers or (
                (self.read > settings.max_head_bytes or self._continued)
                and rules.head_bytes(raw_method, self._target, headers) > settings.max_head_bytes
            ):
                raise self._head_too_large()
            method = rules.METHODS.get(raw_method) or rules.other_method(raw_method)
            path, query, authority = cache.targets.get(self._target) or cache.target(method, self._target)
            hosts, length, special = 0, 0, False
            for name, value in headers:
                if name in rules.SPECIAL:
                    if name == b"host":
                        hosts += 1
                        if value not in cache.hosts:
                            cache.host(value)
                    elif name == b"content-length":  # digits, once: httptools looked
                        length = int(value)
                    else:
                        special = True
            version: str = parser.get_http_version()
            if hosts != 1 or version != "1.1":
                rules.check_version(version, hosts)
            if authority is not None:
                headers = rules.with_host(headers, authority)
            self.began = self.now
            self._unused = False
            self._exchange = exchange = Exchange(
                method, path, query, version, headers, self.now, self._owner, not parser.should_keep_alive()
            )
            if special or length > settings.max_body_bytes:
                self._frame(exchange, length)
        except RequestError as error:  # recorded here: httptools wraps what a callback raises
            self.refusal = error
            raise

    def on_body(self, data: bytes) -> None:
        self._received += len(data)
        if self._received > self._settings.max_body_bytes:
            self.refusal = self._body_too_large()
            raise self.refusal
        pieces = self._pieces
        if pieces and len(data) < _PIECE_BYTES:
            last = pieces[-1]
            if isinstance(last, bytearray):
                last += data
            else:
                pieces.append(bytearray(data))
        else:
            pieces.append(data)

    def on_message_complete(self) -> None:
        if self._graft is not None:
            return
        exchange = self._exchange
        assert exchange is not None  # on_headers_complete made it or stopped the parser
        self._exchange = None
        self.phase = IDLE
        pieces = self._pieces
        if pieces:
            exchange.body = pieces[0] if len(pieces) == 1 else b"".join(pieces)  # type: ignore[assignment] # the first piece is bytes
            self._pieces = []
            self._received = self._body_seen = self._overhead = 0
        self._owner.take(exchange)

    # What is rare

    def partial(self) -> None:
        """A read ended inside a request. Sets `refusal` where it has grown too large."""
        if self.refusal is not None:
            return
        if self.phase == HEAD:
            if self._continued:
                self._lines += self.read
                if self._lines > self._settings.max_head_bytes:
                    self.refusal = self._head_too_large()
            else:
                self._continued = True
                self._lines = 0
        elif self._received != self._body_seen:
            self._body_seen = self._received
        else:
            self._overhead += self.read
            if self._overhead > self._settings.max_head_bytes:
                self.refusal = self._head_too_large()

    def interrupted(self, data: bytes, stop: Exception) -> None:
        """`feed` raised `stop`. Goes on where the request only asked for another protocol, else sets `refusal`."""
        rest = memoryview(data)  # thousands of such requests in one read must not copy it each time
        while isinstance(stop, httptools.HttpParserUpgrade):
            rest = rest[stop.args[0] :]
            try:
                self._after_upgrade()
                self.feed(rest)
                return
            except (httptools.HttpParserError, httptools.HttpParserUpgrade) as error:
                stop = error
        if self.refusal is None:
            first = bytes(rest[:1]) if self._unused and not self._continued else b""
            self.refusal = rules.malformed(first, stop)

    def _frame(self, exchange: Exchange, length: int) -> None:
        """The headers that say how the body comes, but for content-length."""
        if length > self._settings.max_body_bytes:
            raise self._body_too_large()
        chunked = upgrade = False
        for name, value in exchange.headers:
            if name == b"transfer-encoding":
                rules.check_transfer_encoding(value, exchange.version)
                chunked = True
            elif name == b"upgrade":
                upgrade = True
        if upgrade and (length or chunked) and self._parser.should_upgrade():
            self._graft = b"transfer-encoding: chunked" if chunked else b"content-length: %d" % length
        if exchange.version == "1.1" and rules.expects_continue(exchange) and (length or chunked):
            self._owner.invite()

    def _after_upgrade(self) -> None:
        """A server may ignore Upgrade (RFC 9110 section 7.8); its body must then not be taken for the next request.

        llhttp leaves the body of a request with an accepted Upgrade unparsed. A new parser reads it behind a
        stand-in head with the same framing.
        """
        if self._graft is None:
            return
        head, self._graft = b"POST / HTTP/1.1\r\n%b\r\n\r\n" % self._graft, None
        self._parser = httptools.HttpRequestParser(self)
        self.feed = self._parser.feed_data
        self.feed(head)

    def _head_too_large(self) -> RequestError:
        settings = self._settings
        return Invalid(
            f"the request's head has more than {settings.max_head_bytes} bytes or {settings.max_headers} headers",
            status=431,
        )

    def _body_too_large(self) -> RequestError:
        return TooLarge(f"the request's body is larger than {self._settings.max_body_bytes} bytes")
