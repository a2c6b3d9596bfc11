"""What `plimsoll plan` foretells, held against what a live run of the same trace shows: `python bench/truth.py`.

For each case a service file and a trace of arrival times; then rounds of `plimsoll profile`, `plimsoll plan --trace`
under the file's own policy, and `plimsoll up` with `plimsoll load --trace`. A row a figure: what was planned and what
was seen (medians of the rounds), the median of the rounds' ratios, and whether that is within 20%. Each round learns
anew, since a shared machine is another one five minutes later. docs/truth.md says what was found.
"""

import argparse
import json
import os
import tempfile
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Any

from servers import python
from truth_case import CASES, Case
from truth_live import Run, live, run_json

BAR = 0.2
FIGURES = (("p50", "p50_ms", "ms"), ("p95", "p95_ms", "ms"), ("p99", "p99_ms", "ms"), ("replica-s", "replica_s", "s"))


@dataclass(frozen=True)
class Round:
    """`planned` by figure; milliseconds and replica-seconds."""

    profile: dict[str, Any]
    planned: dict[str, float]
    live: Run


@dataclass(frozen=True)
class Row:
    """`pairs`: planned and live, a round each."""

    case: str
    figure: str
    unit: str
    pairs: tuple[tuple[float, float], ...]

    @property
    def planned(self) -> float:
        return median(planned for planned, _ in self.pairs)

    @property
    def live(self) -> float:
        return median(seen for _, seen in self.pairs)

    @property
    def ratio(self) -> float:
        return median(planned / seen for planned, seen in self.pairs)

    @property
    def within(self) -> bool:
        return abs(self.ratio - 1) <= BAR


def rounds(case: Case, work: Path, options: argparse.Namespace) -> list[Round]:
    file = case.write(work)
    trace = file.parent / "trace.csv"
    found: list[Round] = []
    for turn in range(options.rounds):
        learned = learn(file, options)
        if not found:
            alone = 1.0 / (learned["a_s"] + learned["c_s"])
            count = case.trace(trace, options.seconds, alone)
            rates = f"{case.low * alone:,.0f} to {case.high * alone:,.0f}/s"
            print(f"{case.name}: {count:,} requests in {options.seconds:g} s, {rates}", flush=True)
        print(f"{case.name}: round {turn + 1}: {profile_line(learned)}", flush=True)
        planned = plan(file, trace, case.policy)
        run = live(file, case.name, trace, options.seconds, realtime=options.realtime)
        found.append(Round(learned, planned, run))
        print(f"  planned {figures_line(planned)}")
        print(f"  live    {figures_line(asdict(run))}  {more_line(run)}", flush=True)
    return found


def learn(file: Path, options: argparse.Namespace) -> dict[str, Any]:
    command = ["profile", str(file), "--seconds", f"{options.profile_seconds:g}", "--json"]
    found: dict[str, Any] = run_json(python("-m", "plimsoll", *command), options.realtime)["profile"]
    return found


def plan(file: Path, trace: Path, policy: str) -> dict[str, float]:
    command = ["plan", str(file), "--trace", str(trace), "--policies", policy, "--json"]
    found = run_json(python("-m", "plimsoll", *command))["policies"][0]
    return {
        "p50_ms": found["p50_ms"],
        "p95_ms": found["p95_ms"],
        "p99_ms": found["p99_ms"],
        "replica_s": found["replica_hours"] * 3600,
        "refused": round(found["refused_share"] * found["requests"]) if "requests" in found else 0,
        "acts": found["scaling_acts"],
    }


def profile_line(learned: dict[str, Any]) -> str:
    a, c, over, cold = (learned[key] * 1000 for key in ("a_s", "c_s", "overhead_s", "cold_s"))
    through, wake = ((learned.get(key) or 0.0) * 1000 for key in ("gateway_s", "wake_s"))
    return (
        f"{a:.3f} + {c:.3f} ms an item ({learned['spread']:.0%}), {wake:.3f} after a rest, beside it {over:.3f} + "
        f"{through:.3f} ms, cold start {cold:.0f} ms"
    )


def figures_line(found: dict[str, float]) -> str:
    return (
        f"p50 {found['p50_ms']:6.3f}  p95 {found['p95_ms']:6.3f}  p99 {found['p99_ms']:6.3f} ms  "
        f"replica-s {found['replica_s']:5.1f}  refused {found['refused']:4.0f}  acts {found['acts']}"
    )


def more_line(run: Run) -> str:
    return f"(compute {run.compute_p50_ms:.3f}, load's lag p99 {run.lag_p99_ms:.2f} ms)"


def rows_of(case: Case, found: list[Round]) -> list[Row]:
    return [
        Row(case.name, figure, unit, tuple((one.planned[key], float(getattr(one.live, key))) for one in found))
        for figure, key, unit in FIGURES
    ]


def show(rows: list[Row]) -> str:
    lines = [f"{'case':8} {'figure':10} {'planned':>10} {'live':>10} {'ratio':>6}  within {BAR:.0%}   each round"]
    for row in rows:
        each = " ".join(f"{planned / seen:.2f}" for planned, seen in row.pairs)
        figures = f"{row.planned:7.3g} {row.unit:2} {row.live:7.3g} {row.unit:2} {row.ratio:6.2f}"
        lines.append(f"{row.case:8} {row.figure:10} {figures}  {'yes' if row.within else 'NO':10}   {each}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--profile-seconds", type=float, default=10)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--json", metavar="FILE", help="everything that was measured")
    parser.add_argument("--realtime", action="store_true", help="before all else on this machine, where others use it")
    options = parser.parse_args()
    rows: list[Row] = []
    more: dict[str, Any] = {}
    began = os.getloadavg()[0]
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        for name in options.only.split(","):
            found = rounds(CASES[name], Path(folder), options)
            more[name] = [asdict(one) for one in found]
            rows += rows_of(CASES[name], found)
    print(show(rows))
    print(f"{os.cpu_count()} cores, load average {began:.1f} before; {options.rounds} rounds of {options.seconds:g} s")
    if options.json:
        told = [asdict(row) | {"ratio": row.ratio, "within": row.within} for row in rows]
        Path(options.json).write_text(json.dumps({"rows": told, "rounds": more}, indent=1) + "\n")


if __name__ == "__main__":
    main()
