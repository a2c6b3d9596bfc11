"""What is counted while requests come back: sketches and counters of the running second, folded into totals.

The hot path does one `observe` a figure; totals, the last seconds (for who watches) and the timeline are made from the
second's sketches when it is over. The timeline keeps at most 1,200 rows: with more, two neighbours become one.
"""

from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

from plimsoll.core.outcome import Outcome
from plimsoll.insight.sketch import LogSketch
from plimsoll.load.outcomes import ACCEPTED, HUNG, REFUSED

_WATCHED_S = 5  # what a live view's quantiles cover
_ROWS_MAX = 1200
_OK = Outcome.OK.value
_SHED = frozenset({Outcome.SHED.value, Outcome.THROTTLED.value})

Record = Callable[[float, str, float | None, float, float], None]


@dataclass(slots=True)
class Row:
    """One step of the timeline. Answers are counted where they came back, offers where they should have been sent.
    Milliseconds; None: nothing was accepted."""

    at_s: float
    step_s: float
    offered: int
    accepted: int
    refused: int
    failed: int
    p50_ms: float | None
    p99_ms: float | None
    queue_p99_ms: float | None
    replicas: int | None

    def merged(self, later: "Row", *, lengthen: bool = True) -> "Row":
        return Row(
            self.at_s,
            self.step_s + (later.step_s if lengthen else 0.0),
            self.offered + later.offered,
            self.accepted + later.accepted,
            self.refused + later.refused,
            self.failed + later.failed,
            _worse(self.p50_ms, later.p50_ms),
            _worse(self.p99_ms, later.p99_ms),
            _worse(self.queue_p99_ms, later.queue_p99_ms),
            later.replicas,
        )


def _worse(one: float | None, other: float | None) -> float | None:
    return other if one is None else one if other is None else max(one, other)


def ms(seconds: float | None) -> float | None:
    """Milliseconds of three significant digits: more would be made up (sketches are right to 2%)."""
    return None if seconds is None else float(f"{seconds * 1000:.3g}")


@dataclass(slots=True)
class Sketches:
    """Seconds. `latency`, `queue`, `compute` of the accepted; `refusal` of the refused; `lag`: the client's own."""

    latency: LogSketch = field(default_factory=LogSketch)
    refusal: LogSketch = field(default_factory=LogSketch)
    queue: LogSketch = field(default_factory=LogSketch)
    compute: LogSketch = field(default_factory=LogSketch)
    lag: LogSketch = field(default_factory=LogSketch)

    def merge(self, other: "Sketches") -> None:
        self.latency.merge(other.latency)
        self.refusal.merge(other.refusal)
        self.queue.merge(other.queue)
        self.compute.merge(other.compute)
        self.lag.merge(other.lag)


@dataclass(frozen=True, slots=True)
class Progress:
    """For a live view, over the last five seconds. Rates are requests a second; `latency_ms` as in the report."""

    elapsed_s: float
    offered_per_s: float
    outcomes_per_s: dict[str, float]
    latency_ms: dict[str, float | None]
    queue_ms: float | None  # p99
    compute_ms: float | None  # p99
    lag_ms: float | None  # p99 of the client itself
    in_flight: int
    waiting: int  # for a connection
    replicas: int | None


class _Second:
    __slots__ = ("offered", "outcomes", "sketches")

    def __init__(self) -> None:
        self.offered = 0
        self.outcomes: dict[str, int] = {}
        self.sketches = Sketches()


class Tally:
    """Times are seconds since the start. `deadline_s`: an answer that takes longer is no goodput. `record` is told of
    each request that ends: (when it should have been sent, outcome, latency, of it in the queue and in the model);
    latency is None where no answer came, the two are negative where an answer doesn't tell."""

    def __init__(self, deadline_s: float, record: Record | None = None) -> None:
        self._deadline_s = deadline_s
        self._record = record
        self._second = _Second()
        self._turned_at = 0.0
        self._recent: deque[tuple[float, _Second]] = deque(maxlen=_WATCHED_S)
        self._step_s = 1.0
        self.offered = 0
        self.outcomes: dict[str, int] = {}
        self.in_time = 0
        self.worst_s = 0.0
        self.first_shed_s: float | None = None
        self.totals = Sketches()
        self.rows: list[Row] = []
        self.apart: dict[str, LogSketch] = {}  # latency of answers that no model computed as asked: cached, degraded
        self.replicas: tuple[int, int] | None = None  # first and last seen
        self.refusals_seen: dict[str, str] = {}  # one answer of each kind that is not ok, for who asks why

    def sent(self, lag_s: float) -> None:
        self._second.offered += 1
        self._second.sketches.lag.observe(lag_s)

    def answered(self, outcome: str, latency_s: float, intended_s: float, queue_s: float, compute_s: float) -> None:
        """`queue_s`, `compute_s`: negative where the answer does not tell."""
        second = self._second
        outcomes = second.outcomes
        outcomes[outcome] = outcomes.get(outcome, 0) + 1
        if outcome in ACCEPTED:
            sketches = second.sketches
            sketches.latency.observe(latency_s)
            if latency_s > self.worst_s:
                self.worst_s = latency_s
            if latency_s <= self._deadline_s:
                self.in_time += 1
            if outcome != _OK:
                self.apart.setdefault(outcome, LogSketch()).observe(latency_s)
            if queue_s >= 0.0:
                sketches.queue.observe(queue_s)
            if compute_s >= 0.0:
                sketches.compute.observe(compute_s)
        elif outcome in REFUSED:
            second.sketches.refusal.observe(latency_s)
            if outcome in _SHED and (self.first_shed_s is None or intended_s < self.first_shed_s):
                self.first_shed_s = intended_s
        if self._record is not None:
            self._record(intended_s, outcome, latency_s, queue_s, compute_s)

    def failed(self, outcome: str, intended_s: Iterable[float]) -> None:
        """No answer came to those."""
        for intended in intended_s:
            self._second.outcomes[outcome] = self._second.outcomes.get(outcome, 0) + 1
            if self._record is not None:
                self._record(intended, outcome, None, -1.0, -1.0)

    @property
    def ended(self) -> int:
        return sum(self.outcomes.values()) + sum(self._second.outcomes.values())

    @property
    def begun(self) -> int:
        return self.offered + self._second.offered

    def turn(self, now_s: float, replicas: int | None = None) -> None:
        """The second is over: some 0.2 ms."""
        second, self._second = self._second, _Second()
        length, at = now_s - self._turned_at, self._turned_at
        self._turned_at = now_s
        self.offered += second.offered
        for outcome, count in second.outcomes.items():
            self.outcomes[outcome] = self.outcomes.get(outcome, 0) + count
        self.totals.merge(second.sketches)
        self._recent.append((length, second))
        if replicas is not None:
            self.replicas = (self.replicas[0] if self.replicas else replicas, replicas)
        self._add(_row(second, at, length, replicas))

    def _add(self, row: Row) -> None:
        last = self.rows[-1] if self.rows else None
        if last is not None and row.step_s < 0.5:
            # The last answers after the last request: a step of their own would be a spike, more time for the last
            # step a dip.
            self.rows[-1] = last.merged(row, lengthen=row.offered > 0)
        elif last is not None and last.step_s < self._step_s * 0.9:
            self.rows[-1] = last.merged(row)
        else:
            self.rows.append(row)
        if len(self.rows) > _ROWS_MAX:
            pairs = zip(self.rows[::2], self.rows[1::2], strict=False)
            left = self.rows[-1:] if len(self.rows) % 2 else []
            self.rows = [first.merged(second) for first, second in pairs] + left
            self._step_s *= 2

    def progress(self, now_s: float, *, in_flight: int, waiting: int) -> Progress:
        seconds = sum(length for length, _ in self._recent) or 1.0
        merged = Sketches()
        outcomes: dict[str, int] = {}
        for _, second in self._recent:
            merged.merge(second.sketches)
            for outcome, count in second.outcomes.items():
                outcomes[outcome] = outcomes.get(outcome, 0) + count
        latency = merged.latency
        return Progress(
            elapsed_s=now_s,
            offered_per_s=sum(second.offered for _, second in self._recent) / seconds,
            outcomes_per_s={outcome: count / seconds for outcome, count in outcomes.items()},
            latency_ms={name: ms(latency.quantile(q)) for name, q in (("p50", 0.5), ("p95", 0.95), ("p99", 0.99))},
            queue_ms=ms(merged.queue.quantile(0.99)),
            compute_ms=ms(merged.compute.quantile(0.99)),
            lag_ms=ms(merged.lag.quantile(0.99)),
            in_flight=in_flight,
            waiting=waiting,
            replicas=self.replicas[1] if self.replicas else None,
        )

    @property
    def hung(self) -> int:
        return self.outcomes.get(HUNG, 0) + self._second.outcomes.get(HUNG, 0)


def _row(second: _Second, at_s: float, length_s: float, replicas: int | None) -> Row:
    accepted = sum(count for outcome, count in second.outcomes.items() if outcome in ACCEPTED)
    refused = sum(count for outcome, count in second.outcomes.items() if outcome in REFUSED)
    sketches = second.sketches
    return Row(
        at_s=at_s,
        step_s=length_s,
        offered=second.offered,
        accepted=accepted,
        refused=refused,
        failed=sum(second.outcomes.values()) - accepted - refused,
        p50_ms=ms(sketches.latency.quantile(0.5)),
        p99_ms=ms(sketches.latency.quantile(0.99)),
        queue_p99_ms=ms(sketches.queue.quantile(0.99)),
        replicas=replicas,
    )
