"""One accepted connection: hands requests to the application and sends the answers in the order of the requests.

The hot path is data_received, `take` and `respond`; whatever is rare sits behind one flag, `attention`, and is
done by `_settle`. No timer belongs to a connection: the server's sweep calls `sweep`.
"""

import asyncio
from collections import deque
from contextlib import suppress
from typing import TYPE_CHECKING, Final, cast

from httptools import HttpParserError, HttpParserUpgrade

from plimsoll.core.errors import RequestError
from plimsoll.wire.http1.encode import (
    BODILESS,
    CLOSE,
    CONTINUE,
    KEEP_ALIVE,
    PLAIN_STATUS_LINES,
    encode_response_head,
    status_line,
)
from plimsoll.wire.http1.exchange import Exchange
from plimsoll.wire.http1.peer import has_hung_up
from plimsoll.wire.http1.reader import BODY, IDLE, RequestReader
from plimsoll.wire.http1.tls_names import peer_names

if TYPE_CHECKING:
    from plimsoll.wire.http1.server import HttpServer

OPEN: Final = 0
LINGER: Final = 1  # answered for the last time; what still comes is thrown away until the client closes
CLOSED: Final = 2  # closing or closed

_JOIN_BYTES: Final = 16 * 1024  # copying this much costs less than a second buffer in the write
_OUT_MOST: Final = 64  # answers that wait for the end of a read: 1 MiB at most


class ServerConnection(asyncio.Protocol):
    __slots__ = (
        "_application", "_attention", "_buffering", "_burst", "_clock", "_depth", "_ended", "_finishing",
        "_lingered", "_out", "_retiring", "_server", "_subjects", "_surplus", "backlog", "blocked_at",
        "blocked_bytes", "invited", "made", "paused", "peer", "peer_eof", "pending", "probed", "reader",
        "settings", "since", "state", "transport",
    )  # fmt: skip

    def __init__(self, server: "HttpServer") -> None:
        self._server = server
        self._application = server.application
        self.settings = server.settings
        self._clock = server.clock
        self._burst = server.burst
        self._depth = server.settings.pipeline_depth
        self.transport = cast(asyncio.Transport, None)
        self.reader = RequestReader(self, server.settings, server.head_cache)
        self.state = OPEN
        self.made = 0.0
        self.peer: object = None  # the server's: whose connections this one counts among
        self._subjects: tuple[str, ...] | None = None
        self.since = 0.0  # the last sign of use; since when it is closing
        self.pending: deque[Exchange] = deque()  # with the application, in order
        self.backlog: deque[Exchange] = deque()  # parsed beyond pipeline_depth, not yet with the application
        self._out: list[bytes] = []
        self._buffering = False  # answers wait in _out: those of one read leave together
        # The rare states. `_attention` is true while any of them may ask for something.
        self._attention = False
        self.invited = False  # the client waits for 100
        self._ended = False  # no further request is taken
        self._retiring = False  # old: the next answer is the last
        self._finishing = False  # the last answer is out
        self._surplus = False  # the client may be sending still: close gently
        self.paused = False
        self.peer_eof = False
        self.probed: bool | None = None  # of a half-closed peer; None: not yet looked at
        self.blocked_at: float | None = None
        self.blocked_bytes = 0  # what the write buffer held when the client fell behind, or at the close
        self._lingered = 0

    # The transport's calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)
        self.since = self.made = self._clock()
        self.transport.set_write_buffer_limits(high=self.settings.write_high_bytes)
        if not self._server.admit(self):
            self.abort()

    def data_received(self, data: bytes) -> None:
        ended = self._ended  # the reader's calls may set it
        if ended:
            self._discard(len(data))
            return
        reader = self.reader
        reader.now = self._clock()
        reader.read = len(data)
        self._buffering = True
        try:
            reader.feed(data)
        except (HttpParserError, HttpParserUpgrade) as stop:
            if self._ended:
                self._surplus = True
            else:
                reader.interrupted(data, stop)
        if reader.phase and not self._ended:
            reader.partial()
        self._buffering = False
        if reader.refusal is not None:
            self.refuse(reader.refusal)
        elif self._attention:
            self._settle()
        elif self._out:
            self._flush()

    def eof_received(self) -> bool:
        """True keeps the sending side open: a client that has only shut its own still gets its answers."""
        self.peer_eof = self._ended = self._attention = True
        if self.state != OPEN or not (self.pending or self.backlog):
            self._enter(CLOSED)
            return False
        if not self.settings.half_close or has_hung_up(self.transport):
            self.abort()
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        self._enter(CLOSED)
        self._server.forget(self)
        gone = [exchange for exchange in self.pending if not exchange.answered]
        self.pending.clear()
        self.backlog.clear()
        self._out.clear()
        self.reader.close()
        for exchange in gone:
            try:
                self._application.on_gone(exchange)
            except Exception as error:
                self._report(error)

    def pause_writing(self) -> None:
        self.blocked_at = self._clock()
        self.blocked_bytes = self.transport.get_write_buffer_size()
        self._attention = True
        self._pause()

    def resume_writing(self) -> None:
        self.blocked_at = None
        self._settle()

    # The reader's calls

    def take(self, exchange: Exchange) -> None:
        if self._ended:
            return
        if exchange.closes:
            self._ended = self._attention = True
        pending = self.pending
        if len(pending) >= self._depth or self.backlog or self.blocked_at is not None:
            self.backlog.append(exchange)
            self._attention = True
            return
        pending.append(exchange)
        try:
            self._application.on_request(exchange)
        except Exception as error:
            self._failed(exchange, error)

    def invite(self) -> None:
        self.invited = self._attention = True
        if not self.pending and not self.backlog:
            self.invited = False
            self._out.append(CONTINUE)

    # The exchange's calls

    def respond(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        pending, length, line = self.pending, len(body), PLAIN_STATUS_LINES.get(status)
        if self._attention or line is None or not exchange.plain or length > _JOIN_BYTES or pending[0] is not exchange:
            self._respond_with_care(exchange, status, headers, body)
            return
        pending.popleft()
        data = b"%b%bcontent-length: %d\r\n\r\n%b" % (line, headers, length, body)
        if self._buffering or pending:
            self._out.append(data)
            if pending:
                self._advance()
            if not self._buffering or len(self._out) >= _OUT_MOST:
                self._flush()
        else:
            self._write(data)

    def interim(self, exchange: Exchange, status: int) -> None:
        if self.state != OPEN or exchange.answered or exchange.version != "1.1":
            return
        if self.pending and self.pending[0] is exchange:
            self._out.append(status_line(status) + b"\r\n")
            self._flush()
            self._burst.flush()  # what is announced may end this process

    def piece(self, data: bytes) -> None:
        """Of an answer without an end: see `streaming`."""
        self._out.append(data)
        self._flush()

    def peer_subjects(self) -> tuple[str, ...]:
        if self._subjects is None:
            secured = self.transport.get_extra_info("ssl_object")
            self._subjects = () if secured is None else peer_names(secured.getpeercert())
        return self._subjects

    def _respond_with_care(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        if self.state != OPEN or not self.pending:
            return
        last = self.pending[-1] is exchange and not self.backlog and self.reader.phase == IDLE
        if last and (self._retiring or self._server.closing):
            exchange.closes = self._ended = self._surplus = True
        self._make_answer(exchange, status, headers, body)
        self._advance()
        if len(body) > _JOIN_BYTES:
            self._flush()  # so that the transport says at once when it is too much: a read may hold 4,000 requests
        self._settle()

    def _make_answer(self, exchange: Exchange, status: int, headers: bytes, body: bytes) -> None:
        connection = CLOSE if exchange.closes else KEEP_ALIVE if exchange.version == "1.0" else b""
        head = encode_response_head(status, headers, len(body), connection)
        if exchange.method == "HEAD" or status in BODILESS or not body:
            exchange.answer = (head,)
        elif len(body) <= _JOIN_BYTES:
            exchange.answer = (head + body,)
        else:
            exchange.answer = (head, body)

    # Output

    def _advance(self) -> None:
        """Moves the answers whose turn has come to `_out`."""
        pending = self.pending
        while pending and (answer := pending[0].answer) is not None:
            self._out += answer
            if pending.popleft().closes:
                self._finishing = self._attention = True

    def _flush(self) -> None:
        out = self._out
        if self.state != OPEN:
            out.clear()
        elif len(out) == 1:
            self._burst.write(self.transport, out.pop())
        elif out:
            if sum(map(len, out)) <= 2 * _JOIN_BYTES:
                self._burst.write(self.transport, b"".join(out))
            else:
                self._burst.flush()
                with suppress(RuntimeError):  # as in Burst
                    self.transport.writelines(out)
            out.clear()

    def _write(self, data: bytes) -> None:
        if self.state == OPEN:
            self._burst.write(self.transport, data)

    def _settle(self) -> None:
        """Does what the rare states ask for, as far as it can be done now."""
        if self._buffering or self.state != OPEN:
            return
        depth, pending, backlog, reader = self._depth, self.pending, self.backlog, self.reader
        self._buffering = True  # on_request may answer at once: collected here, never recursed into
        while backlog and len(pending) < depth and self.blocked_at is None:
            pending.append(exchange := backlog.popleft())
            if exchange.answer is None:
                try:
                    self._application.on_request(exchange)
                except Exception as error:
                    self._failed(exchange, error)
            else:
                self._advance()
        self._buffering = False
        if self.invited and not pending and not backlog:
            self.invited = False
            if reader.phase == BODY:
                self._out.append(CONTINUE)
        self._flush()
        if self.state != OPEN:
            return
        idle = not pending and not backlog
        if self._finishing or (idle and (self._ended or (self._server.closing and reader.phase == IDLE))):
            self._finish()
        elif len(pending) + len(backlog) >= depth or self.blocked_at is not None:
            self._pause()
        elif self.paused and len(pending) + len(backlog) <= depth // 2 and not self.peer_eof:
            self.paused = False
            self.transport.resume_reading()
        self._attention = bool(
            backlog
            or self.invited
            or self.paused
            or self._ended
            or self._retiring
            or self._server.closing
            or self.blocked_at
        )

    def _finish(self) -> None:
        """The last answer is out. A client that may be sending still must be able to read it: closing with unread
        bytes makes the kernel send a reset, which discards what the client has not read yet."""
        self.blocked_bytes = self.transport.get_write_buffer_size()
        if self._surplus and not self.peer_eof and self.transport.can_write_eof():
            self._enter(LINGER)
            self._burst.flush()
            self.transport.write_eof()
            if self.paused:
                self.transport.resume_reading()
        else:
            self.close()

    def _refuse(self, error: RequestError) -> None:
        """Answers for the last time, after the answers that are still due."""
        reader = self.reader
        exchange = reader.exchange or Exchange("GET", "", "", "1.1", [], reader.began, self, True)
        exchange.closes = exchange.answered = True
        try:
            status, headers, body = self._application.on_refused(error, reader.began)
        except Exception as failure:
            self._report(failure)
            status, headers, body = 400, b"", b""
        self._make_answer(exchange, status, headers, body)
        (self.backlog or self.pending).append(exchange)
        self._advance()
        self._ended = self._surplus = self._attention = True

    def _failed(self, exchange: Exchange, error: Exception) -> None:
        """The application broke its promise not to raise."""
        self._report(error)
        if not exchange.answered:
            exchange.respond(500, b"", b"")

    def _discard(self, count: int) -> None:
        self._surplus = True
        self._lingered += count
        if self._lingered > self.settings.linger_bytes:
            if self.state == LINGER:
                self.close()
            elif self.state == OPEN:
                self._pause()  # answers are due; what comes can wait

    def _pause(self) -> None:
        if not self.paused and self.state == OPEN and not self.peer_eof:
            self.paused = self._attention = True
            self.transport.pause_reading()

    def _enter(self, state: int) -> None:
        self.state = state
        self._ended = self._attention = True
        self.since = self._clock()

    def _report(self, error: Exception) -> None:
        asyncio.get_running_loop().call_exception_handler(
            {"message": "the application behind an HTTP connection raised", "exception": error, "protocol": self}
        )

    # The server's and the sweep's calls

    def wind_down(self) -> None:
        """The server is closing: close once nothing is due."""
        self._attention = True
        self._settle()

    def retire(self) -> None:
        """It is old: close with the next answer. An idle one is left alone, for its client may be about to ask."""
        self._retiring = self._attention = True

    def refuse(self, error: RequestError) -> None:
        if not self._ended:
            self._refuse(error)
        self._settle()

    def close(self) -> None:
        self.blocked_bytes = self.transport.get_write_buffer_size()
        self._burst.flush()
        self._enter(CLOSED)
        self.transport.close()

    def abort(self) -> None:
        self._enter(CLOSED)
        self.transport.abort()

    def unsent(self) -> int:
        """Bytes of answers that this client has not taken yet."""
        waiting = sum(len(piece) for exchange in self.pending for piece in exchange.answer or ())
        return waiting + self.transport.get_write_buffer_size()

    def probe(self) -> None:
        """Makes the kernel of a peer that has gone say so: writing is the only way to learn it over TCP."""
        self.probed = True
        self._write(CONTINUE)
