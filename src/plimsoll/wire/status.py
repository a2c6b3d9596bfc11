"""Outcomes to HTTP: status code, reason body, headers. The one place where a status code is chosen.

503 is ours (tools that watch 5xx must see an overload), 429 is the client's own doing. Both carry `Retry-After`
(RFC 9110 section 10.2.3) in whole seconds. 499 is nobody's standard and never sent: the client has left.
"""

import math

import msgspec

from plimsoll.core.errors import Invalid, RequestError, Unauthorized
from plimsoll.core.outcome import Outcome

STATUS: dict[Outcome, int] = {
    Outcome.OK: 200,
    Outcome.DEGRADED: 200,
    Outcome.CACHED: 200,
    Outcome.SHED: 503,
    Outcome.THROTTLED: 429,
    Outcome.UNAUTHORIZED: 401,
    Outcome.INVALID: 400,
    Outcome.TOO_LARGE: 413,
    Outcome.NOT_FOUND: 404,
    Outcome.EXPIRED: 504,
    Outcome.NO_REPLICA: 503,
    Outcome.MODEL_ERROR: 500,
    Outcome.REPLICA_LOST: 503,
    Outcome.CANCELLED: 499,
}

_REASON_LIMIT = 2000  # characters: a reason may quote a model author's exception
_encode = msgspec.json.Encoder().encode


def status_of(error: RequestError) -> int:
    """The status code of an error; `Invalid` names a closer one than 400 itself, `Unauthorized` 401 or 403."""
    return error.status if isinstance(error, Invalid | Unauthorized) else STATUS[error.outcome]


def error_body(reason: str) -> bytes:
    """`{"error": reason}` and a newline, whatever `reason` holds: one line, at most 2000 characters, valid UTF-8."""
    line = " ".join(reason.split())
    if len(line) > _REASON_LIMIT:
        line = line[:_REASON_LIMIT] + "…"
    try:
        return _encode({"error": line}) + b"\n"
    except UnicodeEncodeError:  # a lone surrogate, from an author's exception
        return _encode({"error": line.encode("utf-8", "replace").decode()}) + b"\n"


def retry_after(seconds: float | None) -> bytes:
    """The header line. Whole seconds, at least 1: a client told 0 comes back at once."""
    whole = 1 if seconds is None or not math.isfinite(seconds) else max(1, math.ceil(seconds))
    return b"retry-after: %d\r\n" % whole


def refusal(error: RequestError) -> tuple[int, bytes, bytes]:
    """(status, header lines, body) of the answer that tells a client about `error`."""
    status = status_of(error)
    headers = b"content-type: application/json\r\n"
    if status in {429, 503}:
        headers += retry_after(error.retry_after_s)
    elif status == 401:  # RFC 9110 section 15.5.2: it must say how to authenticate
        headers += b"www-authenticate: Bearer\r\n"
    return status, headers, error_body(error.reason)
