"""One request and its answer, and what a server asks of the application behind it."""

from typing import Any, Protocol

from plimsoll.core.errors import RequestError


class Application(Protocol):
    """The host: a replica or a gateway. Called on the loop's thread; must not block."""

    def on_request(self, exchange: "Exchange") -> None:
        """Head and body are complete. Must lead to exactly one `exchange.respond()`, now or later."""
        ...

    def on_gone(self, exchange: "Exchange") -> None:
        """The client left before the answer of a request that `on_request` got. `respond` does nothing from now on."""
        ...

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        """The connection itself refuses (400, 408, 413, 414, 417, 431, 501): returns status, header lines and body to
        send. The connection closes after it. `arrived`: the first byte of the refused request, or the head's end."""
        ...


class Answerer(Protocol):
    """Where an exchange's answer goes: its connection."""

    def respond(self, exchange: "Exchange", status: int, headers: bytes, body: bytes) -> None: ...

    def interim(self, exchange: "Exchange", status: int) -> None: ...

    def peer_subjects(self) -> tuple[str, ...]: ...


class Exchange:
    """Plain attributes: nothing here costs a call on the hot path.

    `path` and `query` are as sent, percent-encoding untouched, the `?` in neither. `headers`: in the order sent, names
    in lower case, without trailers; of an absolute-form target the `host` is the target's. `arrived`: seconds of the
    server's clock at the read that completed the head. `context` is the host's own.
    """

    __slots__ = (
        "answer",
        "answered",
        "arrived",
        "body",
        "closes",
        "connection",
        "context",
        "headers",
        "method",
        "path",
        "plain",
        "query",
        "version",
    )

    def __init__(
        self,
        method: str,
        path: str,
        query: str,
        version: str,
        headers: list[tuple[bytes, bytes]],
        arrived: float,
        connection: Answerer,
        closes: bool,
    ) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.version = version
        self.headers = headers
        self.arrived = arrived
        self.connection = connection
        self.closes = closes  # no request follows on this connection
        self.plain = not closes and version == "1.1" and method != "HEAD"  # nothing special about its answer's head
        self.body = b""
        self.context: Any = None
        self.answered = False
        self.answer: tuple[bytes, ...] | None = None  # ready, waiting for its turn in the pipeline

    def header(self, name: bytes) -> bytes | None:
        """The first value of `name` (lower case)."""
        for key, value in self.headers:
            if key == name:
                return value
        return None

    def respond(self, status: int, headers: bytes, body: bytes) -> None:
        """`headers`: ready lines, each ending in CRLF; status line, content-length and connection are added here.

        Drops the body for HEAD, 204 and 304. Does nothing where the client has gone. RuntimeError when called twice.
        """
        if self.answered:
            raise RuntimeError(f"{self.method} {self.path} was answered already")
        self.answered = True
        self.connection.respond(self, status, headers, body)

    def peer_subjects(self) -> tuple[str, ...]:
        """The names in the client's certificate, which was verified: its subject (RFC 4514), then `DNS:…` and `URI:…`.
        () without one. Worked out once a connection."""
        return self.connection.peer_subjects()

    def interim(self, status: int) -> None:
        """Sends an interim answer such as 102, unless others have to be answered first or the client can't read one."""
        self.connection.interim(self, status)
