"""What `plimsoll plan` foretells, held against what a live run of the same trace shows: `python bench/truth.py`.

For each case: a service file, `plimsoll profile`, a trace of arrival times; then rounds of `plimsoll up` with
`plimsoll load --trace`, and one `plimsoll plan --trace` under the file's own policy. A row a figure: what was planned,
the median of the rounds, their ratio, and whether it is within 20%. docs/truth.md says what was found.
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
class Row:
    case: str
    figure: str
    planned: float
    live: float
    rounds: tuple[float, ...]
    unit: str

    @property
    def ratio(self) -> float:
        return self.planned / self.live

    @property
    def within(self) -> bool:
        return abs(self.ratio - 1) <= BAR


def compare(case: Case, work: Path, options: argparse.Namespace) -> tuple[list[Row], dict[str, Any]]:
    file = case.write(work)
    learn = ["profile", str(file), "--seconds", f"{options.profile_seconds:g}", "--json"]
    learned = run_json(python("-m", "plimsoll", *learn), options.realtime)["profile"]
    per_s = 1.0 / (learned["a_s"] + learned["c_s"])
    trace = file.parent / "trace.csv"
    count = case.trace(trace, options.seconds, per_s)
    print(f"{case.name}: {profile_line(learned)}", flush=True)
    print(
        f"{case.name}: {count:,} requests in {options.seconds:g} s, "
        f"{case.low * per_s:,.0f} to {case.high * per_s:,.0f}/s"
    )
    plan = ["plan", str(file), "--trace", str(trace), "--policies", case.policy, "--json"]
    planned = run_json(python("-m", "plimsoll", *plan))["policies"][0]
    foretold = {**planned, "replica_s": planned["replica_hours"] * 3600}
    runs: list[Run] = []
    for turn in range(options.rounds):
        run = live(file, case.name, trace, options.seconds, scaled=case.scaled, realtime=options.realtime)
        runs.append(run)
        print(f"{case.name}: round {turn + 1}: {run_line(run)}", flush=True)
    rows = []
    for figure, key, unit in FIGURES:
        seen = tuple(float(getattr(run, key)) for run in runs)
        rows.append(Row(case.name, figure, float(foretold[key]), median(seen), seen, unit))
    return rows, {"profile": learned, "planned": planned, "runs": [asdict(run) for run in runs], "requests": count}


def profile_line(learned: dict[str, Any]) -> str:
    a, c, over, cold = (learned[key] * 1000 for key in ("a_s", "c_s", "overhead_s", "cold_s"))
    spread = f"{learned['spread']:.0%}"
    return f"{a:.3f} + {c:.3f} ms an item, spread {spread}, beside it {over:.3f} ms, cold start {cold:.0f} ms"


def run_line(run: Run) -> str:
    return (
        f"p50 {run.p50_ms:.2f}  p95 {run.p95_ms:.2f}  p99 {run.p99_ms:.2f} ms  replica-s {run.replica_s:.1f}  "
        f"refused {run.refused}  queue {run.queue_p50_ms:.2f}  compute {run.compute_p50_ms:.2f}  "
        f"load's lag {run.lag_p99_ms:.2f} ms  acts {run.acts}"
    )


def show(rows: list[Row]) -> str:
    lines = [f"{'case':8} {'figure':10} {'planned':>10} {'live':>10} {'ratio':>6}  within {BAR:.0%}   rounds"]
    for row in rows:
        rounds = " ".join(f"{one:.3g}" for one in row.rounds)
        verdict = "yes" if row.within else "NO"
        figures = f"{row.planned:7.3g} {row.unit:2} {row.live:7.3g} {row.unit:2} {row.ratio:6.2f}"
        lines.append(f"{row.case:8} {row.figure:10} {figures}  {verdict:10}   {rounds}")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=60)
    parser.add_argument("--profile-seconds", type=float, default=20)
    parser.add_argument("--only", default=",".join(CASES))
    parser.add_argument("--json", metavar="FILE", help="everything that was measured")
    parser.add_argument("--realtime", action="store_true", help="before all else on this machine, where others use it")
    options = parser.parse_args()
    rows: list[Row] = []
    more: dict[str, Any] = {}
    with tempfile.TemporaryDirectory(prefix="truth-") as folder:
        for name in options.only.split(","):
            found, more[name] = compare(CASES[name], Path(folder), options)
            rows += found
    print(show(rows))
    print(f"{os.cpu_count()} cores, load average {os.getloadavg()[0]:.1f}, medians of {options.rounds} rounds")
    if options.json:
        told_rows = [asdict(row) | {"ratio": row.ratio, "within": row.within} for row in rows]
        Path(options.json).write_text(json.dumps({"rows": told_rows, "cases": more}, indent=1) + "\n")


if __name__ == "__main__":
    main()
