"""A replica's second port, for those who look after it: health, `/metrics`, and its reports as a stream of JSON lines.

On a cluster the kubelet, Prometheus and the controller ask here; the serving port is the clients'. The stream says what
the status pipe tells a local owner (docs/processes.md): first how things stand (`ready`, `draining`, `unready`), then
each event as it comes, `load` once a second.

Who asks whether it is ready with `plimsoll-wait: 2` is answered as soon as it is, or after two seconds that it isn't
yet: a kubelet looks once a second at most, and the request that started this replica waits for that look.
"""

import asyncio
import json
from collections.abc import Callable
from typing import Any

from plimsoll.core.errors import Invalid, NotFound, RequestError
from plimsoll.server.pages import Pages
from plimsoll.wire.http1 import Exchange, HttpServer, HttpSettings, Stream
from plimsoll.wire.status import refusal, retry_after

STATE_PATH = "/plimsoll/state"
_JSON_LINES = b"content-type: application/x-ndjson\r\ncache-control: no-store\r\n"
READY_PATH = "/v2/health/ready"
WAIT_HEADER = b"plimsoll-wait"
_LONGEST_WAIT_S = 30
_MOST_CONNECTIONS = 64  # probes, Prometheus, two controllers and somebody with curl


class StatusPort:
    """`owner` gets the reports, too."""

    def __init__(self, address: str, pages: Pages, owner: Callable[[dict[str, Any]], None]) -> None:
        self._listen, self._pages, self._owner = address, pages, owner
        self._streams: dict[Exchange, Stream] = {}
        self._waiting: dict[Exchange, asyncio.TimerHandle] = {}
        self._standing = b""  # the last event that was no `load`
        settings = HttpSettings(max_connections=_MOST_CONNECTIONS, max_body_bytes=0, half_close=False)
        self._http = HttpServer(self, settings)
        self.address = ""

    async def start(self) -> None:
        """Raises HostError: the address is taken."""
        self.address = await self._http.start(self._listen)

    async def close(self) -> None:
        for stream in self._streams.values():
            stream.end()
        self._streams.clear()
        self._wake()
        await self._http.close(0)

    def report(self, event: dict[str, Any]) -> None:
        self._owner(event)
        line = json.dumps(event).encode() + b"\n"
        if event["event"] != "load":
            self._standing = line
            self._wake()
        for stream in self._streams.values():
            stream.send(line)

    # --- wire.http1.Application -------------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> None:
        try:
            if exchange.path == STATE_PATH:
                self._stream(exchange)
            elif not self._waits(exchange):
                self._page(exchange)
        except RequestError as error:
            exchange.respond(*refusal(error))

    def on_gone(self, exchange: Exchange) -> None:
        self._streams.pop(exchange, None)
        if (timer := self._waiting.pop(exchange, None)) is not None:
            timer.cancel()

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        return refusal(error)

    def _stream(self, exchange: Exchange) -> None:
        if exchange.method != "GET":
            raise Invalid(f"{STATE_PATH} wants GET, not {exchange.method}", status=405)
        stream = Stream.begin(exchange, _JSON_LINES)
        if stream is None:
            raise Invalid(f"{STATE_PATH} has no end: ask for it once a connection")
        self._streams[exchange] = stream
        if self._standing:
            stream.send(self._standing)

    def _waits(self, exchange: Exchange) -> bool:
        """Whether it is answered later."""
        seconds = exchange.header(WAIT_HEADER)
        # What has stood as something else than starting (it drains, its model failed) won't be ready.
        if seconds is None or exchange.path != READY_PATH or self._pages.ready or self._standing:
            return False
        if not seconds.isdigit() or int(seconds) > _LONGEST_WAIT_S:
            return False
        loop = asyncio.get_running_loop()
        self._waiting[exchange] = loop.call_later(int(seconds), self._answer_waiting, exchange)
        return True

    def _wake(self) -> None:
        for exchange in list(self._waiting):
            self._answer_waiting(exchange)

    def _answer_waiting(self, exchange: Exchange) -> None:
        self._waiting.pop(exchange).cancel()
        self._page(exchange)

    def _page(self, exchange: Exchange) -> None:
        answer = self._pages.answer(exchange.path, exchange.method, exchange.header(b"accept") or b"")
        if answer is None:
            raise NotFound(f"nothing answers {exchange.path[:200]} here: health, /metrics and {STATE_PATH} do")
        status, content_type, body = answer
        lines = b"content-type: %b\r\n" % content_type + (retry_after(1) if status == 503 else b"")
        exchange.respond(status, lines, body)
