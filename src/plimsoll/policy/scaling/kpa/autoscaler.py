"""Knative's autoscaler in its own terms: pods wanted, from the observed concurrency or requests a second.

Source: knative/serving, pkg/autoscaler/scaling/autoscaler.go (`Scale`), multiscaler.go (`DeciderSpec`).
"""

from dataclasses import dataclass
from math import ceil, floor

from plimsoll.policy.scaling.kpa.windows import LargestOf

TICK_S = 2.0


@dataclass(frozen=True, slots=True)
class DeciderSpec:
    """Knative's `DeciderSpec`. Values are of the metric (requests inside, or requests a second): `target_value` is what
    a pod should have, `total_value` what it can take, `target_burst_capacity` what all should take beyond it without
    queueing (0: nothing, -1: without bound). `panic_threshold` 2.0 is 200%. `activation_scale`: the fewest pods above
    zero."""

    target_value: float
    total_value: float
    target_burst_capacity: float = 211.0
    panic_threshold: float = 2.0
    max_scale_up_rate: float = 1000.0
    max_scale_down_rate: float = 2.0
    stable_window_s: float = 60.0
    scale_down_delay_s: float = 0.0
    reachable: bool = True
    activation_scale: int = 0


@dataclass(frozen=True, slots=True)
class ScaleResult:
    """Knative's: `valid` False means nothing is known, change nothing. A negative `excess_burst_capacity` puts the
    activator into the requests' path."""

    desired: int
    excess_burst_capacity: int
    valid: bool


INVALID = ScaleResult(0, 0, False)


class Autoscaler:
    """`ready`: pods at the start. More than one starts in panic, so that a restart, which has lost its history, doesn't
    scale down."""

    def __init__(self, spec: DeciderSpec, *, now: float, ready: int = 0) -> None:
        self.spec = spec
        self.panic_since: float | None = now if ready > 1 else None
        self.most_in_panic = ready
        self._delay = LargestOf(spec.scale_down_delay_s, TICK_S) if spec.scale_down_delay_s > 0 else None

    def update(self, spec: DeciderSpec) -> None:
        """As upstream, this keeps the delay's window and the panic."""
        self.spec = spec

    def scale(self, now: float, stable: float | None, panic: float | None, ready: int | None) -> ScaleResult:
        """`stable`, `panic`: the observed mean over each window, of all pods together; None: no data. `ready`: ready
        pods; None: they can't be counted."""
        if stable is None or panic is None or ready is None:
            return INVALID
        spec = self.spec
        pods = max(1, ready)
        # ceil: with a rate of 1.1 and 2 pods, floor would stay at 2 for ever.
        highest = ceil(spec.max_scale_up_rate * pods)
        lowest = floor(pods / spec.max_scale_down_rate) if spec.reachable else 0
        by_stable, by_panic = ceil(stable / spec.target_value), ceil(panic / spec.target_value)
        want_stable = min(max(by_stable, lowest), highest)
        want_panic = min(max(by_panic, lowest), highest)
        if spec.activation_scale > 1:
            if by_stable > 0:
                want_stable = max(want_stable, spec.activation_scale)
            if by_panic > 0:
                want_panic = max(want_panic, spec.activation_scale)

        self._judge_panic(now, over=by_panic / pods >= spec.panic_threshold)
        want = want_stable
        if self.panic_since is not None:
            self.most_in_panic = want = max(want, want_panic, self.most_in_panic)  # never down while in panic
        if spec.reachable and self._delay is not None:
            self._delay.record(now, want)
            want = int(self._delay.current())
        return ScaleResult(want, self._excess(panic, ready), True)

    def _judge_panic(self, now: float, *, over: bool) -> None:
        if over:
            self.panic_since = now
        elif self.panic_since is not None and self.panic_since + self.spec.stable_window_s < now:
            self.panic_since = None
            self.most_in_panic = 0

    def _excess(self, panic: float, ready: int) -> int:
        """How much more all pods take than is inside now and the burst capacity asks for, by the panic window."""
        spec = self.spec
        if spec.target_burst_capacity == 0:
            return 0
        if spec.target_burst_capacity < 0:
            return -1
        return floor(ready * spec.total_value - spec.target_burst_capacity - panic)
