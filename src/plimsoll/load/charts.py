"""The report's two pictures as SVG: what was offered and became of it over time, and how latencies spread."""

from collections.abc import Callable, Sequence
from math import ceil, floor, log10

from plimsoll.insight.sketch import value_of
from plimsoll.load.report import Report, figure
from plimsoll.load.tally import Row, ms

_WIDE, _LEFT, _RIGHT = 960, 62, 14
_INNER = _WIDE - _LEFT - _RIGHT
_BARS = 72  # of the distribution

Scale = Callable[[float], float]


def timeline(report: Report) -> str:
    """Rates above, p50 and p99 of the accepted below, on one axis of seconds."""
    rows = [row for row in report.rows if row.step_s > 0]
    if not rows:
        return '<p class="soft">Nothing was measured.</p>'
    end = max(rows[-1].at_s + rows[-1].step_s, 1e-3)
    across: Scale = lambda at: _LEFT + _INNER * at / end  # noqa: E731
    top, height, gap, low = 26, 190, 44, 150
    rates = _rates(rows, across, top, height)
    latency = _latency(report, rows, across, top + height + gap, low)
    bottom = top + height + gap + low
    axis = "".join(
        f'<text x="{across(tick):.1f}" y="{bottom + 18}" text-anchor="middle">{tick:g} s</text>'
        for tick in _ticks(end, 8)
    )
    return (
        f'<svg viewBox="0 0 {_WIDE} {bottom + 26}" role="img" aria-label="rates and latency over time">'
        f"{rates}{latency}{axis}</svg>"
    )


def _rates(rows: Sequence[Row], across: Scale, top: int, height: int) -> str:
    most = max(max(row.offered, row.accepted, row.refused, row.failed) / row.step_s for row in rows) or 1.0
    ticks = _ticks(most, 4)
    most = max(most, ticks[-1])
    up: Scale = lambda rate: top + height * (1 - rate / most)  # noqa: E731
    series = (
        ("offered", "var(--soft)", "4 3", [row.offered / row.step_s for row in rows]),
        ("accepted", "var(--green)", "", [row.accepted / row.step_s for row in rows]),
        ("refused", "var(--amber)", "", [row.refused / row.step_s for row in rows]),
        ("failed", "var(--red)", "", [row.failed / row.step_s for row in rows]),
    )
    shown = [one for one in series if one[0] in {"offered", "accepted"} or any(one[3])]
    lines = "".join(_steps(rows, values, across, up, colour, dash) for _, colour, dash, values in shown)
    return _grid(ticks, up, "/s") + lines + _legend([(name, colour) for name, colour, _, _ in shown], top - 12)


def _latency(report: Report, rows: Sequence[Row], across: Scale, top: int, height: int) -> str:
    budget = ms(report.budget.p99_s)
    seen = [value for row in rows for value in (row.p50_ms, row.p99_ms) if value]
    if not seen:
        return ""
    # By decades: a breach of seconds must not flatten everything that was fine.
    least = 10.0 ** floor(log10(min(*seen, budget or seen[0])))
    most = 10.0 ** ceil(log10(max(*seen, budget or seen[0]) * 1.05))
    decades = log10(most / least)
    up: Scale = lambda value: top + height * (1 - log10(max(value, least) / least) / decades)  # noqa: E731
    ticks = [least * 10**power for power in range(round(decades) + 1)]
    series = (
        ("p50", "var(--bar)", [row.p50_ms for row in rows]),
        ("p99", "var(--blue)", [row.p99_ms for row in rows]),
    )
    lines = "".join(_steps(rows, values, across, up, colour, "") for _, colour, values in series)
    names = [(name, colour) for name, colour, _ in series]
    if budget is not None:
        at = up(budget)
        lines += (
            f'<path d="M{_LEFT},{at:.1f}H{_WIDE - _RIGHT}" stroke="var(--red)" stroke-dasharray="6 4" fill="none"/>'
        )
        names.append(("p99 budget", "var(--red)"))
    return _grid(ticks, up, " ms") + lines + _legend(names, top - 12)


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
    across: Scale = lambda exponent: _LEFT + _INNER * (exponent - low) / (high - low)  # noqa: E731
    top, height = 64, 170
    most = max(bars) / sketch.count
    up: Scale = lambda share: top + height * (1 - share / most)  # noqa: E731
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
    lines = "".join(
        f'<path d="M{across(log10(at)):.1f},{y + 3}V{top + height}" stroke="{colour}" stroke-dasharray="3 3"/>'
        f'<text x="{across(log10(at)):.1f}" y="{y}" text-anchor="{_anchor(across(log10(at)))}" style="fill:{colour}">'
        f"{name} {figure(ms(at))}</text>"
        for name, at, colour, y in marks
        if at
    )
    axis = "".join(
        f'<text x="{across(log10(at)):.1f}" y="{top + height + 18}" text-anchor="middle">{_milliseconds(at)}</text>'
        for at in _log_ticks(low, high)
    )
    share = [tick for tick in _ticks(most * 100, 4) if tick <= most * 100]
    grid = _grid(share, lambda percent: up(percent / 100), "%")
    return (
        f'<svg viewBox="0 0 {_WIDE} {top + height + 26}" role="img" aria-label="latency distribution">'
        f"{grid}{drawn}{lines}{axis}</svg>"
    )


def _anchor(x: float) -> str:
    """Near an edge a label goes inwards."""
    return "end" if x > _WIDE - 60 else "start" if x < 60 else "middle"


def _milliseconds(seconds: float) -> str:
    return f"{seconds * 1000:g} ms" if seconds < 1 else f"{seconds:g} s"


def _log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 of each decade; only 1 where there are many."""
    digits = (1, 2, 5) if high - low < 3 else (1,)
    found = [digit * 10.0**power for power in range(floor(low), ceil(high) + 1) for digit in digits]
    return [float(f"{tick:.6g}") for tick in found if low <= log10(tick) <= high]


def _ticks(most: float, count: int) -> list[float]:
    """From 0, some `count` round steps up to `most` or just over it."""
    raw = most / count
    unit = 10.0 ** floor(log10(raw))
    step = next(unit * digit for digit in (1, 2, 5, 10) if unit * digit >= raw * 0.999)
    return [float(f"{step * i:.6g}") for i in range(floor(most / step * 1.001) + 1)] or [0.0]


def _grid(ticks: Sequence[float], up: Scale, unit: str) -> str:
    return "".join(
        f'<path d="M{_LEFT},{up(tick):.1f}H{_WIDE - _RIGHT}" stroke="var(--line)"/>'
        f'<text x="{_LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:,g}{unit}</text>'
        for tick in ticks
    )


def _legend(names: Sequence[tuple[str, str]], y: float) -> str:
    parts, x = [], float(_LEFT)
    for name, colour in names:
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y}">{name}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)


def _steps(
    rows: Sequence[Row], values: Sequence[float | None], across: Scale, up: Scale, colour: str, dash: str
) -> str:
    """A line through the middles of the steps, interrupted where there is no value; a lone one is a dot's width."""
    path, drawing = [], False
    for row, value in zip(rows, values, strict=True):
        if value is None:
            drawing = False
            continue
        x, y = across(row.at_s + row.step_s / 2), up(value)
        path.append(f"{'L' if drawing else 'M'}{x:.1f},{y:.1f}" + ("" if drawing else "h0.1"))
        drawing = True
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.8" stroke-linecap="round" '
        f'stroke-linejoin="round"{style}/>'
    )
