"""Axes, lines and legends as SVG text. A `Scale` turns a value into a coordinate."""

from collections.abc import Callable, Sequence
from math import ceil, floor, log10

WIDE, LEFT, RIGHT = 960, 62, 14
INNER = WIDE - LEFT - RIGHT

Scale = Callable[[float], float]


def picture(height: float, label: str, parts: str) -> str:
    return f'<svg viewBox="0 0 {WIDE} {height:g}" role="img" aria-label="{label}">{parts}</svg>'


def along(end: float, start: float = 0.0) -> Scale:
    """From `start` to `end` over the whole width."""
    span = end - start
    return lambda at: LEFT + INNER * (at - start) / span


def upwards(most: float, top: float, height: float) -> Scale:
    return lambda value: top + height * (1 - value / most)


def decades(least: float, most: float, top: float, height: float) -> tuple[Scale, list[float]]:
    """A logarithmic scale over whole decades that hold both, and its ticks: a breach of seconds must not flatten
    everything that was fine."""
    low = 10.0 ** floor(log10(least))
    high = 10.0 ** ceil(log10(most * 1.05))
    powers = round(log10(high / low))
    return (
        lambda value: top + height * (1 - log10(max(value, low) / low) / powers),
        [low * 10**power for power in range(powers + 1)],
    )


def logarithmic(least: float, most: float, top: float, height: float) -> tuple[Scale, list[float]]:
    """As `decades`, from the 1, 2 or 5 below the least to the one above the most."""
    low = max(tick for tick in log_ticks(log10(least) - 1, log10(least) + 0.001, dense=True) if tick <= least * 1.001)
    high = min(tick for tick in log_ticks(log10(most) - 0.001, log10(most) + 1, dense=True) if tick >= most * 0.999)
    high = max(high, low * 2)
    span = log10(high / low)
    return (
        lambda value: top + height * (1 - log10(max(value, low) / low) / span),
        [tick for tick in log_ticks(log10(low) - 0.001, log10(high) + 0.001) if low <= tick <= high],
    )


def anchor(x: float) -> str:
    """Near an edge a label goes inwards."""
    return "end" if x > WIDE - 60 else "start" if x < 60 else "middle"


def log_ticks(low: float, high: float, *, dense: bool = False) -> list[float]:
    """1, 2 and 5 of each decade between two exponents of ten; only 1 where there are many, but `dense`."""
    digits = (1, 2, 5) if dense or high - low < 3 else (1,)
    found = [digit * 10.0**power for power in range(floor(low), ceil(high) + 1) for digit in digits]
    return [float(f"{tick:.6g}") for tick in found if low <= log10(tick) <= high]


def ticks(most: float, count: int) -> list[float]:
    """From 0, some `count` round steps up to `most` or just over it."""
    raw = most / count
    unit = 10.0 ** floor(log10(raw))
    step = next(unit * digit for digit in (1, 2, 5, 10) if unit * digit >= raw * 0.999)
    return [float(f"{step * i:.6g}") for i in range(floor(most / step * 1.001) + 1)] or [0.0]


_TIME_STEPS = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10800, 21600, 43200, 86400)


def time_ticks(end_s: float, count: int) -> list[tuple[float, str]]:
    """(seconds, label) at steps a reader thinks in: seconds, minutes, hours, days."""
    raw = end_s / count
    if raw < 1:
        return [(at, f"{at:g} s") for at in ticks(end_s, count)]
    step: float = next((one for one in _TIME_STEPS if one >= raw), 0)
    step = step or 86400 * ceil(raw / 86400)
    unit, name = (
        (1, "s") if step < 60 else (60, "min") if step < 3600 else (3600, "h") if step < 86400 else (86400, "d")
    )
    return [(step * i, f"{step * i / unit:g} {name}") for i in range(floor(end_s / step) + 1)]


def grid(values: Sequence[float], up: Scale, unit: str) -> str:
    return "".join(
        f'<path d="M{LEFT},{up(tick):.1f}H{WIDE - RIGHT}" stroke="var(--line)"/>'
        f'<text x="{LEFT - 8}" y="{up(tick) + 4:.1f}" text-anchor="end">{tick:,g}{unit}</text>'
        for tick in values
    )


def legend(names: Sequence[tuple[str, str]], y: float, x: float = LEFT) -> str:
    """(name, colour) in one line that begins at `x`."""
    parts, x = [], float(x)
    for name, colour in names:
        parts.append(f'<rect x="{x}" y="{y - 9}" width="10" height="10" fill="{colour}"/>')
        parts.append(f'<text x="{x + 15}" y="{y}">{name}</text>')
        x += 30 + 7 * len(name)
    return "".join(parts)


def rule(y: float, colour: str) -> str:
    """A dashed line across, such as a budget's."""
    return f'<path d="M{LEFT},{y:.1f}H{WIDE - RIGHT}" stroke="{colour}" stroke-dasharray="6 4" fill="none"/>'


def line(
    times: Sequence[float],
    values: Sequence[float | None],
    across: Scale,
    up: Scale,
    colour: str,
    dash: str = "",
    *,
    width: float = 1.8,
) -> str:
    """Interrupted where there is no value; a lone one is a dot's width."""
    path, drawing = [], False
    for at, value in zip(times, values, strict=True):
        if value is None:
            drawing = False
            continue
        x, y = across(at), up(value)
        path.append(f"{'L' if drawing else 'M'}{x:.1f},{y:.1f}" + ("" if drawing else "h0.1"))
        drawing = True
    style = f' stroke-dasharray="{dash}"' if dash else ""
    return (
        f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="{width}" stroke-linecap="round" '
        f'stroke-linejoin="round"{style}/>'
    )


def staircase(
    times: Sequence[float], step_s: float, values: Sequence[float], across: Scale, up: Scale, colour: str
) -> str:
    """Whole counts that hold for a step each; `times`: where steps begin."""
    path = []
    before: float | None = None
    for at, value in zip(times, values, strict=True):
        if value != before:
            path.append(
                f"M{across(at):.1f},{up(value):.1f}" if before is None else f"H{across(at):.1f}V{up(value):.1f}"
            )
        before = value
    if times:
        path.append(f"H{across(times[-1] + step_s):.1f}")
    return f'<path d="{"".join(path)}" fill="none" stroke="{colour}" stroke-width="1.6" stroke-linejoin="round"/>'
