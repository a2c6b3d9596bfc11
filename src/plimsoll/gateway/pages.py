"""What a gateway says of itself: health, its metrics, the protocol's server metadata."""

from collections.abc import Callable

from plimsoll import __version__
from plimsoll.core.errors import Invalid, NotFound
from plimsoll.core.outcome import Outcome
from plimsoll.telemetry.metrics import wants_openmetrics
from plimsoll.wire import oip
from plimsoll.wire.http1 import Exchange

_PAGES = {
    "/v2": oip.server_metadata(__version__),
    "/v2/health/live": oip.live_body(),
}
_TIMING = b"server-timing: gateway;dur=0.0\r\n"


def page(
    exchange: Exchange, *, ready: bool, metrics: Callable[[bool], tuple[str, bytes]] | None
) -> tuple[int, str, bytes]:
    """Status, content type, body. Raises NotFound, or Invalid (405). `metrics` renders them; None: not here."""
    path = exchange.path
    if path == "/metrics" and metrics is not None:
        _only_get(exchange)
        return 200, *metrics(wants_openmetrics(exchange.header(b"accept")))
    if path == "/v2/health/ready":
        _only_get(exchange)
        return 200 if ready else 503, "application/json", oip.server_ready_body(ready)
    body = _PAGES.get(path)
    if body is None:
        raise NotFound(f"no service answers {path[:200]}")
    _only_get(exchange)
    return 200, "application/json", body


def door_lines(outcome: Outcome, request_id: bytes) -> bytes:
    """The header lines of an answer that no replica had a part in."""
    return b"%bplimsoll-outcome: %b\r\nx-request-id: %b\r\n" % (_TIMING, outcome.encode(), request_id)


def _only_get(exchange: Exchange) -> None:
    if exchange.method not in {"GET", "HEAD"}:
        raise Invalid(f"{exchange.path} wants GET, not {exchange.method}", status=405)
