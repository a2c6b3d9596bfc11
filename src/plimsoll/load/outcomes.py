"""How a request ended, by name: our own outcomes, and what only a client sees."""

from plimsoll.core.outcome import ANSWERED, CLIENTS_DOING, ERRORS, Outcome

HUNG = "hung"  # sent, and no answer within the timeout
UNSENT = "unsent"  # no connection came free within the timeout, or this client was too slow
CONNECTION_LOST = "connection_lost"  # it ended before the answer was complete
CONNECT_REFUSED = "connect_refused"
CONNECT_TIMEOUT = "connect_timeout"
CONNECT_FAILED = "connect_failed"

ACCEPTED = frozenset(outcome.value for outcome in ANSWERED)
REFUSED = frozenset(
    outcome.value
    for outcome in (
        Outcome.SHED,
        Outcome.THROTTLED,
        Outcome.UNAUTHORIZED,
        Outcome.INVALID,
        Outcome.TOO_LARGE,
        Outcome.NOT_FOUND,
    )
)
_CLIENTS = frozenset(outcome.value for outcome in CLIENTS_DOING)
_ERRORS = frozenset(outcome.value for outcome in ERRORS)

_BY_HEADER = {outcome.value.encode(): outcome.value for outcome in Outcome}
_BY_STATUS = {
    400: Outcome.INVALID, 405: Outcome.INVALID, 408: Outcome.INVALID, 411: Outcome.INVALID, 415: Outcome.INVALID,
    422: Outcome.INVALID, 431: Outcome.INVALID, 401: Outcome.UNAUTHORIZED, 403: Outcome.UNAUTHORIZED,
    404: Outcome.NOT_FOUND, 413: Outcome.TOO_LARGE, 429: Outcome.THROTTLED, 500: Outcome.MODEL_ERROR,
    503: Outcome.SHED, 504: Outcome.EXPIRED,
}  # fmt: skip


def outcome_of(status: int, header: bytes | None) -> str:
    """By the answer's `plimsoll-outcome`; a foreign server's by its status, `http_302` where no outcome means it."""
    if header is not None:
        told = _BY_HEADER.get(header)
        if told is not None:
            return told
    if 200 <= status < 300:
        return Outcome.OK.value
    known = _BY_STATUS.get(status)
    return known.value if known is not None else f"http_{status}"


def is_error(outcome: str) -> bool:
    """What the error budget counts: also what never came back, and a foreign server's unnamed 5xx."""
    return outcome in _ERRORS or (
        outcome not in ACCEPTED and outcome not in _CLIENTS and outcome != UNSENT and not _foreign_4xx(outcome)
    )


def counts_for_errors(outcome: str) -> bool:
    """Whether it stands in the error rate's denominator: everything but what the client got wrong."""
    return outcome not in _CLIENTS and outcome != UNSENT and not _foreign_4xx(outcome)


def _foreign_4xx(outcome: str) -> bool:
    return outcome.startswith(("http_3", "http_4"))
