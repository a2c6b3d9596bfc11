"""Line charts as a small SVG of its own colours, light and dark: panels above each other that share the time."""

from dataclasses import dataclass
from html import escape
from math import log10

_WIDTH, _PANEL, _GAP, _LEFT, _RIGHT, _TOP, _BOTTOM = 760, 150, 44, 46, 104, 30, 34
_STYLE = (
    "text{font:12px system-ui,sans-serif;fill:var(--ink)}.soft,.name-soft{fill:var(--soft)}.name-blue{fill:var(--blue)}"
    ".name-amber{fill:var(--amber)}path{fill:none;stroke-width:2}"
    "svg{--ink:#1c2733;--soft:#6b7885;--grid:#e3e8ee;--blue:#1f6feb;--amber:#c96f12;--red:#c9303a}"
    "@media(prefers-color-scheme:dark){svg{--ink:#e3e8ee;--soft:#94a1b0;--grid:#333d49;--blue:#5b9cff;--amber:#f0a04b;"
    "--red:#ff6b70}}"
)


@dataclass(frozen=True)
class Series:
    """`points`: (second, value); None: nothing to show there. `colour`: soft, blue, amber or red."""

    name: str
    colour: str
    points: list[tuple[float, float | None]]
    dashed: bool = False


@dataclass(frozen=True)
class Panel:
    """`marks`: (value, text) of the axis; `line`: one value across, with its name."""

    title: str
    series: list[Series]
    low: float
    high: float
    marks: list[tuple[float, str]]
    logarithmic: bool = False
    line: tuple[float, str] | None = None

    def share(self, value: float) -> float:
        """0 at `low`, 1 at `high`, and nothing beyond."""
        if self.logarithmic:
            found = (log10(max(value, self.low)) - log10(self.low)) / (log10(self.high) - log10(self.low))
        else:
            found = (value - self.low) / (self.high - self.low)
        return min(max(found, 0.0), 1.0)


def draw(panels: list[Panel], seconds: float, ticks: list[tuple[float, str]], axis: str) -> str:
    """`ticks`: (second, text) under the last panel; `axis`: what they are."""
    height = _TOP + len(panels) * _PANEL + (len(panels) - 1) * _GAP + _BOTTOM
    parts = []
    for number, panel in enumerate(panels):
        parts.append(_panel(panel, _TOP + number * (_PANEL + _GAP), seconds, [second for second, _ in ticks]))
    bottom = height - _BOTTOM + 16
    parts += [_text(_x(second, seconds), bottom, text, "middle", "soft") for second, text in ticks]
    parts.append(_text(_WIDTH - _RIGHT + 28, bottom, axis, "start", "soft"))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="-8 0 {_WIDTH + 8} {height}" role="img">\n'
        f"<style>{_STYLE}</style>\n{''.join(parts)}</svg>\n"
    )


def _x(second: float, seconds: float) -> float:
    return _LEFT + (_WIDTH - _LEFT - _RIGHT) * second / seconds


def _panel(panel: Panel, top: float, seconds: float, ticks: list[float]) -> str:
    def y(value: float) -> float:
        return top + _PANEL * (1 - panel.share(value))

    right = _WIDTH - _RIGHT
    parts = [_text(_LEFT, top - 10, panel.title, "start")]
    for value, text in panel.marks:
        parts.append(_rule(_LEFT, y(value), right, y(value), "grid"))
        parts.append(_text(_LEFT - 8, y(value) + 4, text, "end", "soft"))
    parts += [_rule(_x(second, seconds), top, _x(second, seconds), top + _PANEL, "grid") for second in ticks]
    if panel.line is not None:
        value, text = panel.line
        parts.append(_rule(_LEFT, y(value), right, y(value), "red"))
        parts.append(_text(right + 6, y(value) + 4, text, "start", "soft"))
    taken = [y(panel.line[0])] if panel.line is not None else []
    for series in panel.series:
        path, pen, end, last = "", "M", top, right
        for second, value in series.points:
            if value is None:
                pen = "M"
                continue
            end, last = y(value), _x(second, seconds)
            path += f"{pen}{_x(second, seconds):.1f} {end:.1f}"
            pen = "L"
        dash = ' stroke-dasharray="4 4"' if series.dashed else ""
        parts.append(f'<path d="{path}" stroke="var(--{series.colour})"{dash}/>\n')
        if right - last > _WIDTH / 10:  # it ends within the panel, and so does its name
            parts.append(_text(last + 6, end + 4, series.name, "start", f"name-{series.colour}"))
            continue
        while any(abs(end - other) < 14 for other in taken):  # names beside the lines' ends must not touch
            end += 2
        taken.append(end)
        parts.append(_text(right + 6, end + 4, series.name, "start", f"name-{series.colour}"))
    return "".join(parts)


def _rule(x1: float, y1: float, x2: float, y2: float, colour: str) -> str:
    return f'<path d="M{x1:.1f} {y1:.1f}L{x2:.1f} {y2:.1f}" stroke="var(--{colour})" style="stroke-width:1"/>\n'


def _text(x: float, y: float, text: str, anchor: str, style: str = "") -> str:
    named = f' class="{style}"' if style else ""
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}"{named}>{escape(text)}</text>\n'
