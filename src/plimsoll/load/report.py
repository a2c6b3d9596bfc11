"""What a run tells: figures, a line for people, a verdict, JSON for programs."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

from plimsoll.insight.sketch import LogSketch
from plimsoll.load.outcomes import ACCEPTED, HUNG, counts_for_errors, is_error
from plimsoll.load.tally import Row, Sketches, ms

LAG_ALLOWED_S = 0.005  # the client's own p99: above it the figures tell of the client, too
_FIRST = ("ok", "degraded", "cached", "shed")


@dataclass(frozen=True, slots=True)
class Budget:
    """Seconds and a share of one; None: no budget for it."""

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    error_rate: float | None = None

    @property
    def latency(self) -> tuple[tuple[str, float, float], ...]:
        """(name, quantile, seconds) of those there are."""
        pairs = (("p50", 0.5, self.p50_s), ("p95", 0.95, self.p95_s), ("p99", 0.99, self.p99_s))
        return tuple((name, q, allowed) for name, q, allowed in pairs if allowed is not None)


@dataclass(frozen=True, slots=True)
class Report:
    """`offered`: requests that were begun, each with one of `outcomes`. `in_time`: accepted within `deadline_s`.
    `apart`: seconds of cached and of degraded answers, which `sketches` has among all accepted. `replicas`: at the
    start and at the end. `refusals`: one answer of each kind that was not accepted."""

    url: str
    arrivals: str
    seed: int
    duration_s: float
    offered: int
    outcomes: Mapping[str, int]
    in_time: int
    deadline_s: float
    timeout_s: float
    worst_s: float
    sketches: Sketches
    rows: tuple[Row, ...]
    budget: Budget
    apart: Mapping[str, LogSketch] = field(default_factory=dict)
    first_shed_per_s: float | None = None
    ramp: bool = False
    replicas: tuple[int, int] | None = None
    refusals: Mapping[str, str] | None = None
    last_failure: str = ""
    interrupted: bool = False
    started_at: float = 0.0  # unix seconds, by the clock at the end of the run

    @property
    def offered_per_s(self) -> float:
        return self.offered / self.duration_s if self.duration_s else 0.0

    @property
    def goodput_per_s(self) -> float:
        return self.in_time / self.duration_s if self.duration_s else 0.0

    @property
    def hung(self) -> int:
        return self.outcomes.get(HUNG, 0)

    @property
    def accepted(self) -> int:
        return sum(count for outcome, count in self.outcomes.items() if outcome in ACCEPTED)

    @property
    def error_rate(self) -> float | None:
        """As the budget counts it: over everything but what the client got wrong."""
        counted = sum(count for outcome, count in self.outcomes.items() if counts_for_errors(outcome))
        errors = sum(count for outcome, count in self.outcomes.items() if is_error(outcome))
        return errors / counted if counted else None

    @property
    def inside(self) -> bool | None:
        """Whether the accepted requests' latency is inside its budget; None without one. Where nothing was accepted,
        nothing was inside."""
        if not self.budget.latency:
            return None
        return self.accepted > 0 and not _late(self)

    @property
    def lagging(self) -> bool:
        lag = self.sketches.lag.quantile(0.99)
        return lag is not None and lag > LAG_ALLOWED_S

    @property
    def breached(self) -> bool:
        """What `--fail-on-breach` fails on: latency or errors over budget, requests that hung, nothing answered."""
        return self.inside is False or bool(_errors(self)) or self.hung > 0 or (self.offered > 0 and not self.accepted)


def _late(report: Report) -> list[str]:
    latency = report.sketches.latency
    seen = [(name, latency.quantile(q), allowed) for name, q, allowed in report.budget.latency]
    return [
        f"{name} {figure(ms(found))} ms over {figure(ms(allowed))} ms"
        for name, found, allowed in seen
        if found is not None and found > allowed
    ]


def _errors(report: Report) -> str:
    allowed, seen = report.budget.error_rate, report.error_rate
    if allowed is None or seen is None or seen <= allowed:
        return ""
    return f"errors {seen * 100:.3g}% over {allowed * 100:.3g}%"


def verdict(report: Report) -> str:
    """One line: against the budget, then what else must be known to believe it."""
    told = []
    late, errors = _late(report), _errors(report)
    if not report.offered:
        told.append("nothing was offered")
    elif not report.accepted:
        told.append("NOTHING was answered")
    elif late:
        told += [f"OVER budget: {late[0]}", *late[1:]]
    elif report.budget.latency:
        told.append("inside latency budget" if errors else "inside budget")
    elif not errors:
        told.append("no budget to hold it against")
    if errors:
        told.append(errors)
    if report.hung:
        told.append(f"{report.hung:,} HUNG")
    if report.ramp:
        shed = report.first_shed_per_s
        told.append(f"first shed at {shed:,.0f}/s" if shed is not None else "nothing shed")
    if report.lagging:
        lag = figure(ms(report.sketches.lag.quantile(0.99)))
        told.append(f"this client itself was late (lag p99 {lag} ms): latencies are upper bounds")
    return "; ".join(told)


def where_time_went(report: Report) -> str:
    """`queue 76%, compute 22%, else 2%` of the accepted answers' time; empty where no answer told. Else: the way there
    and back, the gateway, and what this client was late."""
    latency, queue, compute = report.sketches.latency, report.sketches.queue, report.sketches.compute
    if not latency.total or not queue.count:
        return ""
    rest = max(latency.total - queue.total - compute.total, 0.0)
    parts = (("queue", queue.total), ("compute", compute.total), ("else", rest))
    return ", ".join(f"{name} {total / latency.total:.0%}" for name, total in parts)


def beside_line(report: Report) -> str:
    """`goodput 597/s   refused within 0.6 ms (p99)   time: queue 76%, compute 22%, else 2%`."""
    parts = [f"goodput {rate(report.goodput_per_s)}/s"]
    if report.sketches.refusal.count:
        parts.append(f"refused within {figure(ms(report.sketches.refusal.quantile(0.99)))} ms (p99)")
    went = where_time_went(report)
    return "   ".join([*parts, f"time: {went}"] if went else parts)


def apart_lines(report: Report) -> list[str]:
    """One line each for cached and degraded answers: how many of the accepted, and how fast."""
    return [
        f"{outcome}: {sketch.count:,} of {report.accepted:,} accepted, p50 {figure(ms(sketch.quantile(0.5)))}"
        f"  p99 {figure(ms(sketch.quantile(0.99)))} ms"
        for outcome, sketch in sorted(report.apart.items())
    ]


def made_json(report: Report) -> dict[str, object]:
    """Milliseconds have three significant digits; what nobody measured is null."""
    sketches = report.sketches

    def quantiles(name: str, *shares: float) -> dict[str, float | None]:
        sketch = getattr(sketches, name)
        return {f"p{share * 100:g}": ms(sketch.quantile(share)) for share in shares}

    latency = quantiles("latency", 0.5, 0.95, 0.99)
    latency["max"] = ms(report.worst_s) if report.accepted else None
    return {
        "seed": report.seed,
        "started_at": round(report.started_at, 3),
        "duration_s": round(report.duration_s, 3),
        "offered": report.offered,
        "offered_per_s": round(report.offered_per_s, 3),
        "goodput_per_s": round(report.goodput_per_s, 3),
        "outcomes": ordered(report.outcomes),
        "hung": report.hung,
        "latency_ms": latency,
        "apart_ms": {
            outcome: {"p50": ms(sketch.quantile(0.5)), "p99": ms(sketch.quantile(0.99))}
            for outcome, sketch in sorted(report.apart.items())
        },
        "refusal_ms": quantiles("refusal", 0.99),
        "queue_ms": quantiles("queue", 0.5, 0.99),
        "compute_ms": quantiles("compute", 0.5, 0.99),
        "budget": {"p99_ms": ms(report.budget.p99_s), "inside": report.inside},
        "error_rate": report.error_rate,
        "first_shed_per_s": report.first_shed_per_s,
        "generator_lag_ms": quantiles("lag", 0.5, 0.99),
        "verdict": verdict(report),
    }


def ordered(outcomes: Mapping[str, int]) -> dict[str, int]:
    """Answers first, then by count."""
    rank = {outcome: place for place, outcome in enumerate(_FIRST)}
    return dict(sorted(outcomes.items(), key=lambda one: (rank.get(one[0], len(rank)), -one[1], one[0])))


def figure(value: float | None) -> str:
    """Milliseconds for a line: `18`, `2.1`, `0.62`; `-` for what nobody measured."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def rate(value: float) -> str:
    """`1,236`, `4`, `0.05`: a rare hang must not be rounded away."""
    return f"{value:,.0f}" if value >= 10 or value == int(value) else f"{value:.2g}"


def line_of(
    offered_per_s: float,
    outcomes_per_s: Mapping[str, float],
    latency_ms: Mapping[str, float | None],
    queue_ms: float | None,
    compute_ms: float | None,
    *,
    budget: Budget,
    replicas: str = "",
    paint: Callable[[str, str], str] = lambda text, style: text,
) -> str:
    """`1,240/s offered  ok 1,236  shed 4   p50 2  p95 9  p99 18 ms (budget 100)  queue 4  compute 3  replicas 1`."""
    rank = {outcome: place for place, outcome in enumerate(_FIRST)}
    names = sorted(outcomes_per_s, key=lambda name: (rank.get(name, len(rank)), -outcomes_per_s[name]))
    shown = [paint(f"{name} {rate(outcomes_per_s[name])}", _style(name)) for name in names if outcomes_per_s[name]]
    allowed = {"p50": budget.p50_s, "p95": budget.p95_s, "p99": budget.p99_s}
    quantiles = []
    for name in ("p50", "p95", "p99"):
        seen, limit = latency_ms.get(name), ms(allowed[name])
        over = seen is not None and limit is not None and seen > limit
        quantiles.append(paint(f"{name} {figure(seen)}{'!' if over else ''}", "red" if over else ""))
    against = f" (budget {figure(ms(budget.p99_s))})" if budget.p99_s is not None else ""
    parts = [f"{rate(offered_per_s)}/s offered", *shown, "  ".join(["", *quantiles]).lstrip() + f" ms{against}"]
    line = "  ".join(parts[:-1]) + "   " + parts[-1]
    if queue_ms is not None or compute_ms is not None:
        line += f"  queue {figure(queue_ms)}  compute {figure(compute_ms)}"
    return f"{line}  replicas {replicas}" if replicas else line


def _style(outcome: str) -> str:
    return "green" if outcome in ACCEPTED else "yellow" if outcome in {"shed", "throttled"} else "red"
