"""An answer without an end: lines for as long as the client listens, the connection's close their end.

stream = Stream.begin(exchange, b"content-type: application/x-ndjson\\r\\n")   # None: others are to be answered first
stream.send(b"...")     # False: the reader is behind or gone, and this piece was dropped
stream.end()
"""

from typing import Self

from plimsoll.wire.http1.connection import OPEN, ServerConnection
from plimsoll.wire.http1.encode import status_line
from plimsoll.wire.http1.exchange import Exchange

_BEHIND_BYTES = 64 * 1024  # unread beyond this, pieces are dropped: a reader that stands still must cost nothing


class Stream:
    __slots__ = ("_connection",)

    def __init__(self, connection: ServerConnection) -> None:
        self._connection = connection

    @classmethod
    def begin(cls, exchange: Exchange, headers: bytes) -> Self | None:
        """Called in `on_request`. The exchange is never responded to: `on_gone` says when its client left, unless
        `end` came first. Requests behind it on the connection wait for ever."""
        connection = exchange.connection
        if not isinstance(connection, ServerConnection) or connection.pending[0] is not exchange:
            return None
        # Without a length the body ends with the connection (RFC 9112 section 6.3).
        connection.piece(status_line(200) + headers + b"connection: close\r\n\r\n")
        return cls(connection)

    def send(self, data: bytes) -> bool:
        connection = self._connection
        if connection.state != OPEN or connection.transport.get_write_buffer_size() > _BEHIND_BYTES:
            return False
        connection.piece(data)
        return True

    def end(self) -> None:
        if self._connection.state == OPEN:
            self._connection.close()
