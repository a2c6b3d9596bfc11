"""The page that the API server asks: one POST, an AdmissionReview each way. The host gives it TLS and a port."""

import json
from collections.abc import Callable

from starlette.applications import Starlette
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, PlainTextResponse, Response
from starlette.routing import Route

from plimsoll.backends.kubernetes.webhook.review import Context, NotAReview, review

WEBHOOK_PATH = "/validate"
MAX_BYTES = 8 << 20  # a review holds the new object and the old one, and an API server takes 3 MiB a request


def webhook_app(context: Callable[[], Context] = Context) -> Starlette:
    """`context` is asked at each question, on the event loop: it gives what is known, without waiting."""

    async def validate(request: Request) -> Response:
        raw = bytearray()
        try:
            async for part in request.stream():
                raw += part
                if len(raw) > MAX_BYTES:
                    return PlainTextResponse(f"more than {MAX_BYTES:,} bytes", 413)
        except ClientDisconnect:
            return Response(status_code=400)
        try:
            return JSONResponse(review(json.loads(raw), context=context()))
        except (NotAReview, ValueError, RecursionError) as error:
            why = str(error) if isinstance(error, NotAReview) else "expected JSON"
            return PlainTextResponse(why, 400)

    return Starlette(routes=[Route(WEBHOOK_PATH, validate, methods=["POST"])])
