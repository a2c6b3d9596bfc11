"""What overload does over time: how soon a step is digested, and whether memory stays flat.

The step: half the capacity, then five times as much. Answers are looked at in windows of 250 ms by when they should
have been sent; the budget is kept again from the end of the last window whose accepted p99 is over it. The soak: three
times the capacity for as long as asked (`--soak MINUTES`), resident memory of gateway and replica sampled meanwhile.
"""

import threading
import time
from collections.abc import Callable
from pathlib import Path
from statistics import linear_regression, median

from load import drive
from open_loop import judge, judge_trace, requests_of, steps
from overload import Subject
from stack import WAYS, Stack, rss_bytes, serving
from table import Row

_WINDOW_S = 0.25
_STEP_BAR_S = 1.0
_CALLERS = 32
_SAMPLE_S = 2.0
_WARM_SHARE = 0.2  # of a soak: buffers and pools grow to their size first
_GROWTH_BAR = 0.05  # over the whole soak, of what there was


def step_part(subject: Subject, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for way in WAYS:
        with serving(way, subject.file, subject.path, work=work) as stack:
            drive(stack.url, subject.body, connections=_CALLERS, seconds=1, folder=work)
            capacity = drive(stack.url, subject.body, connections=_CALLERS, seconds=seconds, folder=work).per_s
            taken, worst = [], []
            for turn in range(rounds):
                say(f"{subject.name} {way}: step")
                trace = steps(work / "step.csv", (seconds, 0.5 * capacity), (2 * seconds, 5 * capacity))
                _, log = judge_trace(stack.url, subject.body, trace, work / "step-requests.csv", seed=turn)
                windows = p99_by_window(requests_of(log))
                taken.append(recovery_s(windows, seconds, subject.budget_ms))
                worst.append(max(p99 for _, p99 in windows))
        inside = median(taken)
        against = f"{_STEP_BAR_S:g} s; worst p99 of {_WINDOW_S * 1000:g} ms: {median(worst):.0f} ms"
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


def p99_by_window(requests: list[tuple[float, str, float | None]]) -> list[tuple[float, float]]:
    """(beginning, p99 in ms of the accepted), of windows in which any was."""
    windows: dict[int, list[float]] = {}
    for at, outcome, latency in requests:
        if outcome in ("ok", "degraded", "cached") and latency is not None:
            windows.setdefault(int(at / _WINDOW_S), []).append(latency)
    return [(number * _WINDOW_S, sorted(took)[int(len(took) * 0.99)]) for number, took in sorted(windows.items())]


def recovery_s(windows: list[tuple[float, float]], step_s: float, budget_ms: float) -> float:
    """From the step to the end of the last window over budget; 0 where none was."""
    late = [at + _WINDOW_S - step_s for at, p99 in windows if at + _WINDOW_S > step_s and p99 > budget_ms]
    return max(late, default=0.0)


def soak_part(subject: Subject, work: Path, *, minutes: float, say: Callable[[str], None]) -> list[Row]:
    rows = []
    for way in WAYS:
        with serving(way, subject.file, subject.path, work=work) as stack:
            drive(stack.url, subject.body, connections=_CALLERS, seconds=1, folder=work)
            capacity = drive(stack.url, subject.body, connections=_CALLERS, seconds=2, folder=work).per_s
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
