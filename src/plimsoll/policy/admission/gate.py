"""Whether a replica takes a request: only if it is predicted to be answered in time. See docs/admission.md.

The queue predicts when a newcomer would be answered; the gate holds that against the newcomer's time: its p99 budget,
or its deadline where that is sooner. What does not fit is refused at once, so that those who were taken keep their
budget and whoever was refused can go elsewhere. Bounds in items and bytes guard the memory.
"""

from dataclasses import dataclass
from math import inf

from plimsoll.core.request import Request
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.admission.limiter import ConcurrencyLimit
from plimsoll.policy.admission.quota import Refuse


@dataclass(frozen=True, slots=True)
class GateSettings:
    """`share`: of a request's time that a prediction may fill; the rest is for what nobody foresees."""

    share: float = 0.88
    margin_sd: float = 2.0  # deviations of the service time added to predicted finishes
    overhead_s: float = 0.0005  # from the model's answer to the last byte sent
    max_items: int = 20_000  # waiting; beyond it a request is refused whatever its time
    max_bytes: int = 512 * 1024 * 1024  # of bodies in hand

    def __post_init__(self) -> None:
        if not 0.0 < self.share <= 1.0 or self.max_items < 1 or self.max_bytes < 1:
            raise ValueError(f"share must lie in (0, 1], max_items and max_bytes must be at least 1, not {self}")


_FULL = "the queue is full"
_BYTES = "too many bytes of requests are in hand"
_LIMIT = "as many requests as may run before anything is known of the model are in flight"
_LATE = "the replica is overloaded: the answer would come after the latency budget or the deadline"
_NEVER = "the latency budget or the deadline is shorter than one call of the model takes"


class AdmissionGate:
    """`limit` is asked as long as the service time isn't known (`samples` of 0)."""

    __slots__ = ("_late", "_never", "limit", "settings")

    def __init__(self, settings: GateSettings | None = None, limit: ConcurrencyLimit | None = None) -> None:
        self.settings = settings or GateSettings()
        self.limit = limit or ConcurrencyLimit()
        self._late = [Refuse(_LATE, float(seconds)) for seconds in range(1, 61)]  # making one costs 0.3 us
        self._never = Refuse(_NEVER, 1.0)

    def guard(self, items: int, held_bytes: int, more_bytes: int = 0) -> Refuse | None:
        """The memory's bounds. `items` waiting with the newcomer's; `held_bytes` in hand without its `more_bytes`: one
        body larger than the bound is still taken when nothing else is in hand."""
        if items > self.settings.max_items:
            return Refuse(_FULL, 1.0)
        if held_bytes and held_bytes + more_bytes > self.settings.max_bytes:
            return Refuse(_BYTES, 1.0)
        return None

    def room_s(self, budget_s: float, service_time: ServiceTime, lag_s: float = 0.0) -> float:
        """A request that has `budget_s` from its arrival, and arrives now, is taken by `decide` where its predicted
        finish is at most that. A host may ask for it once for many requests."""
        if not service_time.samples:
            return -inf
        settings = self.settings
        margin_s = settings.margin_sd * service_time.sd_s + settings.overhead_s + 2.0 * lag_s
        return settings.share * budget_s - margin_s

    def decide(
        self,
        request: Request,
        now: float,
        *,
        finish_s: float,
        probe: bool = False,
        service_time: ServiceTime,
        lag_s: float = 0.0,
        in_flight: int = 0,
    ) -> Refuse | None:
        """None: take it. `finish_s`: predicted from now to its answer. `probe`: nothing has run for a while, so one may
        go whatever is predicted, for only a batch can mend a wrong estimate. `lag_s`: how late the event loop is; what
        was read now may have waited that long in the kernel's buffers, and its answer leaves that much later.

        With nothing learned only the concurrency limit speaks, of `in_flight` requests.
        """
        if not service_time.samples:
            return None if self.limit.admits(in_flight) else Refuse(_LIMIT, 1.0)
        budget_s = _budget_s(request)
        if budget_s == inf:
            return None
        settings = self.settings
        least_s = settings.margin_sd * service_time.sd_s + settings.overhead_s
        margin_s = least_s + 2.0 * lag_s
        # With nobody before it there is nothing to mispredict but its own batch.
        allowed_s = settings.share * budget_s if in_flight else budget_s
        late_s = now + finish_s + margin_s - request.arrived - allowed_s
        if late_s <= 0.0 or probe:
            return None
        if service_time.predict(request.size) + least_s > budget_s:
            return self._never
        return self._late[min(int(late_s), 59)]


def _budget_s(request: Request) -> float:
    """From its arrival to its target, or its deadline where that is sooner."""
    target, deadline = request.target, request.deadline
    return (target if target < deadline else deadline) - request.arrived
