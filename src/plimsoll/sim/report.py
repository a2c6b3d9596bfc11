"""What a plan tells: one row a service and a policy, whether it keeps the budget, JSON for programs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from plimsoll.sim.result import Result, ServiceResult

ALL = ""  # the row of all services together
LATE_ALLOWED = 0.01  # what a p99 budget allows, refused requests counted with the late ones


@dataclass(frozen=True, slots=True)
class Goals:
    """A service's budget: seconds, a share of one, money in the platform's currency; None: no budget for it."""

    p50_s: float | None = None
    p95_s: float | None = None
    p99_s: float | None = None
    error_rate: float | None = None
    cost_per_million: float | None = None
    cost_per_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Row:
    """`service`: ALL for the sum of several. Quantiles are of the answered, None where they aren't known (a sum, the
    oracle). `cost`: None where nothing has a price. `oracle_ratio`: this policy's replica-hours over the fewest that
    anybody could have used with the same share late or refused. `broken`: what of the budget doesn't hold."""

    service: str
    name: str
    offered: int
    late_share: float
    refused_share: float
    p50_s: float | None
    p95_s: float | None
    p99_s: float | None
    replica_hours: float
    node_hours: float | None
    cost: float | None
    scaling_acts: int
    oracle_ratio: float | None
    outcomes: Mapping[str, int] = field(default_factory=dict)
    broken: tuple[str, ...] = ()
    spare_hours: float = 0.0
    mean_batch: float = 0.0

    @property
    def missed_share(self) -> float:
        """Late or refused, of all offered."""
        return self.late_share + self.refused_share

    @property
    def keeps(self) -> bool:
        return not self.broken


@dataclass(frozen=True, slots=True)
class Money:
    """`replica_hour`: what a replica's hour costs where no nodes are simulated; None: nothing has a price."""

    currency: str = "USD"
    replica_hour: float | None = None


@dataclass(frozen=True, slots=True)
class Advice:
    """One thing to know or do. `kind`: impossible, short, cheapest, broken, minimum, spares, hours, cost, ramp, zero.
    `text` says it whole; `evidence`: its numbers, for programs."""

    kind: str
    text: str
    service: str = ""
    evidence: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class About:
    """What was simulated. `facts`: lines for people. `measured`: what a replica can do. `notes`: what must be known to
    believe the figures (the fluid model's error, a profile of another model). `own`: the file's own policy, by service.
    """

    version: str
    seed: int
    requests: int
    seconds: float
    facts: Sequence[str]
    own: Mapping[str, str]
    goals: Mapping[str, Goals]
    money: Money = field(default_factory=Money)
    measured: Sequence[str] = ()
    notes: Sequence[str] = ()
    fast: bool = False
    wall_s: float = 0.0
    interrupted: bool = False


@dataclass(frozen=True, slots=True)
class Report:
    """`results`: by policy, of those that were simulated."""

    about: About
    rows: Sequence[Row]
    advice: Sequence[Advice]
    results: Mapping[str, Result]

    @property
    def breached(self) -> bool:
        """What `--fail-on-breach` fails on: a service whose own policy doesn't keep its budget, or wasn't run."""
        kept = {(row.service, row.name) for row in self.rows if row.keeps}
        return any((service, policy) not in kept for service, policy in self.about.own.items())


def made_json(report: Report) -> dict[str, object]:
    about = report.about
    return {
        "version": about.version,
        "seed": about.seed,
        "requests": about.requests,
        "seconds": _rounded(about.seconds),
        "currency": about.money.currency,
        "fast": about.fast,
        "interrupted": about.interrupted,
        "wall_s": _rounded(about.wall_s),
        "breached": report.breached,
        "own": dict(about.own),
        "measured": list(about.measured),
        "notes": list(about.notes),
        "policies": [row_json(row) for row in report.rows if row.service != ALL],
        "together": [row_json(row) for row in report.rows if row.service == ALL],
        "advice": [
            {"kind": one.kind, "service": one.service or None, "text": one.text, **dict(one.evidence)}
            for one in report.advice
        ],
    }


def row_of(
    result: ServiceResult,
    name: str,
    goals: Goals,
    *,
    cost: float | None,
    node_hours: float | None = None,
    oracle_s: float | None = None,
) -> Row:
    """`cost`, `node_hours`: this service's own, None where they aren't known. `oracle_s`: the fewest replica-seconds at
    this result's own share of late and refused."""
    answered = result.offered > result.refused
    return Row(
        service=result.service,
        name=name,
        offered=result.offered,
        late_share=result.late_share,
        refused_share=result.refused_share,
        p50_s=result.p50_s if answered else None,
        p95_s=result.p95_s if answered else None,
        p99_s=result.p99_s if answered else None,
        replica_hours=result.replica_s / 3600,
        node_hours=node_hours,
        cost=cost,
        scaling_acts=len(result.acts),
        oracle_ratio=result.replica_s / oracle_s if oracle_s else None,
        outcomes=dict(result.outcomes),
        broken=tuple(broken(result, goals, cost)),
        spare_hours=result.spare_s / 3600,
        mean_batch=result.mean_batch,
    )


def broken(result: ServiceResult, goals: Goals, cost: float | None) -> list[str]:
    """What of the budget a simulation didn't keep, each in words and numbers."""
    told = []
    if goals.p99_s is not None and result.missed_share > LATE_ALLOWED:
        told.append(f"{share(result.missed_share)} late or refused; p99 {millis(goals.p99_s)} allows 1%")
    for quantile, seen, allowed in (("p50", result.p50_s, goals.p50_s), ("p95", result.p95_s, goals.p95_s)):
        if allowed is not None and seen > allowed:
            told.append(f"{quantile} {millis(seen)} over {millis(allowed)}")
    if goals.error_rate is not None and result.refused_share > goals.error_rate:
        told.append(f"{share(result.refused_share)} refused; errorRate allows {share(goals.error_rate)}")
    answered = result.offered - result.refused
    if cost is not None and goals.cost_per_million is not None and cost * 1e6 > goals.cost_per_million * answered:
        per_million = f"{cost * 1e6 / answered:.2f}" if answered else "no answer"
        told.append(f"a million requests cost {per_million}, over {goals.cost_per_million:.2f}")
    hours = result.seconds / 3600
    if cost is not None and goals.cost_per_hour is not None and cost > goals.cost_per_hour * hours > 0:
        told.append(f"an hour costs {cost / hours:.2f}, over {goals.cost_per_hour:.2f}")
    return told


def sum_row(name: str, result: Result, rows: Sequence[Row], oracle_s: float | None, cost: float | None) -> Row:
    """All services together under one policy. Its budget is kept where each service's is."""
    offered = sum(row.offered for row in rows)
    late = sum(one.late for one in result.services)
    refused = sum(one.refused for one in result.services)
    outcomes: dict[str, int] = {}
    for one in result.services:
        for outcome, count in one.outcomes.items():
            outcomes[outcome] = outcomes.get(outcome, 0) + count
    used_s = sum(one.replica_s for one in result.services)
    return Row(
        service=ALL,
        name=name,
        offered=offered,
        late_share=late / offered if offered else 0.0,
        refused_share=refused / offered if offered else 0.0,
        p50_s=None,
        p95_s=None,
        p99_s=None,
        replica_hours=used_s / 3600,
        node_hours=sum(result.node_s.values()) / 3600 if result.node_s else None,
        cost=cost,
        scaling_acts=sum(row.scaling_acts for row in rows),
        oracle_ratio=used_s / oracle_s if oracle_s else None,
        outcomes=outcomes,
        broken=tuple(f"{row.service}: {why}" for row in rows for why in row.broken),
        spare_hours=sum(row.spare_hours for row in rows),
    )


def oracle_row(service: str, offered: int, least_s: float, late_share: float, cost: float | None) -> Row:
    """What nobody can undercut with `late_share` late or refused."""
    return Row(
        service=service,
        name="oracle",
        offered=offered,
        late_share=late_share,
        refused_share=0.0,
        p50_s=None,
        p95_s=None,
        p99_s=None,
        replica_hours=least_s / 3600,
        node_hours=None,
        cost=cost,
        scaling_acts=0,
        oracle_ratio=1.0,
    )


def row_json(row: Row) -> dict[str, object]:
    """Milliseconds have three significant digits; what isn't known is null."""
    return {
        "service": row.service or None,
        "name": row.name,
        "offered": row.offered,
        "outcomes": dict(row.outcomes),
        "late_share": _rounded(row.late_share),
        "refused_share": _rounded(row.refused_share),
        "p50_ms": _ms(row.p50_s),
        "p95_ms": _ms(row.p95_s),
        "p99_ms": _ms(row.p99_s),
        "replica_hours": _rounded(row.replica_hours),
        "spare_hours": _rounded(row.spare_hours),
        "node_hours": _rounded(row.node_hours),
        "cost": _rounded(row.cost),
        "scaling_acts": row.scaling_acts,
        "oracle_ratio": _rounded(row.oracle_ratio),
        "mean_batch": _rounded(row.mean_batch),
        "keeps_budget": row.keeps,
        "broken": list(row.broken),
    }


def _rounded(value: float | None) -> float | None:
    return None if value is None else float(f"{value:.6g}")


def _ms(seconds: float | None) -> float | None:
    return None if seconds is None else float(f"{seconds * 1000:.3g}")


# Figures for people


def share(value: float) -> str:
    """`0.3%`, `1.02%`, `12%`, `0%`; a rare miss isn't rounded away: `<0.001%`."""
    percent = value * 100
    if 0 < percent < 0.001:
        return "<0.001%"
    if percent >= 1:
        return f"{percent:.0f}%" if percent >= 10 else f"{percent:.3g}%"
    return f"{percent:.2g}%" if percent >= 0.1 else f"{percent:.1g}%"


def marked(row: Row) -> tuple[str, str]:
    """The shares late and refused; what breaks the budget ends in `!`."""

    def text(value: float) -> str:
        over = row.broken and row.missed_share > LATE_ALLOWED and value > LATE_ALLOWED / 10
        return share(value) + ("!" if over else "")

    return text(row.late_share), text(row.refused_share)


def millis(seconds: float | None) -> str:
    """`88 ms`, `4.1 ms`, `1.2 s`; `-` for what isn't known."""
    if seconds is None:
        return "-"
    value = seconds * 1000
    if value >= 1000:
        return f"{seconds:.3g} s"
    return f"{value:.0f} ms" if value >= 10 else f"{value:.2g} ms"


def amount(value: float | None) -> str:
    """Hours: `31.2`, `0.42`, `1,204`; `-` for what isn't known."""
    if value is None:
        return "-"
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}" if value >= 10 else f"{value:.2f}"


_SIGNS = {"USD": "$", "EUR": "€", "GBP": "£"}


def price(value: float | None, currency: str) -> str:
    """`$1.25`; `-` where nothing has a price."""
    if value is None:
        return "-"
    text = f"{value:,.0f}" if value >= 1000 else f"{value:.2f}" if value >= 0.1 or not value else f"{value:.2g}"
    sign = _SIGNS.get(currency)
    return f"{sign}{text}" if sign else f"{text} {currency}"
