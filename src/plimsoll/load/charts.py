"""The report's two pictures as SVG: what was offered and became of it over time, and how latencies spread."""

from collections.abc import Sequence
from math import ceil, log10

from plimsoll.drawing import svg
from plimsoll.drawing.svg import Scale
from plimsoll.insight.sketch import value_of
from plimsoll.load.report import Report, figure
from plimsoll.load.tally import Row, ms

_BARS = 72  # of the distribution


def timeline(report: Report) -> str:
    """Rates above, p50 and p99 of the accepted below, on one axis of seconds."""
    rows = [row for row in report.rows if row.step_s > 0]
    if not rows:
        return '<p class="soft">Nothing was measured.</p>'
    end = max(rows[-1].at_s + rows[-1].step_s, 1e-3)
    across = svg.along(end)
    top, height, gap, low = 26, 190, 44, 150
    middles = [row.at_s + row.step_s / 2 for row in rows]
    rates = _rates(rows, middles, across, top, height)
    latency = _latency(report, rows, middles, across, top + height + gap, low)
    bottom = top + height + gap + low
    axis = "".join(
        f'<text x="{across(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g} s</text>'
        for tick in svg.ticks(end, 8)
    )
    return svg.picture(bottom + 26, "rates and latency over time", rates + latency + axis)


def _rates(rows: Sequence[Row], middles: Sequence[float], across: Scale, top: int, height: int) -> str:
    most = max(max(row.offered, row.accepted, row.refused, row.failed) / row.step_s for row in rows) or 1.0
    ticks = svg.ticks(most, 4)
    up = svg.upwards(max(most, ticks[-1]), top, height)
    series = (
        ("offered", "var(--soft)", "4 3", [row.offered / row.step_s for row in rows]),
        ("accepted", "var(--green)", "", [row.accepted / row.step_s for row in rows]),
        ("refused", "var(--amber)", "", [row.refused / row.step_s for row in rows]),
        ("failed", "var(--red)", "", [row.failed / row.step_s for row in rows]),
    )
    shown = [one for one in series if one[0] in {"offered", "accepted"} or any(one[3])]
    lines = "".join(svg.line(middles, values, across, up, colour, dash) for _, colour, dash, values in shown)
    return svg.grid(ticks, up, "/s") + lines + svg.legend([(name, colour) for name, colour, _, _ in shown], top - 12)


def _latency(
    report: Report, rows: Sequence[Row], middles: Sequence[float], across: Scale, top: int, height: int
) -> str:
    budget = ms(report.budget.p99_s)
    seen = [value for row in rows for value in (row.p50_ms, row.p99_ms) if value]
    if not seen:
        return ""
    up, ticks = svg.decades(min(*seen, budget or seen[0]), max(*seen, budget or seen[0]), top, height)
    series = (
        ("p50", "var(--bar)", [row.p50_ms for row in rows]),
        ("p99", "var(--blue)", [row.p99_ms for row in rows]),
    )
    lines = "".join(svg.line(middles, values, across, up, colour) for _, colour, values in series)
    names = [(name, colour) for name, colour, _ in series]
    if budget is not None:
        lines += svg.rule(up(budget), "var(--red)")
        names.append(("p99 budget", "var(--red)"))
    return svg.grid(ticks, up, " ms") + lines + svg.legend(names, top - 12)


def distribution(report: Report) -> str:
    """A histogram over logarithmic bins, with the quantiles and the budget marked."""
    sketch = report.sketches.latency
    filled = [bucket for bucket, count in enumerate(sketch.counts) if count and bucket]
    if not filled:
        return '<p class="soft">Nothing was accepted.</p>'
    first, last = filled[0], filled[-1] + 1
    budget_s = report.budget.p99_s
    low, high = value_of(first), value_of(last)
    if budget_s is not None:
        low, high = min(low, budget_s), max(high, budget_s * 1.1)
    low, high = log10(low) - 0.02, log10(high) + 0.02
    each = ceil((last - first) / _BARS)  # whole buckets a bar: else some bars hold one more than their neighbours
    bars = [sum(sketch.counts[at : at + each]) for at in range(first, last, each)]
    step = log10(value_of(first + 1) / value_of(first))
    begin, width = log10(value_of(first)) - step / 2, each * step
    across = svg.along(high, low)
    top, height = 64, 170
    most = max(bars) / sketch.count
    up = svg.upwards(most, top, height)
    drawn = "".join(
        f'<rect x="{across(begin + i * width):.1f}" y="{up(count / sketch.count):.1f}" '
        f'width="{max(across(begin + width) - across(begin) - 1, 1):.1f}" '
        f'height="{top + height - up(count / sketch.count):.1f}" fill="var(--bar)"/>'
        for i, count in enumerate(bars)
        if count
    )
    # Each label has a line of its own: quantiles may lie close together.
    marks = [
        (f"p{q * 100:g}", sketch.quantile(q), "var(--blue)", top - 6 - 13 * i) for i, q in enumerate((0.5, 0.95, 0.99))
    ]
    if budget_s is not None:
        marks.append(("p99 budget", budget_s, "var(--red)", top - 45))
    spots = [(across(log10(at)), name, at, colour, y) for name, at, colour, y in marks if at]
    lines = "".join(
        f'<path d="M{x:.1f},{y + 3}V{top + height}" stroke="{colour}" stroke-dasharray="3 3"/>'
        f'<text x="{x:.1f}" y="{y}" text-anchor="{svg.anchor(x)}" style="fill:{colour}">{name} {figure(ms(at))}</text>'
        for x, name, at, colour, y in spots
    )
    axis = "".join(
        f'<text x="{across(log10(at)):.1f}" y="{top + height + 18}" text-anchor="middle">{_milliseconds(at)}</text>'
        for at in svg.log_ticks(low, high)
    )
    share = [tick for tick in svg.ticks(most * 100, 4) if tick <= most * 100]
    grid = svg.grid(share, lambda percent: up(percent / 100), "%")
    return svg.picture(top + height + 26, "latency distribution", grid + drawn + lines + axis)


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"
