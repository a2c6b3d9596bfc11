"""Made-up traffic with the features of real traffic: days, a trend, bursts and flash crowds. One seed gives the same.

As text: `synthetic:mean=200,days=2,swing=0.6,trend=0.1,bursts=12,flash=1,seed=7`. See docs/traces.md for every key.
"""

from collections.abc import Callable
from dataclasses import dataclass
from difflib import get_close_matches
from math import isfinite

import numpy as np
from numpy.typing import NDArray

from plimsoll.core.units import parse_duration
from plimsoll.insight.traffic.rates import Rates, Segment
from plimsoll.insight.traffic.trace import Trace, TraceError

_POINTS_MOST = 20_000
_STEP_LEAST_S = 1.0
_RISE = 0.1  # of a flash crowd's length; the rest is its decay, to a twentieth

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Synthetic:
    """`mean`: requests a second over all of it. A day swings by `swing` of its mean around it, highest at `peak` of a
    day's length; `trend`: how much more the end has than the beginning, as a share of the mean. `bursts` a day: for
    `burst_s` the rate is `burst_size` times as high (both means of what is drawn). `flash` crowds in all: the rate
    rises to `flash_size` times and decays, in `flash_s`. `noise`: relative deviation of each minute. `cv`: of the gaps
    between requests; None: Poisson."""

    mean: float = 100.0
    days: float = 1.0
    day_s: float = 86_400.0
    swing: float = 0.5
    peak: float = 0.6
    trend: float = 0.0
    bursts: float = 0.0
    burst_size: float = 2.0
    burst_s: float = 120.0
    flash: int = 0
    flash_size: float = 6.0
    flash_s: float = 900.0
    noise: float = 0.0
    cv: float | None = None
    seed: int = 1

    @property
    def seconds(self) -> float:
        return self.days * self.day_s


def parse_synthetic(text: str) -> Trace:
    """`synthetic`, or `synthetic:` and `key=value` by commas. Raises TraceError: the key and what it wants."""
    name, _, rest = text.partition(":")
    if name.strip() != "synthetic":
        raise TraceError(f"{text}: made-up traffic begins with synthetic:")
    given: dict[str, float | int | None] = {}
    for part in filter(None, (part.strip() for part in rest.split(","))):
        key, equals, value = (piece.strip() for piece in part.partition("="))
        field, read = _KEYS.get(key, ("", _at_least(0.0)))
        if not field:
            near = get_close_matches(key, _KEYS, n=1)
            hint = f"did you mean {near[0]}? " if near else ""
            raise TraceError(f"synthetic: unknown key {key!r}; {hint}There are {', '.join(_KEYS)}")
        if not equals:
            raise TraceError(f"synthetic: {key} wants a value: {key}=…")
        if field in given:
            raise TraceError(f"synthetic: {key} is said twice")
        try:
            given[field] = read(value)
        except ValueError as error:
            raise TraceError(f"synthetic: {key}={value}: {error}") from None
    return Trace(rates=synthetic(Synthetic(**given)))  # type: ignore[arg-type]  # each field's own reader made it


def synthetic(spec: Synthetic) -> Rates:
    """Lines between points of 1 s or more, 20,000 at most; the mean is exact."""
    random = np.random.Generator(np.random.PCG64(np.random.SeedSequence(spec.seed)))
    points = int(min(_POINTS_MOST, max(2, spec.seconds / _STEP_LEAST_S)))
    at = np.linspace(0.0, spec.seconds, points + 1)
    level = _level(spec, at)
    level *= _minutes(spec, at, random)
    level *= _bursts(spec, at, random)
    level *= _flashes(spec, at, random)
    total = float(((level[1:] + level[:-1]) / 2 * np.diff(at)).sum())
    rates = (level * (spec.mean * spec.seconds / total)).tolist()
    times = at.tolist()
    return Rates(
        Segment(times[i], times[i + 1], rates[i], rates[i + 1], spec.cv)
        for i in range(points)
        if rates[i] + rates[i + 1]
    )


def _level(spec: Synthetic, at: Floats) -> Floats:
    daily = 1 + spec.swing * np.cos(2 * np.pi * (at / spec.day_s - spec.peak))
    return np.asarray(np.maximum(0.0, daily * (1 + spec.trend * (at / spec.seconds - 0.5))))


def _minutes(spec: Synthetic, at: Floats, random: np.random.Generator) -> Floats:
    """Lognormal, of mean 1, along lines between minutes (1,440 a day)."""
    if spec.noise == 0:
        return np.ones_like(at)
    minutes = np.linspace(0.0, spec.seconds, max(2, round(spec.days * 1440)) + 1)
    sigma = np.sqrt(np.log1p(spec.noise**2))
    return np.interp(at, minutes, np.exp(random.normal(-sigma * sigma / 2, sigma, len(minutes))))


def _bursts(spec: Synthetic, at: Floats, random: np.random.Generator) -> Floats:
    raised = np.ones_like(at)
    for begin in np.sort(random.uniform(0.0, spec.seconds, random.poisson(spec.bursts * spec.days))):
        lasts = random.exponential(spec.burst_s)
        more = random.exponential(max(0.0, spec.burst_size - 1))
        raised[np.searchsorted(at, begin) : np.searchsorted(at, begin + lasts, side="right")] += more
    return raised


def _flashes(spec: Synthetic, at: Floats, random: np.random.Generator) -> Floats:
    """Each rises along a line and decays exponentially; none begins in the last of its lengths."""
    raised = np.ones_like(at)
    room = max(0.0, spec.seconds - spec.flash_s)
    for begin in np.sort(random.uniform(0.0, room, spec.flash)):
        since = at - begin
        rise = _RISE * spec.flash_s
        up = np.clip(since / rise, 0.0, 1.0)
        down = np.exp(-np.maximum(0.0, since - rise) * 3 / (spec.flash_s - rise))
        raised += max(0.0, spec.flash_size - 1) * up * down
    return raised


Reader = Callable[[str], "float | int | None"]


def _number(text: str) -> float:
    try:
        number = float(text)
    except ValueError:
        number = float("nan")
    if not isfinite(number):
        raise ValueError("is no number")
    return number


def _at_least(least: float, most: float = 1e9) -> Reader:
    def read(text: str) -> float:
        number = _number(text)
        if not least <= number <= most:
            raise ValueError(f"expected {least:g} to {most:g}")
        return number

    return read


def _whole(most: int) -> Reader:
    def read(text: str) -> int:
        if not text.isdecimal() or int(text) > most:
            raise ValueError(f"expected a whole number, 0 to {most}")
        return int(text)

    return read


def _lasting(text: str) -> float:
    seconds = parse_duration(text)
    if seconds < 1:
        raise ValueError("expected a second or more")
    return seconds


_KEYS: dict[str, tuple[str, Reader]] = {
    "mean": ("mean", _at_least(1e-3)),
    "days": ("days", _at_least(1e-3, 400)),
    "day": ("day_s", _lasting),
    "swing": ("swing", _at_least(0.0, 1.0)),
    "peak": ("peak", _at_least(0.0, 1.0)),
    "trend": ("trend", _at_least(-2.0, 2.0)),
    "bursts": ("bursts", _at_least(0.0, 10_000)),
    "burst-size": ("burst_size", _at_least(1.0)),
    "burst-for": ("burst_s", _lasting),
    "flash": ("flash", _whole(1000)),
    "flash-size": ("flash_size", _at_least(1.0)),
    "flash-for": ("flash_s", _lasting),
    "noise": ("noise", _at_least(0.0, 10.0)),
    "cv": ("cv", _at_least(0.0, 100.0)),
    "seed": ("seed", _whole(2**63 - 1)),
}
