"""What happens beyond the capacity: goodput, the accepted requests' p99, how soon the others are told.

Each figure is measured straight at a replica and through the gateway (`stack.py`), and held against the capacity
(`capacity.py`) right before and right after, since a shared machine drifts. Goodput is what was answered within the
deadline: twice the p99 budget, as the service's timeout.
"""

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from capacity import Capacity, Subject, measuring
from load import drive
from open_loop import Judged, judge
from stack import WAYS, Stack, serving
from table import Row

_LATE_MS = 2.0  # what a refusal may take beyond a request at no load
_IDLE_SHARE = 0.05  # of the capacity: no load


@dataclass
class Rounds:
    """What was measured of one subject one way, in the order of the rounds."""

    capacity: float = 0.0  # requests/s, median of all its measurements
    callers: int = 0
    idle: list[Judged] = field(default_factory=list)
    loads: dict[int, list[tuple[float, Judged]]] = field(default_factory=dict)  # by multiple: (capacity, run)


def sleepy(model: Path) -> Subject:
    return Subject("sleepy", model, "/sleepy", b'{"a":1}', 100, (3, 10))


def heavy(model: Path, body: bytes) -> Subject:
    return Subject(
        "heavy", model, "/v2/models/heavy/infer", body, 50, (3,), more="  batching: {maxSize: 1}\n", callers=(2, 4, 8)
    )


def overload_part(
    subjects: list[Subject], work: Path, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> list[Row]:
    """Rows of all subjects, both ways."""
    rows: list[Row] = []
    for subject in subjects:
        for way in WAYS:
            with (
                measuring(way, subject, work, say) as capacity,
                serving(way, subject.file(work), subject.path, work=work) as stack,
            ):
                found = measure(subject, stack, capacity, rounds=rounds, seconds=seconds, say=say)
            rows += rows_of(subject, way, found)
    return rows


def warm(subject: Subject, stack: Stack, work: Path) -> None:
    """Service times are learned, of small batches and of large ones."""
    for callers in subject.callers[:2]:
        drive(stack.url, subject.body, connections=callers, seconds=1, folder=work)


def measure(
    subject: Subject, stack: Stack, capacity: Capacity, *, rounds: int, seconds: float, say: Callable[[str], None]
) -> Rounds:
    found = Rounds(callers=capacity.callers)
    warm(subject, stack, capacity.work)
    before = capacity.measure(seconds)
    for turn in range(rounds):
        say(f"{subject.name} {stack.way}: no load")
        found.idle.append(judge(stack.url, subject.body, _IDLE_SHARE * before, seconds, seed=turn, arrivals="uniform"))
        for times in subject.times:
            say(f"{subject.name} {stack.way}: {times} x {before:.0f}/s")
            run = judge(
                stack.url, subject.body, times * before, 2 * seconds, "--budget", f"{subject.budget_ms:g}ms", seed=turn
            )
            after = capacity.measure(seconds / 2)
            found.loads.setdefault(times, []).append(((before + after) / 2, run))
            before = after
    found.capacity = capacity.per_s
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
        failed = "; ".join(run.failures for run in runs if run.failures)
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
                f"of {sum(r.offered for r in runs):,}; load's lag {lag:.1f} ms{'; ' + failed if failed else ''}",
                float(lost),
                "≤ 0",
            ),
        ]
    return rows


def _or_inf(value: float | None) -> float:
    return float("inf") if value is None else value
