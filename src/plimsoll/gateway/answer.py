"""What a client is to get, before its head is complete; and what foreign servers' answers mean."""

from plimsoll.core.outcome import Outcome
from plimsoll.gateway.heads import Headers

_LARGEST_SAID = 256 * 2**20  # the longest body that a HEAD's answer may speak of


class Answer:
    """`lines`: header lines for the client; `timing`: what the replica said of its time."""

    __slots__ = ("body", "lines", "outcome", "revision_line", "status", "timing")

    def __init__(
        self, status: int, lines: bytes, body: bytes, outcome: Outcome, timing: bytes = b"", revision_line: bytes = b""
    ) -> None:
        self.status = status
        self.lines = lines
        self.body = body
        self.outcome = outcome
        self.timing = timing
        self.revision_line = revision_line


def outcome_of(status: int) -> Outcome:
    """For an upstream that doesn't say: any other server behind us."""
    if status < 400:
        return Outcome.OK
    return {401: Outcome.UNAUTHORIZED, 403: Outcome.UNAUTHORIZED, 404: Outcome.NOT_FOUND, 413: Outcome.TOO_LARGE,
            429: Outcome.THROTTLED, 503: Outcome.SHED, 504: Outcome.EXPIRED}.get(
        status, Outcome.INVALID if status < 500 else Outcome.MODEL_ERROR
    )  # fmt: skip


def as_long_as_said(headers: Headers) -> bytes:
    """For the answer to HEAD: it has no body, and the length that it tells is the one that GET's would have."""
    for name, value in headers:
        if name == b"content-length" and value.isdigit() and int(value) <= _LARGEST_SAID:
            return bytes(int(value))  # the kernel's zero pages, never touched
    return b""
