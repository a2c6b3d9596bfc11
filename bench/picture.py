"""The picture of overload: one ramp against the tutorial's server and against `plimsoll up`, as an SVG.

    python bench/picture.py [--seconds 30] [--top 1800] [--out docs/images/overload.svg]

Both serve `peers/sleepy.py`, a device that takes one call at a time. Above: offered requests, and what each answered
within 200 ms, by when it should have been sent. Below: the p99 of what was answered, whatever it took.
"""

import argparse
import sys
from dataclasses import dataclass
from pathlib import Path

from chart import Panel, Series, draw
from load import drive
from open_loop import ACCEPTED, judge_by, p99
from overload import sleepy
from servers import HERE, free_port, python, running
from stack import serving

WORK = HERE / ".work"
BODY, BUDGET_MS, DEADLINE_MS = b'{"a":1}', 100.0, 200.0
_STEP_S = 0.5
_FIRST = 20.0


@dataclass(frozen=True)
class Ridden:
    """One server's ramp, in steps of half a second: requests/s offered and answered in time, p99 in ms."""

    offered: list[float]
    good: list[float]
    p99: list[float | None]


def ride(url: str, seconds: float, top: float) -> Ridden:
    """The ramp, after a second of warming up."""
    drive(url, BODY, connections=16, seconds=1, folder=WORK)
    run = judge_by(
        url, BODY, "--ramp", f"{_FIRST:g}:{top:g}", "--for", f"{seconds:g}s", "--budget", f"{BUDGET_MS:g}ms",
        "--connections", "4096",
    )  # fmt: skip
    return by_step(run.requests, seconds)


def by_step(requests: list[tuple[float, str, float | None]], seconds: float) -> Ridden:
    count = round(seconds / _STEP_S)
    offered, good = [0] * count, [0] * count
    took: list[list[float]] = [[] for _ in range(count)]
    for at, outcome, latency in requests:
        step = min(int(at / _STEP_S), count - 1)
        offered[step] += 1
        if outcome in ACCEPTED and latency is not None:
            took[step].append(latency)
            good[step] += latency <= DEADLINE_MS
    return Ridden([one / _STEP_S for one in offered], [one / _STEP_S for one in good], [p99(one) for one in took])


def picture(theirs: Ridden, ours: Ridden, seconds: float, top: float) -> str:
    def points(values: list[float] | list[float | None]) -> list[tuple[float, float | None]]:
        return [((step + 0.5) * _STEP_S, value) for step, value in enumerate(values)]

    def offered_at(second: float) -> float:
        return _FIRST + (top - _FIRST) * second / seconds

    ticks = [(second, f"{offered_at(second):,.0f}/s") for second in (seconds * part / 6 for part in range(7))]
    rate = Panel(
        "answered in time, requests/s",
        [
            Series("offered", "soft", points(ours.offered), dashed=True),
            Series("FastAPI", "amber", points(theirs.good)),
            Series("Plimsoll", "blue", points(ours.good)),
        ],
        low=0,
        high=top,
        marks=[(value, f"{value:,.0f}") for value in (0, top / 3, top * 2 / 3, top)],
    )
    tail = Panel(
        "p99 of what was answered, ms",
        [Series("FastAPI", "amber", points(theirs.p99)), Series("Plimsoll", "blue", points(ours.p99))],
        low=3,
        high=10_000,
        logarithmic=True,
        line=(BUDGET_MS, "budget 100 ms"),
        marks=[(10, "10"), (100, "100"), (1000, "1,000"), (10_000, "10,000")],
    )
    return draw([rate, tail], seconds, ticks, "offered")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=30)
    parser.add_argument("--top", type=float, default=1800, help="the ramp's last rate")
    parser.add_argument("--out", type=Path, default=HERE.parent / "docs/images/overload.svg")
    options = parser.parse_args()
    WORK.mkdir(exist_ok=True)
    port = free_port()
    command = python(str(HERE / "peers/fastapi_sleepy.py"), str(port))
    with running(command, port, log=WORK / "fastapi-sleepy.log"):
        theirs = ride(f"http://127.0.0.1:{port}/sleepy", options.seconds, options.top)
    subject = sleepy(HERE / "peers/sleepy.py")
    with serving("gateway", subject.file(WORK), subject.path, work=WORK) as stack:
        ours = ride(stack.url, options.seconds, options.top)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    options.out.write_text(picture(theirs, ours, options.seconds, options.top))
    for name, ridden in (("FastAPI", theirs), ("Plimsoll", ours)):
        slowest = max(one for one in ridden.p99 if one is not None)
        print(f"{name:9} answered in time at the end {ridden.good[-2]:,.0f}/s; worst p99 {slowest:,.0f} ms")


if __name__ == "__main__":
    sys.exit(main())
