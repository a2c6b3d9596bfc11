"""What happens beyond the capacity: goodput, the accepted requests' p99, how soon the others are told.

Each figure is measured straight at a replica and through the gateway (`stack.py`). Capacity comes first: the best of
closed loops of 8 to 64 callers whose p99 is inside the budget, measured again before and after each overload, since a
shared machine drifts. Goodput is what was answered within the deadline, twice the p99 budget, as the timeout is.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from load import Load, drive
from open_loop import Judged, judge
from stack import WAYS, Stack, serving
from table import Row

_CALLERS = (8, 16, 32, 64)
_LATE_MS = 2.0  # what a refusal may take beyond a request at no load


@dataclass(frozen=True)
class Subject:
    """A model under overload. `budget_ms`: its p99; `times`: multiples of the capacity."""

    name: str
    file: Path
    path: str
    body: bytes
    budget_ms: float
    times: tuple[int, ...]
    callers: tuple[int, ...] = _CALLERS


@dataclass
class Rounds:
    """What was measured of one subject one way, in the order of the rounds."""

    capacity: float = 0.0  # requests/s, median of all its measurements
    callers: int = 0
    idle: list[Judged] = field(default_factory=list)
    loads: dict[int, list[tuple[float, Judged]]] = field(default_factory=dict)  # by multiple: (capacity, run)


def sleepy(work: Path, model: Path) -> Subject:
    return Subject("sleepy", _file(work, "sleepy", model, 100), "/sleepy", b'{"a":1}', 100, (3, 10))


def heavy(work: Path, model: Path, body: bytes) -> Subject:
    file = _file(work, "heavy-alone", model, 50, name="heavy", more="  batching: {maxSize: 1}\n")
    return Subject("heavy", file, "/v2/models/heavy/infer", body, 50, (3,), callers=(2, 4, 8))


def _file(work: Path, stem: str, model: Path, budget_ms: int, *, name: str = "", more: str = "") -> Path:
    path = work / f"{stem}.yaml"
    name = name or stem
    path.write_text(
        f"apiVersion: plimsoll.dev/v1alpha1\nkind: ModelService\nmetadata: {{name: {name}}}\nspec:\n"
        f"  model: {{path: {model}}}\n  routes: [{{path: /{name}}}]\n"
        f"  budget: {{latency: {{p99: {budget_ms}ms}}}}\n{more}"
    )
    return path


def overload_part(
    subjects: list[Subject], work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """Rows of all subjects, both ways."""
    rows: list[Row] = []
    for subject in subjects:
        for way in WAYS:
            with serving(way, subject.file, subject.path, work=work) as stack:
                rows += rows_of(subject, way, measure(subject, stack, work, rounds=rounds, seconds=seconds, say=say))
    return rows


def measure(
    subject: Subject, stack: Stack, work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> Rounds:
    def closed(callers: int, lasting: float) -> Load:
        say(f"{subject.name} {stack.way}: {callers} callers")
        return drive(stack.url, subject.body, connections=callers, seconds=lasting, folder=work)

    found = Rounds()
    closed(subject.callers[-1], 1)  # learns its service time
    tried = {callers: closed(callers, 1) for callers in subject.callers}
    inside = {callers: load for callers, load in tried.items() if load.p99_ms <= subject.budget_ms and not load.errors}
    if not inside:
        raise RuntimeError(f"{subject.name}: no closed loop is inside {subject.budget_ms:g} ms: {tried}")
    found.callers = max(inside, key=lambda callers: inside[callers].per_s)
    capacities = [closed(found.callers, seconds).per_s]
    for turn in range(rounds):
        say(f"{subject.name} {stack.way}: no load")
        found.idle.append(judge(stack.url, subject.body, 0.05 * capacities[-1], seconds, seed=turn, arrivals="uniform"))
        for times in subject.times:
            before = capacities[-1]
            say(f"{subject.name} {stack.way}: {times} x {before:.0f}/s")
            run = judge(
                stack.url, subject.body, times * before, 2 * seconds, "--budget", f"{subject.budget_ms:g}ms", seed=turn
            )
            capacities.append(closed(found.callers, seconds).per_s)
            found.loads.setdefault(times, []).append(((before + capacities[-1]) / 2, run))
    found.capacity = median(capacities)
    return found


def rows_of(subject: Subject, way: str, found: Rounds) -> list[Row]:
    name = f"{subject.name}, {way}"
    idle = median(run.p99_ms or 0.0 for run in found.idle)
    capacity = f"{found.capacity:,.0f}/s"
    rows = []
    for times, pairs in found.loads.items():
        runs = [run for _, run in pairs]
        goodput, share = median(r.goodput_per_s for r in runs), median(r.goodput_per_s / c for c, r in pairs)
        p99 = median(_or_inf(run.p99_ms) for run in runs)
        late = median(_or_inf(run.refusal_p99_ms) for run in runs) - idle
        lost = sum(run.hung + abs(run.offered - run.ended) for run in runs)
        at = f"{times}x"
        lag = max(run.lag_p99_ms for run in runs)
        rows += [
            Row(
                name,
                f"{at} goodput",
                f"{goodput:,.0f}/s",
                f"capacity {capacity}, {found.callers} callers",
                share,
                "≥ 0.95",
            ),
            Row(
                name,
                f"{at} accepted p99",
                f"{p99:.1f} ms",
                f"budget {subject.budget_ms:g} ms",
                p99 / subject.budget_ms,
                "≤ 1.0",
            ),
            Row(
                name,
                f"{at} refusal p99",
                f"{late + idle:.1f} ms",
                f"no load {idle:.1f} ms + {_LATE_MS:g}",
                (late + idle) / (idle + _LATE_MS),
                "≤ 1.0",
            ),
            Row(
                name,
                f"{at} hung or uncounted",
                f"{lost}",
                f"of {sum(r.offered for r in runs):,}; load's lag {lag:.1f} ms",
                float(lost),
                "≤ 0",
            ),
        ]
    return rows


def _or_inf(value: float | None) -> float:
    return float("inf") if value is None else value
