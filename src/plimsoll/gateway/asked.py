"""What a client's head asks of us: its id, how much time is left, how important it is."""

from plimsoll.core.errors import Invalid
from plimsoll.core.ids import request_id_from
from plimsoll.gateway.heads import Headers
from plimsoll.wire import deadline as wire_deadline

_READ = frozenset({b"x-request-id", b"plimsoll-priority", *wire_deadline.HEADERS})
_MOST = 1_000_000  # either way


def read_head(headers: Headers) -> tuple[bytes | None, float | None, int]:
    """The client's request id; seconds that it leaves us (None: it names no deadline); its priority, higher wins, to be
    capped where it is used. Raises Invalid for a deadline or a priority that is none."""
    request_id: bytes | None = None
    left_s: float | None = None
    priority = 0
    for name, value in headers:
        if name in _READ:
            if name == b"x-request-id":
                request_id = None if request_id_from(value) is None else value
            elif name == b"plimsoll-priority":
                priority = _priority(value)
            elif left_s is None or name == wire_deadline.DEADLINE:
                left_s = wire_deadline.time_left(name, value)
    return request_id, left_s, priority


def _priority(value: bytes) -> int:
    digits = value[1:] if value[:1] in (b"-", b"+") else value
    if not digits.isdigit() or len(digits) > 7:
        raise Invalid("plimsoll-priority wants a whole number, higher wins: 5")
    return max(-_MOST, min(int(value), _MOST))
