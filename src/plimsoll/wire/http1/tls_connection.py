"""TLS between a socket and one server connection: a protocol to the socket's transport, a transport to the connection.

Our own, because asyncio's and uvloop's differ where it matters here: this one sends the alert of a failed handshake,
tells a client that speaks plain HTTP so, counts handshakes under way, and knows half-closing. What is encrypted goes
straight to the socket's transport: there is one write buffer, and its limits are those of plain HTTP.
"""

import asyncio
import ssl
from collections.abc import Iterable
from contextlib import suppress
from typing import TYPE_CHECKING, Any, Final, cast

from plimsoll.wire.http1.encode import encode_response_head
from plimsoll.wire.http1.tls import TlsContext

if TYPE_CHECKING:
    from plimsoll.wire.http1.connection import ServerConnection
    from plimsoll.wire.http1.server import HttpServer

HANDSHAKE: Final = 0
OPEN: Final = 1
FAILED: Final = 2  # told why; what still comes is thrown away until the client closes, or the sweep does
SHUT: Final = 3  # our side said goodbye: nothing that comes is decrypted

_RECORD_BYTES: Final = 16 * 1024  # a TLS record's content
_PIECE_BYTES: Final = 16 * _RECORD_BYTES  # encrypted at a time: bounds the copy that OpenSSL's buffer is
_PLAIN_HTTP: Final = (
    b"this port speaks HTTPS, and the client sent plain HTTP; use https://\n"  # to a human with a browser or curl
)


class TlsConnection(asyncio.Transport, asyncio.Protocol):
    """Asks the server for room at the accept, and for a ServerConnection once the handshake is done."""

    __slots__ = ("_context", "_incoming", "_outgoing", "_peer_done", "_server", "_ssl", "_tls", "_upper", "peer",
                 "since", "state", "transport")  # fmt: skip

    def __init__(self, server: "HttpServer", tls: TlsContext) -> None:
        super().__init__()
        self._server = server
        self._tls = tls
        self._context = tls.current
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        self._ssl = self._context.wrap_bio(self._incoming, self._outgoing, server_side=True)
        self._upper = cast("ServerConnection", None)
        self._peer_done = False  # its close_notify came
        self.transport = cast(asyncio.Transport, None)
        self.peer: object = None  # the server's: whose connections this one counts among
        self.state = HANDSHAKE
        self.since = 0.0

    # The socket's side

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.since = self._server.clock()
        if not self._server.admit_handshake(self):
            self.state = FAILED
            self.transport.abort()

    def data_received(self, data: bytes) -> None:
        if self.state == OPEN:
            self._incoming.write(data)
            self._read()
        elif self.state == HANDSHAKE:
            self._incoming.write(data)
            self._shake()
        elif self.state == SHUT:
            self._upper.data_received(data)  # it counts and discards

    def _shake(self) -> None:
        try:
            self._ssl.do_handshake()
        except ssl.SSLWantReadError:
            self._send()
            return
        except ssl.SSLError as error:
            self._fail(error)
            return
        self._send()
        if self._context.verify_mode is not ssl.CERT_NONE and self._context is not self._tls.current:
            # The client's CA may have been taken away while it shook hands.
            self.state = FAILED
            self.transport.abort()
            return
        self.state = OPEN
        self._upper = self._server.connection()
        self._server.forget_handshake(self)
        self._upper.connection_made(self)
        self._read()

    def _fail(self, error: ssl.SSLError) -> None:
        """Says why, then closes its side; the client's end of file, or the sweep, ends it."""
        self.state = FAILED
        self.since = self._server.clock()
        self._tls.failed(error.reason or str(error), self.since)
        if error.reason == "HTTP_REQUEST":
            self._outgoing.read()
            headers = b"content-type: text/plain; charset=utf-8\r\n"
            head = encode_response_head(400, headers, len(_PLAIN_HTTP), b"connection: close\r\n")
            self.transport.write(head + _PLAIN_HTTP)
        else:
            self._send()  # the alert
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()

    def _read(self) -> None:
        pieces = []
        try:
            while self.state == OPEN:  # a record each; together they are no more than one read of the socket brought
                pieces.append(self._ssl.read(_RECORD_BYTES))
                if not pieces[-1]:
                    raise ssl.SSLZeroReturnError
        except ssl.SSLWantReadError:
            pass
        except ssl.SSLZeroReturnError:
            self._peer_done = True
        except ssl.SSLError:
            self._send()
            self.abort()
            return
        self._send()  # OpenSSL may owe an answer of its own, to a key update
        data = pieces[0] if len(pieces) == 1 else b"".join(pieces)
        if data:
            self._upper.data_received(data)
        if (
            self._peer_done
            and self.state == OPEN
            and not self.transport.is_closing()
            and not self._upper.eof_received()
        ):
            self.close()

    def eof_received(self) -> bool:
        """Without a close_notify before it the stream was cut, by whom nobody knows (RFC 8446 section 6.1): whoever
        sent what came is treated as gone."""
        if self.state in (HANDSHAKE, FAILED):
            return False
        if self.state == SHUT:
            return self._upper.eof_received()
        if self._peer_done:
            return True
        self.abort()
        return False

    def connection_lost(self, exc: Exception | None) -> None:
        self._server.forget_handshake(self)
        upper, self._upper = self._upper, cast("ServerConnection", None)  # they name each other
        if upper is not None:
            upper.connection_lost(exc)

    def pause_writing(self) -> None:
        if self._upper is not None:
            self._upper.pause_writing()

    def resume_writing(self) -> None:
        if self._upper is not None:
            self._upper.resume_writing()

    def sweep(self, now: float) -> None:
        """Of a handshake only: nobody may keep a descriptor with half of one, or with one that failed."""
        settings = self._server.settings
        if self.state == FAILED:
            if now - self.since > settings.linger_s:
                self.transport.abort()
        elif self.state == HANDSHAKE and now - self.since > self._tls.settings.handshake_timeout_s:
            self.state = FAILED
            self._tls.failed("TIMEOUT", now)
            self.transport.abort()

    # The connection's side: what a ServerConnection asks of its transport

    def write(self, data: bytes | bytearray | memoryview) -> None:
        if self.state != OPEN or self.transport.is_closing():
            return
        view = memoryview(data)
        for start in range(0, len(view), _PIECE_BYTES):
            self._encrypt(view[start : start + _PIECE_BYTES])

    def _encrypt(self, piece: memoryview) -> None:
        try:
            self._ssl.write(piece)
        except ssl.SSLError:
            self.abort()
            return
        self.transport.write(self._outgoing.read())

    def writelines(self, list_of_data: Iterable[bytes | bytearray | memoryview]) -> None:
        for data in list_of_data:
            self.write(data)

    def can_write_eof(self) -> bool:
        return self.transport.can_write_eof()

    def write_eof(self) -> None:
        if self.state == OPEN:
            self._goodbye()
            self.transport.write_eof()

    def close(self) -> None:
        if self.state == OPEN:
            self._goodbye()
        self.transport.close()

    def abort(self) -> None:
        self.transport.abort()

    def is_closing(self) -> bool:
        return self.transport.is_closing()

    def pause_reading(self) -> None:
        self.transport.pause_reading()

    def resume_reading(self) -> None:
        self.transport.resume_reading()

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        self.transport.set_write_buffer_limits(high, low)

    def get_write_buffer_size(self) -> int:
        return self.transport.get_write_buffer_size()

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        if name == "ssl_object":
            return self._ssl
        return self.transport.get_extra_info(name, default)

    def _goodbye(self) -> None:
        """close_notify: the client knows that the answer is whole."""
        self.state = SHUT
        with suppress(ssl.SSLError):
            self._ssl.unwrap()
        self._send()

    def _send(self) -> None:
        if self._outgoing.pending and not self.transport.is_closing():
            self.transport.write(self._outgoing.read())
