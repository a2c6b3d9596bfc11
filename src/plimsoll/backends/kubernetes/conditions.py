"""The conditions of a ModelService and their reasons: a closed vocabulary, as `kubectl wait` and people read it.

`Ready` is True while requests are answered; `WithinBudget` is never part of it. The shape is metav1.Condition's.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any


class Type(StrEnum):
    READY = "Ready"
    MODEL_LOADED = "ModelLoaded"
    ROUTE_READY = "RouteReady"
    CAPACITY_AVAILABLE = "CapacityAvailable"
    WITHIN_BUDGET = "WithinBudget"


class Reason(StrEnum):
    # Ready
    SERVING = "Serving"
    SCALED_TO_ZERO = "ScaledToZero"  # Ready: the first request is held while a replica starts
    STARTING = "Starting"
    ROLLING_OUT = "RollingOut"
    REVISION_FAILED = "RevisionFailed"  # Ready stays True while an older revision serves
    MODEL_NOT_PACKED = "ModelNotPacked"
    INVALID_SPEC = "InvalidSpec"
    SECRET_MISSING = "SecretMissing"
    IMAGE_PULL_FAILED = "ImagePullFailed"
    MODEL_FAILED = "ModelFailed"  # it started and could not load
    MODEL_FETCH_FAILED = "ModelFetchFailed"
    CRASH_LOOPING = "CrashLooping"
    FORBIDDEN = "Forbidden"  # the operator lacks a verb; the message names verb, resource and role
    APPLY_FAILED = "ApplyFailed"
    PAUSED = "Paused"
    TERMINATING = "Terminating"
    # CapacityAvailable
    SCHEDULED = "Scheduled"
    UNSCHEDULABLE = "Unschedulable"
    QUOTA_EXCEEDED = "QuotaExceeded"
    # RouteReady
    ROUTED = "Routed"
    GATEWAY_MISSING = "GatewayMissing"
    ROUTE_REFUSED = "RouteRefused"
    # ModelLoaded
    LOADED = "Loaded"
    NOT_LOADED = "NotLoaded"
    # WithinBudget
    WITHIN = "Within"
    LATENCY = "LatencyOverBudget"
    ERRORS = "ErrorsOverBudget"
    COST = "CostOverBudget"
    NO_METRICS = "NoMetrics"  # Unknown


@dataclass(frozen=True, slots=True)
class Condition:
    """`status`: True, False, or None for Unknown. `message`: a sentence that ends in the remedy where there is one."""

    type: Type
    status: bool | None
    reason: Reason
    message: str = ""

    @property
    def word(self) -> str:
        return "Unknown" if self.status is None else str(self.status)


def merged(
    before: Sequence[dict[str, Any]], new: Iterable[Condition], *, generation: int, now: str
) -> list[dict[str, Any]]:
    """metav1.Conditions in a stable order, `lastTransitionTime` kept where the status stays. `now`: RFC 3339. Those of
    types that `new` doesn't have stay as they are: others may write some."""
    known = {one["type"]: one for one in before}
    for condition in new:
        old = known.get(condition.type)
        same = old is not None and old.get("status") == condition.word
        known[condition.type] = {
            "type": str(condition.type),
            "status": condition.word,
            "reason": str(condition.reason),
            "message": condition.message,
            "observedGeneration": generation,
            "lastTransitionTime": old["lastTransitionTime"] if old is not None and same else now,
        }
    order = {str(one): place for place, one in enumerate(Type)}
    return sorted(known.values(), key=lambda one: (order.get(one["type"], len(order)), one["type"]))
