"""One upstream connection: one request at a time, its answer whole, and exactly one ending for each request."""

import asyncio
from collections.abc import Callable
from typing import Final, Protocol, cast

import httptools

from plimsoll.wire.http1.address import TlsAddress, UnixAddress, parse_address
from plimsoll.wire.http1.burst import Burst
from plimsoll.wire.http1.listen import check_unix_path
from plimsoll.wire.http1.settings import ClientSettings
from plimsoll.wire.http1.tls import ClientTls

_JOIN_BYTES: Final = 64 * 1024
_PIECE_BYTES: Final = 1024


class Receiver(Protocol):
    """Gets either `on_response` or `on_lost`, once; before it any number of `on_interim`. May call `send` at once."""

    def on_interim(self, status: int) -> None: ...

    def on_response(self, status: int, headers: list[tuple[bytes, bytes]], body: bytes) -> None:
        """`headers`: names in lower case, without trailers."""
        ...

    def on_lost(self, reason: str, started: bool) -> None:
        """The connection ended before the answer was complete. `started`: some of the answer had come."""
        ...


class _Malformed(Exception):  # a signal through the parser
    """Ends the parser's run from within a callback; the argument says why."""


class _Nowhere(list[tuple[bytes, bytes]]):
    def append(self, _: tuple[bytes, bytes]) -> None:
        pass


_NOWHERE: Final = _Nowhere()


class ClientConnection(asyncio.Protocol):
    """`idle`: connected, and nothing is in flight. `closed`: of no more use. `on_closed` is called once, last."""

    __slots__ = (
        "_answer_headers",
        "_body_seen",
        "_burst",
        "_closes",
        "_complete",
        "_fed",
        "_feed",
        "_head_only",
        "_headers",
        "_interims",
        "_large",
        "_parser",
        "_pieces",
        "_reason",
        "_received",
        "_receiver",
        "_settings",
        "_started",
        "_status",
        "_transport",
        "_until_eof",
        "closed",
        "on_closed",
    )

    def __init__(self, settings: ClientSettings | None = None, burst: Burst | None = None) -> None:
        self._settings = settings or ClientSettings()
        self._burst = burst
        self._transport = cast(asyncio.Transport, None)
        self._receiver: Receiver | None = None
        self._reason = ""
        self.closed = True
        self.on_closed: Callable[[ClientConnection], None] | None = None
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data
        self._headers: list[tuple[bytes, bytes]] = _NOWHERE
        self._head_only = False
        self._large = False
        # Of the answer that is coming; _expect_answer sets them anew for the next.
        self._answer_headers: list[tuple[bytes, bytes]] = _NOWHERE
        self._pieces: list[bytes | bytearray] = []
        self._status = 0
        self._received = 0  # bytes of the body
        self._body_seen = 0
        self._fed = 0  # bytes read since the last byte of a body
        self._interims = 0
        self._started = False
        self._complete = False
        self._closes = False
        self._until_eof = False

    @classmethod
    async def connect(
        cls,
        address: str,
        settings: ClientSettings | None = None,
        *,
        burst: Burst | None = None,
        tls: ClientTls | None = None,
    ) -> "ClientConnection":
        """To `unix:/path`, `tcp:host:port` or, with `tls`, `tls:host:port`. Raises OSError; the caller bounds the wait.
        With a `burst`, requests leave at the end of the loop's turn."""
        loop = asyncio.get_running_loop()
        place = parse_address(address)
        if isinstance(place, UnixAddress):
            check_unix_path(place.path)
            _, connection = await loop.create_unix_connection(lambda: cls(settings, burst), place.path)
        elif isinstance(place, TlsAddress):
            if tls is None:
                raise OSError(f"{address} wants TLS, and there is no certificate to show")
            _, connection = await loop.create_connection(
                lambda: cls(settings, burst), place.host, place.port, ssl=tls.current, server_hostname=place.name
            )
        else:
            _, connection = await loop.create_connection(lambda: cls(settings, burst), place.host, place.port)
        return connection

    @property
    def idle(self) -> bool:
        return self._receiver is None and not self.closed

    def send(self, head: bytes, body: bytes, receiver: Receiver, *, head_only: bool = False) -> None:
        """`head`: as from encode_request_head. `head_only`: the request is HEAD, its answer has no body.

        On a connection that has closed, `on_lost` follows soon. RuntimeError while another request is in flight.
        """
        if self._receiver is not None:
            raise RuntimeError("one request at a time: the connection is busy")
        if self.closed:
            asyncio.get_running_loop().call_soon(receiver.on_lost, self._reason or "the connection is closed", False)
            return
        self._receiver = receiver
        self._head_only = head_only
        try:
            if len(body) > _JOIN_BYTES:
                self._large = True
                self._transport.writelines((head, body))
            elif self._burst is None:
                self._transport.write(head + body)
            else:
                self._burst.write(self._transport, head + body)
        except RuntimeError as error:  # uvloop's word for a transport that failed a moment ago
            self._cut(str(error))

    def close(self) -> None:
        """A request in flight is lost: its receiver hears of it."""
        self._cut("closed by this side")

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self.closed = False

    def data_received(self, data: bytes) -> None:
        if self.closed:
            return
        if self._receiver is None:
            self._cut("the upstream sent bytes that nobody asked for")
            return
        self._started = True
        self._fed += len(data)
        try:
            self._feed(data)
        except httptools.HttpParserUpgrade:
            self._cut("the upstream changed the protocol unasked")
            return
        except httptools.HttpParserError as error:
            if not self._complete:
                self._cut(f"malformed answer: {_why(error)}")
                return
            self._closes = True  # bytes after the answer
        if self._complete:
            self._deliver()
        elif self._received != self._body_seen:
            self._body_seen, self._fed = self._received, 0
        elif (
            self._fed > self._settings.max_head_bytes
        ):  # without an end of the head, or in chunk extensions or trailers
            self._cut(f"the answer's head is larger than {self._settings.max_head_bytes} bytes")

    def eof_received(self) -> bool:
        if self._until_eof and not self.closed and self._receiver is not None:
            self._complete = self._closes = True
            self._deliver()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self.closed = True
        del self._parser, self._feed  # the parser holds this object's methods
        receiver, self._receiver = self._receiver, None
        if receiver is not None:
            receiver.on_lost(self._reason or (str(exc) if exc else "the upstream closed the connection"), self._started)
        on_closed, self.on_closed = self.on_closed, None
        if on_closed is not None:
            on_closed(self)

    # httptools' calls

    def on_message_begin(self) -> None:
        if self._complete:
            raise _Malformed("bytes after the answer")
        self._headers = []

    def on_header(self, name: bytes, value: bytes) -> None:
        self._headers.append((name.lower(), value.rstrip(b" \t")))

    def on_headers_complete(self) -> None:
        headers, settings, parser = self._headers, self._settings, self._parser
        if len(headers) > settings.max_headers or (
            self._fed > settings.max_head_bytes
            and sum(len(name) + len(value) + 4 for name, value in headers) > settings.max_head_bytes
        ):
            raise _Malformed(f"more than {settings.max_head_bytes} bytes or {settings.max_headers} headers in its head")
        status: int = parser.get_status_code()
        if status < 200:
            self._interims += 1
            if status == 101 or self._interims > settings.max_interim:
                raise _Malformed(f"status {status} unasked, or too often")
        self._status = status
        self._closes = not parser.should_keep_alive()
        framed = self._head_only or status < 200 or status in (204, 304)
        for name, value in headers:
            if name == b"content-length":
                framed = True
            elif name == b"transfer-encoding":
                if value.lower() != b"chunked":
                    raise _Malformed("a Transfer-Encoding other than chunked")
                framed = True
        self._until_eof = not framed
        self._answer_headers = headers
        self._headers = _NOWHERE
        if self._head_only and status >= 200:
            self._complete = True
            if not any(name in (b"content-length", b"transfer-encoding") for name, _ in headers):
                # llhttp takes it for an answer that ends with the connection.
                options = b",".join(value.lower() for name, value in headers if name == b"connection")
                self._closes = parser.get_http_version() != "1.1" or b"close" in options

    def on_body(self, data: bytes) -> None:
        if self._complete:
            raise _Malformed("bytes after the answer")
        self._received += len(data)
        if self._received > self._settings.max_body_bytes:
            raise _Malformed(f"its body is larger than {self._settings.max_body_bytes} bytes")
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
        if self._status >= 200:
            self._complete = True
            return
        status, self._status = self._status, 0
        if self._receiver is not None:
            self._receiver.on_interim(status)

    # The ends of a request

    def _deliver(self) -> None:
        receiver, status, headers, pieces = self._receiver, self._status, self._answer_headers, self._pieces
        assert receiver is not None  # data_received and eof_received look
        body = b"" if not pieces else pieces[0] if len(pieces) == 1 else b"".join(pieces)
        self._receiver = None
        # An upstream may answer before it has read the request; what is left of that would begin the next one.
        if self._closes or (self._large and self._transport.get_write_buffer_size()):
            self._cut("the upstream ended the connection with its last answer")
        elif self._head_only:
            self._new_parser()  # llhttp waits for the body that the answer's content-length speaks of
        self._expect_answer()
        receiver.on_response(status, headers, body)  # type: ignore[arg-type] # the first piece is bytes

    def _expect_answer(self) -> None:
        self._status = self._received = self._body_seen = self._fed = self._interims = 0
        self._complete = self._closes = self._until_eof = self._started = self._large = self._head_only = False
        self._pieces = []
        self._answer_headers = _NOWHERE

    def _new_parser(self) -> None:
        self._parser = httptools.HttpResponseParser(self)
        self._feed = self._parser.feed_data

    def _cut(self, reason: str) -> None:
        """connection_lost follows, and with it `on_lost` where a request is in flight."""
        if self.closed:
            return
        self.closed = True
        self._reason = reason
        if self._receiver is None:
            self._transport.close()
        else:
            self._transport.abort()


def _why(error: Exception) -> str:
    return str(error.__context__) if isinstance(error.__context__, _Malformed) else str(error)
