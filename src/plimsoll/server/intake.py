"""From an HTTP exchange to a queued request, and back: what a replica says on the wire.

A request's way: `on_request` → `_infer` (head, decode) → `Engine.submit` → `finished` (encode, answer, count). A body
over `bulk_bytes` takes a detour through the codec process on either leg.
"""

import asyncio
from contextlib import suppress
from random import Random
from time import monotonic

from plimsoll.core.errors import Expired, Invalid, ModelFailed, NoReplica, NotFound, RequestError
from plimsoll.core.ids import new_request_id, request_id_from
from plimsoll.core.outcome import Outcome
from plimsoll.core.request import Items, Outputs, Request, Tensors
from plimsoll.core.tensors import ModelInfo
from plimsoll.server.bulk import BulkCodec
from plimsoll.server.engine import Ending, Engine
from plimsoll.server.framing import Sealed
from plimsoll.server.pages import Pages
from plimsoll.server.parts import exceeds
from plimsoll.server.record import Record
from plimsoll.server.settings import ReplicaSettings
from plimsoll.telemetry.server_timing import NOTHING, header, replica_timing
from plimsoll.wire import deadline as wire_deadline
from plimsoll.wire.codec import Codec, Decoded, codec_named
from plimsoll.wire.http1 import Exchange
from plimsoll.wire.oip import binary_refused
from plimsoll.wire.status import refusal, retry_after

_DEADLINES = frozenset(wire_deadline.HEADERS)
_HOP_HEADERS = frozenset({b"plimsoll-alone", b"plimsoll-tenant", b"plimsoll-weight", b"plimsoll-priority"})
_UNDECODED = Items([])
_MOST_WEIGHT = 1e6
_PRIORITIES = 1000  # either way; each one in use has a place of its own in the queue


class Context:
    """What an exchange carries from its head to its answer. `left_s`: the deadline that the head named, if any."""

    __slots__ = (
        "alone", "body_bytes", "codec", "decoded", "exchange", "gone", "left_s", "priority", "request", "request_id",
        "tenant", "trusted", "weight",
    )  # fmt: skip

    def __init__(self, exchange: Exchange, codec: Codec) -> None:
        self.exchange = exchange
        self.codec = codec
        self.request_id = ""
        self.body_bytes = 0
        self.left_s: float | None = None
        self.alone = False
        self.priority = 0
        self.tenant = ""
        self.weight = 1.0
        self.decoded: Decoded | None = None
        self.request: Request | None = None
        self.gone = False
        self.trusted = False

    def read_head(self, *, trusted: bool) -> None:
        """Raises Invalid. Tenant, priority and retry marks are a trusted hop's to set; others' are not even read."""
        for name, value in self.exchange.headers:
            if name == b"x-request-id":
                self.request_id = request_id_from(value) or ""
            elif name in _DEADLINES:
                if self.left_s is None or name == wire_deadline.DEADLINE:
                    self.left_s = wire_deadline.time_left(name, value)
            elif name == b"content-encoding" and value.strip().lower() not in {b"", b"identity"}:
                encoding = value[:40].decode("latin-1")
                raise Invalid(f"content-encoding {encoding} is not supported; send the body plain", status=415)
            elif name == b"inference-header-content-length":
                raise binary_refused()
            elif trusted and name in _HOP_HEADERS:
                self._read_hop(name, value)

    def _read_hop(self, name: bytes, value: bytes) -> None:
        if name == b"plimsoll-alone":
            self.alone = True
        elif name == b"plimsoll-tenant":
            self.tenant = value.decode("latin-1")
        elif name == b"plimsoll-weight":
            with suppress(ValueError):
                weight = float(value)
                if 0.0 < weight <= _MOST_WEIGHT:
                    self.weight = weight
        else:
            with suppress(ValueError):
                self.priority = max(-_PRIORITIES, min(_PRIORITIES, int(value)))


class Intake:
    """The replica's `Application`. Until `open` it answers health and metadata, and 503 to everything else."""

    def __init__(self, settings: ReplicaSettings, pages: Pages, record: Record, random: Random) -> None:
        self._settings = settings
        self._pages = pages
        self._record = record
        self._getrandbits = random.getrandbits
        self._now = monotonic
        self._info: ModelInfo | None = None
        self._engine: Engine | None = None
        self._bulk: BulkCodec | None = None
        self._decoding: dict[Context, float] = {}  # with the codec process: the deadlines
        self._plain = codec_named("plain")
        self._codecs = self._paths()
        revision = f"plimsoll-revision: {settings.revision}\r\n".encode()
        self._tails = {outcome: b"plimsoll-outcome: %b\r\n" % outcome.encode() + revision for outcome in Outcome}
        self.load_line = b""  # ORCA's endpoint-load-metrics, renewed by the host a few times a second
        self.in_flight = 0
        self.held_bytes = 0  # of the bodies of requests in flight

    def open(self, info: ModelInfo, engine: Engine, bulk: BulkCodec) -> None:
        self._info, self._engine, self._bulk = info, engine, bulk

    def _paths(self) -> dict[str, Codec]:
        name, revision = self._settings.service, self._settings.revision
        oip = codec_named("oip")
        paths: dict[str, Codec] = {
            f"/v2/models/{name}/infer": oip,
            f"/v2/models/{name}/versions/{revision}/infer": oip,
            f"/v1/models/{name}:predict": codec_named("kserve_v1"),
        }
        return paths | dict.fromkeys(self._settings.routes, self._plain)

    # --- wire.http1.Application -------------------------------------------------------------------------------------

    def on_request(self, exchange: Exchange) -> None:
        self.in_flight += 1
        path = exchange.path
        codec = self._codecs.get(path)
        try:
            if codec is None and self._trusts(exchange) and not path.startswith(("/v1", "/v2", "/metrics")):
                codec = self._plain  # our gateway knows the service's routes of today; a replica, those of its start
            if codec is None:
                self._page(exchange)
            elif exchange.method != "POST":
                raise Invalid(f"{exchange.path} wants POST, not {exchange.method}", status=405)
            else:
                self._infer(exchange, codec)
        except RequestError as error:
            self._refuse(exchange, error)
        except Exception as error:  # a bug of ours must cost one request, not the connection or the replica
            self._refuse(exchange, ModelFailed(f"internal error: {type(error).__name__}: {error}"))
            asyncio.get_running_loop().call_exception_handler({"message": "request failed", "exception": error})

    def on_gone(self, exchange: Exchange) -> None:
        context = exchange.context
        if isinstance(context, Context) and not context.gone:
            context.gone = True
            self._decoding.pop(context, None)
            request, engine = context.request, self._engine
            if request is None or engine is None or context.decoded is None or engine.cancel(request):
                self._count(exchange, Outcome.CANCELLED, 0.0, 0.0)
            # A running one is counted when its batch ends: its compute time was spent all the same.

    def on_refused(self, error: RequestError, arrived: float) -> tuple[int, bytes, bytes]:
        self._record.refused(error.outcome, self._now() - arrived)
        status, headers, body = refusal(error)
        made = new_request_id(self._getrandbits)  # whatever the client sent was not read to its end
        return status, headers + self._unqueued(error.outcome, made), body

    # --- the way in -------------------------------------------------------------------------------------------------

    def _infer(self, exchange: Exchange, codec: Codec) -> None:
        settings, info = self._settings, self._info
        context = exchange.context = Context(exchange, codec)
        context.trusted = self._trusts(exchange)
        context.read_head(trusted=context.trusted)
        if not context.request_id:
            context.request_id = new_request_id(self._getrandbits)
        if info is None:
            raise NoReplica("the model is still loading", retry_after_s=1)
        body = exchange.body
        held_bytes = self.held_bytes
        context.body_bytes = more_bytes = len(body)
        self.held_bytes = held_bytes + more_bytes
        arrived = exchange.arrived
        target = deadline = arrived + self._time_for(context)
        if settings.target_s is not None and arrived + settings.target_s < deadline:
            target = arrived + settings.target_s
        # Until it is decoded it counts as one item.
        request = context.request = Request(
            context.request_id,
            arrived,
            target,
            deadline,
            1,
            None,
            _UNDECODED,
            context.priority,
            context.tenant,
            context.weight,
            context.alone,
            0.0,
            context,
        )
        engine = self._engine
        assert engine is not None
        error = engine.refusal(request, held_bytes, more_bytes)
        if error is not None:
            self._refuse(exchange, error)
        elif more_bytes > settings.bulk_bytes:
            self._decode_in_bulk(context)
        else:
            self._queue(context, codec.decode(body, info), decided=True)

    def _queue(self, context: Context, decoded: Decoded, *, decided: bool) -> None:
        """`decided`: it was admitted a moment ago, as one item."""
        engine, request = self._engine, context.request
        assert engine is not None
        assert request is not None
        context.decoded = decoded
        request.size, request.key, request.inputs = decoded.size, decoded.key, decoded.inputs
        if not decided or decoded.size > 1:
            error = engine.refusal(request)
            if error is not None:
                self._refuse(context.exchange, error)
                return
        engine.submit(request)

    def _trusts(self, exchange: Exchange) -> bool:
        """Is it one of our own gateways?"""
        settings = self._settings
        if settings.trusted or not settings.trusted_peers:
            return settings.trusted
        return any(name in settings.trusted_peers for name in exchange.peer_subjects())

    def _time_for(self, context: Context) -> float:
        """Seconds from its arrival to its deadline."""
        left_s, timeout_s = context.left_s, self._settings.timeout_s
        # Our own gateway has applied the service's timeout, and may have held the request before it was sent on.
        return left_s if left_s is not None and (context.trusted or left_s < timeout_s) else timeout_s

    def check(self, now: float) -> None:
        """The host's timer calls this often: answers what expired before the codec process came to it."""
        if self._decoding:
            for context in [context for context, deadline in self._decoding.items() if deadline <= now]:
                del self._decoding[context]
                context.gone = True
                self._refuse(context.exchange, Expired("the deadline passed while the body waited to be decoded"))

    def _decode_in_bulk(self, context: Context) -> None:
        def decoded(result: Decoded | RequestError) -> None:
            self._decoding.pop(context, None)
            if context.gone:
                return
            if isinstance(result, RequestError):
                self._refuse(context.exchange, result)
            else:
                self._queue(context, result, decided=False)

        assert self._bulk is not None
        self._decoding[context] = context.exchange.arrived + self._time_for(context)
        self._bulk.decode(context.codec, context.exchange.body, decoded)

    def _page(self, exchange: Exchange) -> None:
        """Not counted as a request: probes and scrapes would drown the traffic."""
        elsewhere = exchange.path == "/metrics" and self._settings.status is not None
        page = self._pages.answer
        answer = None if elsewhere else page(exchange.path, exchange.method, exchange.header(b"accept") or b"")
        if answer is None:
            raise NotFound(f"nothing answers {exchange.path[:200]}; this replica serves {self._settings.service}")
        status, content_type, body = answer
        self.in_flight -= 1
        outcome = Outcome.OK if status == 200 else Outcome.NO_REPLICA
        headers = b"content-type: %b\r\n" % content_type + (retry_after(1) if status == 503 else b"")
        exchange.respond(status, headers + self._unqueued(outcome, self._request_id(exchange)), body)

    # --- the way out ------------------------------------------------------------------------------------------------

    def begin_alone(self, request: Request) -> None:
        """Tells the gateway that this one is being computed now: if we die, it was its doing."""
        request.context.exchange.interim(102)

    def finished(self, request: Request, ending: Ending) -> None:
        context: Context = request.context
        if context.gone:
            if ending.batch:
                self._count(context.exchange, Outcome.CANCELLED, ending.queue_s, ending.compute_s)
            return
        outputs = ending.outputs
        if outputs is None:
            assert ending.error is not None
            self._refuse(context.exchange, ending.error, ending)
            return
        decoded, info = context.decoded, self._info
        assert decoded is not None
        assert info is not None
        try:
            if _is_large(outputs, self._settings.bulk_items):
                self._encode_in_bulk(context, outputs, ending)
                return
            body = context.codec.encode(decoded, info, outputs, self._settings.revision)
        except RequestError as error:
            self._refuse(context.exchange, error, ending)
            return
        except Exception as error:  # an author's own model_dump; its batch mates still wait for their answers
            told = ModelFailed(f"the result has no JSON form: {type(error).__name__}: {error}")
            self._refuse(context.exchange, told, ending)
            return
        self._answer(context, body, ending)

    def _encode_in_bulk(self, context: Context, outputs: Outputs, ending: Ending) -> None:
        def encoded(result: bytes | RequestError) -> None:
            if context.gone:
                self._count(context.exchange, Outcome.CANCELLED, ending.queue_s, ending.compute_s)
            elif isinstance(result, RequestError):
                self._refuse(context.exchange, result, ending)
            else:
                self._answer(context, result, ending)

        assert self._bulk is not None
        assert context.decoded is not None
        self._bulk.encode(context.codec, context.decoded, outputs, self._settings.revision, encoded)

    def _answer(self, context: Context, body: bytes, ending: Ending) -> None:
        context.exchange.respond(
            200,
            b"content-type: application/json\r\n"
            b"server-timing: %b\r\nx-request-id: %b\r\n%b%b"
            % (
                replica_timing(ending.queue_s, ending.compute_s),
                context.request_id.encode(),
                self._tails[Outcome.OK],
                self.load_line,
            ),
            body,
        )
        self._count(context.exchange, Outcome.OK, ending.queue_s, ending.compute_s)

    def _refuse(self, exchange: Exchange, error: RequestError, ending: Ending | None = None) -> None:
        queue_s, compute_s = (ending.queue_s, ending.compute_s) if ending else (0.0, 0.0)
        status, headers, body = refusal(error)
        if status == 405:
            headers += b"allow: POST\r\n" if exchange.path in self._codecs else b"allow: GET, HEAD\r\n"
        context = exchange.context
        request_id = context.request_id if isinstance(context, Context) else ""
        tail = b"server-timing: %b\r\nx-request-id: %b\r\n%b%b" % (
            replica_timing(queue_s, compute_s),
            (request_id or self._request_id(exchange)).encode(),
            self._tails[error.outcome],
            self.load_line,
        )
        exchange.respond(status, headers + tail, body)
        self._count(exchange, error.outcome, queue_s, compute_s)

    def _request_id(self, exchange: Exchange) -> str:
        return request_id_from(exchange.header(b"x-request-id")) or new_request_id(self._getrandbits)

    def _unqueued(self, outcome: Outcome, request_id: str) -> bytes:
        """The header lines that every answer has, of one that never queued."""
        timing = header(NOTHING)
        return timing + b"x-request-id: %b\r\n%b%b" % (request_id.encode(), self._tails[outcome], self.load_line)

    def _count(self, exchange: Exchange, outcome: Outcome, queue_s: float, compute_s: float) -> None:
        self.in_flight -= 1
        self._record.ended(outcome, self._now() - exchange.arrived, queue_s, compute_s)
        context = exchange.context
        if context is not None:
            self.held_bytes -= context.body_bytes
            # Cut the ring exchange → context → request → context: as garbage it took 7% of a replica's time.
            context.request = exchange.context = None


def _is_large(outputs: Outputs, items: int) -> bool:
    if isinstance(outputs, Tensors):
        for array in outputs.arrays.values():
            items -= array.size
        return items < 0
    return exceeds(outputs.values, items) or isinstance(outputs, Sealed)
