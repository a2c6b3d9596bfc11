"""Traffic whose decisions were kept, to see that what forecasts and scalers remember may be kept smaller, and not
otherwise. `python -m tests.unit.policy.scaling.budget.golden` keeps them anew, where decisions are meant to change."""

import json
import random
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from itertools import groupby
from math import sin, sqrt
from pathlib import Path

from tests.unit.policy.scaling.budget.timeline import Timeline, bounds

from plimsoll.core.scaling import Bounds

KEPT = Path(__file__).with_name("golden_decisions.json")
QUANTILE, EVERY = 0.95, 25  # of the forecasts that are kept: one in so many looks


@dataclass(frozen=True)
class Case:
    """`rate(second)` and `cold_s(second)`; `jitter`: looks last 1 s, more or less by as much."""

    seconds: int
    rate: Callable[[float], float]
    cold_s: Callable[[float], float] = lambda second: 8.0
    limits: Bounds = field(default_factory=bounds)
    jitter: float = 0.0


def _gusts(second: float) -> float:
    return (900.0 + 500.0 * sin(second / 150.0)) * (3.0 if second % 290 < 11 else 1.0)


CASES = {
    "a small service": Case(1500, lambda second: 900.0 + 600.0 * sin(second / 60.0)),
    "a tide with gusts, over an hour": Case(4000, _gusts),
    "asleep, a rush, asleep": Case(
        2000,
        lambda second: 700.0 if 700 <= second < 1300 else 0.0,
        cold_s=lambda second: 20.0,
        limits=bounds(0, zero_after_s=120.0),
    ),
    "a start of 90 s": Case(
        1800, lambda second: 300.0 + 0.4 * second + 150.0 * sin(second / 40.0), lambda second: 90.0
    ),
    "starts that change": Case(
        2400, _gusts, cold_s=lambda second: (8.0, 14.0, 8.0, 40.0, 9.0, 8.0)[int(second // 400)]
    ),
    "looks of any length": Case(1500, lambda second: 2400.0 + 1900.0 * sin(second / 33.0), jitter=0.15),
    "hundreds of replicas": Case(1200, lambda second: 60_000.0 + 30_000.0 * sin(second / 200.0)),
    "a spike of a thousand times": Case(1200, lambda second: 200_000.0 if 500 <= second < 503 else 200.0),
}


def lived(name: str) -> tuple[list[int], list[float]]:
    """The count after each look, and the forecast at each 25th."""
    case, drawn = CASES[name], random.Random(name)
    world = Timeline(case.limits, cold_s=case.cold_s(0.0))
    counts, forecasts = [], []
    for second in range(case.seconds):
        world.lead = replace(world.lead, start_s=case.cold_s(second), start_p90_s=case.cold_s(second))
        step_s = 1.0 + drawn.uniform(-case.jitter, case.jitter)
        mean = case.rate(float(second)) * step_s
        arrived = max(0, round(drawn.gauss(mean, sqrt(mean))))
        counts += world.run(step_s, arrived / step_s, step_s=step_s)
        if second % EVERY == 0:
            forecasts.append(float(f"{world.forecast.rate(case.cold_s(second) + 1.0, QUANTILE):.6g}"))
    return counts, forecasts


def keep() -> None:
    kept = {}
    for name in CASES:
        counts, forecasts = lived(name)
        runs = [[count, len(list(group))] for count, group in groupby(counts)]
        kept[name] = {"counts": runs, "forecasts": forecasts}
    lines = ",\n".join(f"{json.dumps(name)}: {json.dumps(one)}" for name, one in kept.items())
    KEPT.write_text(f"{{\n{lines}\n}}\n")


if __name__ == "__main__":
    keep()
