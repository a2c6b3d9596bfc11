"""What became of a request: one closed vocabulary for response, metric label, log and report.

Only the edge (`wire.status`) maps outcomes to status codes.
"""

from enum import StrEnum


class Outcome(StrEnum):
    OK = "ok"
    DEGRADED = "degraded"  # answered by a fallback
    CACHED = "cached"

    SHED = "shed"  # would miss its deadline, or the queue is full
    THROTTLED = "throttled"  # the tenant is over its quota
    UNAUTHORIZED = "unauthorized"
    INVALID = "invalid"
    TOO_LARGE = "too_large"
    NOT_FOUND = "not_found"

    EXPIRED = "expired"  # the deadline passed in the queue
    NO_REPLICA = "no_replica"
    MODEL_ERROR = "model_error"
    REPLICA_LOST = "replica_lost"
    CANCELLED = "cancelled"  # the client went away


ANSWERED = frozenset({Outcome.OK, Outcome.DEGRADED, Outcome.CACHED})

# What the error budget counts, over everything but what the client got wrong. Late answers count against latency.
ERRORS = frozenset({Outcome.SHED, Outcome.EXPIRED, Outcome.NO_REPLICA, Outcome.REPLICA_LOST, Outcome.MODEL_ERROR})

CLIENTS_DOING = frozenset(
    {
        Outcome.INVALID,
        Outcome.UNAUTHORIZED,
        Outcome.THROTTLED,
        Outcome.NOT_FOUND,
        Outcome.TOO_LARGE,
        Outcome.CANCELLED,
    }
)
