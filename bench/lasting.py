"""What overload does over time: how soon a step is digested, and whether memory stays flat.

The step: half the capacity, then five times the capacity. The budget is kept again from the first moment after which
the p99 of all accepted requests, by when they should have been sent, is inside. The soak: three
times the capacity for as long as asked (`--soak MINUTES`), resident memory of gateway and replica sampled meanwhile.
"""

import threading
import time
from collections.abc import Callable
from math import inf
from pathlib import Path
from statistics import linear_regression, median

from capacity import Subject, measuring
from open_loop import ACCEPTED, judge, judge_by, p99, steps
from overload import warm
from stack import WAYS, Stack, rss_bytes, serving
from table import Row

_GRID_S = 0.05
_LEAST_S = 1.0  # what a p99 is looked for in
_STEP_BAR_S = 1.0
_SAMPLE_S = 2.0
_WARM_SHARE = 0.2  # of a soak: buffers and pools grow to their size first
_GROWTH_BAR = 0.05  # over the whole soak, of what there was


def step_part(subject: Subject, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for way in WAYS:
        with (
            measuring(way, subject, work, say) as twin,
            serving(way, subject.file(work), subject.path, work=work) as stack,
        ):
            warm(subject, stack, work)
            capacity = twin.measure(seconds)
            taken, worst = [], []
            for turn in range(rounds):
                say(f"{subject.name} {way}: step")
                trace = steps(work / "step.csv", (seconds, 0.5 * capacity), (2 * seconds, 5 * capacity))
                run = judge_by(stack.url, subject.body, "--trace", str(trace), seed=turn)
                taken.append(recovery_s(run.requests, seconds, subject.budget_ms))
                worst.append(max(took for _, outcome, took in run.requests if outcome in ACCEPTED and took is not None))
        inside = median(taken)
        against = f"{_STEP_BAR_S:g} s; slowest accepted {median(worst):.0f} ms"
        rows.append(
            Row(
                f"{subject.name}, {way}",
                "0.5x → 5x, inside again",
                f"{inside:.2f} s",
                against,
                inside / _STEP_BAR_S,
                "≤ 1.0",
            )
        )
    return rows


def recovery_s(requests: list[tuple[float, str, float | None]], step_s: float, budget_ms: float) -> float:
    """Seconds from the step after which the p99 of all that was accepted from there on is inside; infinite where it
    never is."""
    accepted = [(at, took) for at, outcome, took in requests if outcome in ACCEPTED and took is not None]
    last = max((at for at, _ in accepted), default=step_s)
    at_s = step_s
    while at_s < last - _LEAST_S:
        rest = p99([took for at, took in accepted if at >= at_s])
        if rest is not None and rest <= budget_ms:
            return at_s - step_s
        at_s += _GRID_S
    return inf


def soak_part(subject: Subject, work: Path, *, minutes: float, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for way in WAYS:
        with (
            measuring(way, subject, work, say) as twin,
            serving(way, subject.file(work), subject.path, work=work) as stack,
        ):
            warm(subject, stack, work)
            capacity = twin.measure(2)
            say(f"{subject.name} {way}: soaking for {minutes:g} min")
            parts = {"replica": stack.replicas} | ({"gateway": stack.doors} if way == "gateway" else {})
            with Sampler(parts) as sampler:
                run = judge(stack.url, subject.body, 3 * capacity, minutes * 60, "--budget", f"{subject.budget_ms:g}ms")
            rows += [_memory_row(subject, stack, name, sampler.samples[name], minutes) for name in parts]
            lost = run.hung + abs(run.offered - run.ended)
            against = f"of {run.offered:,}; goodput {run.goodput_per_s:.0f} of {capacity:.0f}/s, p99 {run.p99_ms} ms"
            rows.append(
                Row(f"{subject.name}, {way}", "soak, hung or uncounted", f"{lost}", against, float(lost), "≤ 0")
            )
    return rows


def _memory_row(subject: Subject, stack: Stack, name: str, samples: list[tuple[float, int]], minutes: float) -> Row:
    """The line through the samples, after the first fifth."""
    settled = samples[int(len(samples) * _WARM_SHARE) :]
    slope = linear_regression([at for at, _ in settled], [float(size) for _, size in settled]).slope
    before, growth = settled[0][1], slope * minutes * 60
    figure = f"{slope * 60 / 1e6:+.2f} MB/min"
    against = f"{before / 1e6:.0f} MB, {growth / 1e6:+.1f} MB in {minutes:g} min"
    return Row(
        f"{subject.name}, {stack.way}", f"soak, memory, {name}", figure, against, growth / before, f"≤ {_GROWTH_BAR}"
    )


class Sampler:
    """Resident bytes of processes while something else runs."""

    def __init__(self, parts: dict[str, tuple[int, ...]]) -> None:
        self._parts = parts
        self.samples: dict[str, list[tuple[float, int]]] = {name: [] for name in parts}
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)

    def __enter__(self) -> "Sampler":
        self._thread.start()
        return self

    def __exit__(self, *error: object) -> None:
        self._ended.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._ended.wait(_SAMPLE_S):
            for name, pids in self._parts.items():
                self.samples[name].append((time.monotonic(), rss_bytes(pids)))
