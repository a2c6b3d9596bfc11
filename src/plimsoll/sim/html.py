"""A plan as one page that opens offline: the table, advice, and over time what was offered, replicas, misses, p99."""

from collections.abc import Sequence
from html import escape

from plimsoll.drawing import svg
from plimsoll.drawing.page import comment, page, table
from plimsoll.drawing.svg import Scale
from plimsoll.sim.report import ALL, Goals, Report, Row, amount, made_json, marked, millis, price, share
from plimsoll.sim.result import ServiceResult, Timeline

_COLOURS = ("blue", "amber", "violet", "teal", "pink", "olive", "red", "green")
_POINTS = 640  # of a line: more would lie on one another
_TOP, _GAP = 26, 40


def render_html(report: Report) -> str:
    about = report.about
    parts = [
        "<h1>Plan</h1>\n",
        *(f'<div class="soft">{escape(line)}</div>\n' for line in about.facts),
        *(f'<div class="soft">{escape(line)}</div>\n' for line in (*about.measured, *about.notes)),
        f'<div class="verdict{" bad" if report.breached else ""}">{escape(verdict(report))}</div>\n',
        f'<div class="wide">{_table(report)}</div>\n',
    ]
    if report.advice:
        items = "".join(
            f"<li>{escape(f'{one.service}: ' if one.service and len(about.own) > 1 else '')}{escape(one.text)}</li>"
            for one in report.advice
        )
        parts.append(f"<h2>Advice</h2>\n<ul>{items}</ul>\n")
    for service in about.own:
        shown = _results(report, service)
        if shown:
            title = "Over time" if len(about.own) == 1 else f"Over time: {service}"
            goals = about.goals.get(service, Goals())
            parts.append(f"<h2>{escape(title)}</h2>\n{timelines(shown, goals)}\n")
    parts.append(_outcomes(report))
    parts.append(f'<p class="soft">{escape(_METHOD)}</p>\n{comment(made_json(report))}')
    return page("plimsoll plan", "".join(parts))


_METHOD = (
    "Simulated with the policies that run live. Late: answered after the p99 budget. Quantiles are of the answered. "
    "x oracle: replica-hours over the fewest that anybody who knew the future could have used at the same share late "
    "or refused. A point of a line stands for some time: requests are its mean, replicas as at its end, p99 its worst."
)


def verdict(report: Report) -> str:
    """One line: whether each service's own policy keeps its budget."""
    rows = {(row.service, row.name): row for row in report.rows}
    own = report.about.own
    missing = [f"{service} {policy}" for service, policy in own.items() if (service, policy) not in rows]
    if missing:
        return f"{', '.join(missing[:3])}: not simulated"
    mine = [rows[one] for one in own.items()]
    bad = sorted((row for row in mine if row.broken), key=lambda row: -row.missed_share)
    names = sorted(set(own.values()))
    if not bad:
        return f"{', '.join(names)} {'keeps' if len(names) == 1 else 'keep'} the budget"
    worst = bad[0]
    why = f"{worst.name} BREAKS the budget: {'; '.join(worst.broken)}"
    if len(mine) == 1:
        return why
    together = next((row for row in report.rows if row.service == ALL and row.name in {worst.name, "own"}), None)
    in_all = f"; in all {share(together.missed_share)} late or refused" if together is not None else ""
    return f"{len(bad)} of {len(mine)} services break their budgets, worst {worst.service}: {why}{in_all}"


def _results(report: Report, service: str) -> list[tuple[str, ServiceResult]]:
    return [
        (policy, one)
        for policy, result in report.results.items()
        for one in result.services
        if one.service == service and one.timeline.offered
    ]


def _table(report: Report) -> str:
    several = len(report.about.own) > 1
    currency = report.about.money.currency
    heads = [*(["service"] if several else []), "policy", "requests", "late", "refused", "p50", "p95", "p99",
             "replica-hours", "node-hours", "cost", "acts", "x oracle"]  # fmt: skip
    rows = [
        [*(["all" if row.service == ALL else row.service] if several else []), *_cells(row, currency)]
        for row in report.rows
    ]
    shown = [at for at in range(len(heads)) if any(row[at] != "-" for row in rows)]
    return table([heads[at] for at in shown], [[row[at] for at in shown] for row in rows])


def _cells(row: Row, currency: str) -> list[str]:
    late, refused = marked(row)
    return [
        row.name,
        f"{row.offered:,}",
        late,
        refused,
        *(millis(value) for value in (row.p50_s, row.p95_s, row.p99_s)),
        amount(row.replica_hours),
        amount(row.node_hours),
        price(row.cost, currency),
        f"{row.scaling_acts:,}",
        "-" if row.oracle_ratio is None else f"{row.oracle_ratio:.2f}",
    ]


def _outcomes(report: Report) -> str:
    rows = [row for row in report.rows if row.outcomes and (row.service != ALL)]
    names = sorted({name for row in rows for name in row.outcomes}, key=lambda name: (name != "ok", name))
    if not names:
        return ""
    several = len(report.about.own) > 1
    lines = [
        [f"{row.service} {row.name}" if several else row.name, *(f"{row.outcomes.get(name, 0):,}" for name in names)]
        for row in rows
    ]
    return f'<h2>Requests by outcome</h2>\n<div class="wide">{table(["", *names], lines)}</div>\n'


def timelines(results: Sequence[tuple[str, ServiceResult]], goals: Goals) -> str:
    """What was offered; replicas, misses a second and p99 of every policy. One axis of time."""
    shown = [(policy, folded(one.timeline), f"var(--{_COLOURS[i % 8]})") for i, (policy, one) in enumerate(results)]
    first = shown[0][1]
    end = max(line.step_s * len(line.offered) for _, line, _ in shown)
    across = svg.along(end)
    parts, top = [], _TOP
    for height, draw in ((110, _offered), (170, _replicas), (90, _missed), (150, _p99)):
        drawn = draw(shown if draw is not _offered else [("offered", first, "var(--soft)")], goals, across, top, height)
        if drawn:
            parts.append(drawn)
            top += height + _GAP
    bottom = top - _GAP
    parts += [
        f'<text x="{across(at):.1f}" y="{bottom + 18}" text-anchor="{svg.anchor(across(at))}">{name}</text>'
        for at, name in svg.time_ticks(end, 8)
    ]
    return svg.picture(bottom + 26, "load, replicas, misses and p99 over time", "".join(parts))


Shown = Sequence[tuple[str, Timeline, str]]


def _offered(shown: Shown, goals: Goals, across: Scale, top: int, height: int) -> str:
    rates = [(name, [count / line.step_s for count in line.offered], line, colour) for name, line, colour in shown]
    return _panel("requests a second", rates, across, top, height, "/s")


def _missed(shown: Shown, goals: Goals, across: Scale, top: int, height: int) -> str:
    rates = [(name, [count / line.step_s for count in line.missed], line, colour) for name, line, colour in shown]
    if not any(value for _, values, _, _ in rates for value in values):
        return ""
    return _panel("late or refused a second", rates, across, top, height, "/s")


def _panel(
    title: str,
    series: Sequence[tuple[str, list[float], Timeline, str]],
    across: Scale,
    top: int,
    height: int,
    unit: str,
) -> str:
    most = max((value for _, values, _, _ in series for value in values), default=0.0) or 1.0
    ticks = svg.ticks(most, 4)
    up = svg.upwards(max(most, ticks[-1]), top, height)
    lines = "".join(
        svg.line(_middles(line), values, across, up, colour, width=1.2) for _, values, line, colour in series
    )
    return svg.grid(ticks, up, unit) + lines + _title(title, top)


def _replicas(shown: Shown, goals: Goals, across: Scale, top: int, height: int) -> str:
    most = max(max(line.ready, default=0) for _, line, _ in shown) or 1
    ticks = [tick for tick in svg.ticks(most, 5) if tick == int(tick)]
    up = svg.upwards(max(most, ticks[-1]), top, height)
    lines = "".join(
        svg.staircase([i * line.step_s for i in range(len(line.ready))], line.step_s, line.ready, across, up, colour)
        for _, line, colour in shown
    )
    names = [(escape(name), colour) for name, _, colour in shown]
    return svg.grid(ticks, up, "") + lines + _title("replicas ready", top) + svg.legend(names, top - 10, svg.LEFT + 120)


def _p99(shown: Shown, goals: Goals, across: Scale, top: int, height: int) -> str:
    seen = [value * 1000 for _, line, _ in shown for value in line.p99_s if value]
    if not seen:
        return ""
    budget = None if goals.p99_s is None else goals.p99_s * 1000
    up, ticks = svg.logarithmic(min(*seen, budget or seen[0]), max(*seen, budget or seen[0]), top, height)
    lines = "".join(
        svg.line(
            _middles(line),
            [None if value is None else value * 1000 for value in line.p99_s],
            across, up, colour, width=1.2,
        )
        for _, line, colour in shown
    )  # fmt: skip
    if budget is not None:
        lines += svg.rule(up(budget), "var(--red)")
    return svg.grid(ticks, up, " ms") + lines + _title("p99" if budget is None else "p99, and its budget (dashed)", top)


def _title(text: str, top: int) -> str:
    return f'<text x="{svg.LEFT}" y="{top - 10}" style="fill:var(--ink)">{escape(text)}</text>'


def _middles(line: Timeline) -> list[float]:
    return [(i + 0.5) * line.step_s for i in range(len(line.offered))]


def folded(line: Timeline, points: int = _POINTS) -> Timeline:
    """With several steps in one: requests are added, replicas as of the last, the worst p99."""
    each = -(-len(line.offered) // points)
    if each <= 1:
        return line
    groups = range(0, len(line.offered), each)

    def worst(values: Sequence[float | None]) -> float | None:
        return max((value for value in values if value is not None), default=None)

    return Timeline(
        step_s=line.step_s * each,
        offered=[sum(line.offered[at : at + each]) for at in groups],
        missed=[sum(line.missed[at : at + each]) for at in groups],
        wanted=[line.wanted[at : at + each][-1] for at in groups],
        ready=[line.ready[at : at + each][-1] for at in groups],
        p99_s=[worst(line.p99_s[at : at + each]) for at in groups],
    )
