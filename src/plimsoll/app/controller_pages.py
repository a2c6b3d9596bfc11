"""What the controller answers over plain HTTP on its metrics port: health, metrics, how services do, what happened."""

from collections.abc import Callable, Mapping, Sequence

from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route
from starlette.types import ASGIApp

from plimsoll.backends.kubernetes.names import LIVE_PATH, READY_PATH
from plimsoll.control.timeline import Event, Timeline
from plimsoll.telemetry.metrics import Metrics

STATUS_PATH = "/plimsoll/status"
EVENTS_PATH = "/plimsoll/events"
_MOST_EVENTS = 1000


def controller_app(
    metrics: Metrics,
    *,
    ready: Callable[[], str],
    live: Callable[[], str],
    figures: Callable[[], Sequence[Mapping[str, object]]],
    timeline: Timeline,
) -> ASGIApp:
    """`ready`, `live`: why it isn't, "" when it is."""

    def health(why: Callable[[], str], word: str) -> Callable[[Request], Response]:
        def answer(_: Request) -> Response:
            told = why()
            return PlainTextResponse(f"{told or word}\n", 503 if told else 200)

        return answer

    async def is_live(request: Request) -> Response:
        return health(live, "live")(request)

    async def is_ready(request: Request) -> Response:
        return health(ready, "ready")(request)

    async def exposition(request: Request) -> Response:
        kind, text = metrics.render("application/openmetrics-text" in request.headers.get("accept", ""))
        return Response(text, media_type=kind)

    async def status(_: Request) -> Response:
        return JSONResponse([dict(one) for one in figures()])

    async def events(request: Request) -> Response:
        """`since`: a sequence number; `service`: NAMESPACE/NAME."""
        try:
            since = int(request.query_params.get("since", "0"))
        except ValueError:
            return PlainTextResponse("since is no number\n", 400)
        service = request.query_params.get("service")
        found = [one for one in timeline.since(since) if service in {None, one.service}]
        return JSONResponse([_event(one) for one in found[-_MOST_EVENTS:]])

    return Starlette(
        routes=[
            Route(LIVE_PATH, is_live),
            Route(READY_PATH, is_ready),
            Route("/metrics", exposition),
            Route(STATUS_PATH, status),
            Route(EVENTS_PATH, events),
        ]
    )


def _event(event: Event) -> dict[str, object]:
    return {
        "seq": event.seq,
        "at": event.at,
        "service": event.service,
        "kind": str(event.kind),
        "level": str(event.level),
        "message": event.message,
        "details": dict(event.details),
    }
