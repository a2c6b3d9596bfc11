"""What a client's head asks of us: its id, how much time is left, how important it is."""

from plimsoll.core.errors import Invalid
from plimsoll.core.ids import request_id_from
from plimsoll.gateway.heads import Headers
from plimsoll.wire import deadline as wire_deadline

_READ = frozenset({b"x-request-id", b"plimsoll-priority", *wire_deadline.HEADERS})
_MOST = 1_000_000  # either way


class Asked:
    """`left_s`: None where the client names no deadline. `priority`: higher wins; it is capped where it is used."""

    __slots__ = ("left_s", "priority", "request_id")

    def __init__(self) -> None:
        self.left_s: float | None = None
        self.priority = 0
        self.request_id: str | None = None


def read_head(headers: Headers) -> Asked:
    """Raises Invalid for a deadline or a priority that is none."""
    asked = Asked()
    for name, value in headers:
        if name in _READ:
            if name == b"x-request-id":
                asked.request_id = request_id_from(value)
            elif name == b"plimsoll-priority":
                asked.priority = _priority(value)
            elif asked.left_s is None or name == wire_deadline.DEADLINE:
                asked.left_s = wire_deadline.time_left(name, value)
    return asked


def _priority(value: bytes) -> int:
    digits = value[1:] if value[:1] in (b"-", b"+") else value
    if not digits.isdigit() or len(digits) > 7:
        raise Invalid("plimsoll-priority wants a whole number, higher wins: 5")
    return max(-_MOST, min(int(value), _MOST))
