"""Scaling policies on recorded traffic, beside each other and beside what was possible: `make bench-scaling`, or

    python bench/scaling.py [--only list,hindsight,fixed,nodes,frontier,noise] [--cold 8,60] [--confirm N]
        [--workers 2] [--json FILE] [--write-docs]

Settings are searched for with the fluid model, which runs the live policies; `--confirm` simulates the budget scaler's
first N traces, and for each peer the trace that is hardest for it, request by request. Seeds are in scaling_traces.py.
"""

import argparse
import json
import sys
import time
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from itertools import pairwise
from pathlib import Path

from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim.capacity import capacity_for
from plimsoll.sim.fluid import simulate_fluid
from plimsoll.sim.oracle import oracle
from plimsoll.sim.result import ServiceResult
from scaling_rows import rows_of
from scaling_traces import CODE, LIST, P99_S, REPLICAS, SEED, SLOW_NODES, Case, folder, scenario, traffic
from table import Row, markdown, show, write_into

MOST_MISSED = 0.01
_LEAST_SHARE = 1e-3  # below it the oracle's allowance is rounded up: a thousandth of the traffic
# Of each peer the settings that are tried; {} is the one that is searched for, between the two numbers: the largest
# that misses at most 1% on every trace is the cheapest.
FAMILIES: dict[str, Sequence[tuple[str, float, float]]] = {
    "hpa-cpu": (("hpa-cpu:target={:.0f},down=60", 10, 99), ("hpa-cpu:target={:.0f},down=300", 10, 99)),
    "hpa-rps": (
        ("hpa-rps:target={:.0f},down=60,window=15", 60, 560),
        ("hpa-rps:target={:.0f},down=60,window=30", 60, 560),
        ("hpa-rps:target={:.0f},down=300,window=30", 60, 560),
    ),
    "kpa": (
        ("kpa:rps={:.0f},utilization=100%,window=6s", 60, 560),
        ("kpa:rps={:.0f},utilization=100%,window=15s", 60, 560),
        ("kpa:rps={:.0f},utilization=100%,window=60s", 60, 560),
    ),
    "keda": (
        ("keda:rps={:.0f},poll=5,down=60,window=15", 60, 560),
        ("keda:rps={:.0f},poll=30,down=300,window=60", 60, 560),
    ),
}
_TUNED = (FAMILIES["hpa-rps"][0], *FAMILIES["kpa"][:2])
_STEPS = 5  # of a search: to 3% of the range


@dataclass(frozen=True, slots=True)
class Outcome:
    """One policy on one trace. `ratio`: replica-seconds over the oracle's at the same late share. `acts`: how often the
    count changed; under `noise` the most changes of direction within 5 minutes."""

    case: str
    policy: str
    cold_s: float
    missed: float
    ratio: float
    replica_hours: float
    acts: int
    fast: bool


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--only", default="list,hindsight,fixed,nodes,frontier,noise")
    parser.add_argument("--cold", default="8,60", help="cold starts to compare at, seconds")
    parser.add_argument("--confirm", type=int, default=len(LIST), help="traces to simulate request by request")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--json", type=Path)
    parser.add_argument("--write-docs", action="store_true", help="put the figures into docs/benchmarks.md and README")
    options = parser.parse_args()
    if not folder().exists():
        sys.exit(f"no recorded traces at {folder()}; name their folder: PLIMSOLL_TRACES=… python bench/scaling.py")
    began = time.monotonic()
    print(f"seed {SEED}; the mean needs {REPLICAS} replicas; budget: p99 of {P99_S * 1e3:.0f} ms, 1% late or refused")
    found: dict[str, list[Outcome]] = {}
    with ProcessPoolExecutor(options.workers) as pool:
        parts: dict[str, Callable[[], Iterable[Outcome]]] = {
            "list": lambda: compare(pool, [float(cold) for cold in options.cold.split(",")], options.confirm),
            "hindsight": lambda: hindsight(pool),
            "fixed": lambda: fixed(pool),
            "nodes": lambda: nodes(pool),
            "frontier": lambda: frontier(pool),
            "noise": lambda: steady(pool),
        }
        for part in options.only.split(","):
            if part not in parts:
                parser.error(f"--only {part}: the parts are {', '.join(parts)}")
            found[part] = list(parts[part]())
            print(f"   ({time.monotonic() - began:.0f} s)", flush=True)
    rows = rows_of(found)
    if rows:
        print("\n" + show(rows))
    if options.write_docs:
        write_docs(rows)
    if options.json:
        options.json.write_text(json.dumps([asdict(one) for part in found.values() for one in part], indent=2) + "\n")


def write_docs(rows: list[Row]) -> None:
    """All of it into docs/benchmarks.md; what a cold start of 8 s needs into the README."""
    root = Path(__file__).resolve().parents[1]
    write_into(root / "docs/benchmarks.md", "bench-scaling", markdown(rows))
    write_into(root / "README.md", "bench-scaling", markdown([row for row in rows if row.part == "cold start 8 s"]))


# --- one simulation -------------------------------------------------------------------------------------------------


@lru_cache(maxsize=512)
def possible_s(case: Case, cold_s: float, share: float) -> float:
    """The oracle's replica-seconds at a late share."""
    service = scenario(case, "budget", cold_s=cold_s).services[0]
    rate = capacity_for(service, share)
    counts = traffic(case).counts(1.0)
    return oracle(counts, 1.0, capacity=rate, cold_s=cold_s, late_share=share, least=1, wait_s=P99_S).replica_s


def run(case: Case, policy: str, cold_s: float, node_s: float = 0.0, *, fast: bool = True) -> Outcome:
    made = scenario(case, policy, cold_s=cold_s, node_s=node_s)
    if fast:
        result = simulate_fluid(made).services[0]
    else:
        from plimsoll.sim import simulate

        result = simulate(made).services[0]
    return outcome(case, policy, cold_s, result, lead_s=cold_s + node_s, fast=fast)


def outcome(case: Case, policy: str, cold_s: float, result: ServiceResult, *, lead_s: float, fast: bool) -> Outcome:
    share = round(max(result.missed_share, _LEAST_SHARE), 4)
    ratio = result.replica_s / possible_s(case, cold_s, share)
    hours = result.replica_s / 3600
    return Outcome(case.name, policy, lead_s, result.missed_share, ratio, hours, len(result.acts), fast)


def table(title: str, rows: list[Outcome]) -> None:
    print(f"\n{title}")
    for one in rows:
        how = "fluid" if one.fast else "by request"
        cost = f"{one.ratio:5.2f}x  {one.replica_hours:6.2f} replica-hours  {one.acts:4} acts"
        print(f"  {one.case:22} {one.policy:44} missed {one.missed:6.2%}  {cost}  {how}")
    if len(rows) > 1:
        ratios = [one.ratio for one in rows]
        worst = max(one.missed for one in rows)
        print(f"  {'in all':67} worst  {worst:6.2%}  {_mean(rows):5.2f}x mean, {max(ratios):.2f}x worst")


# --- the parts ------------------------------------------------------------------------------------------------------


def compare(pool: ProcessPoolExecutor, colds: list[float], confirm: int) -> list[Outcome]:
    """One shipped default against each peer's cheapest single setting, on the whole list."""
    found: list[Outcome] = []
    for cold_s in colds:
        jobs = {
            peer: [pool.submit(search, family, cold_s) for family in families] for peer, families in FAMILIES.items()
        }
        budget = list(pool.map(run, LIST, ["budget"] * len(LIST), [cold_s] * len(LIST)))
        table(f"budget, cold start {cold_s:g} s", budget)
        found += budget
        mean = _mean(budget)
        for peer, futures in jobs.items():
            sound = [rows for rows in (future.result() for future in futures) if rows]
            if not sound:
                print(f"\n{peer}: no setting keeps 1% on all traces")
                continue
            best = min(sound, key=_mean)
            found += best
            table(f"{peer}, its cheapest setting for all, cold start {cold_s:g} s", best)
            print(f"  budget costs {mean / _mean(best):.2f}x of it")
        if cold_s == colds[0] and confirm:
            slow = list(pool.map(_by_request, LIST[:confirm], [cold_s] * confirm))
            table(f"budget, request by request, cold start {cold_s:g} s", slow)
            found += slow
    return found


def _by_request(case: Case, cold_s: float) -> Outcome:
    return run(case, "budget", cold_s, fast=False)


def _mean(rows: list[Outcome]) -> float:
    return sum(one.ratio for one in rows) / len(rows)


def search(family: tuple[str, float, float], cold_s: float, cases: Sequence[Case] = LIST) -> list[Outcome] | None:
    """The outcomes of the largest value that misses at most 1% everywhere; None where there is none."""
    text, low, high = family
    best: list[Outcome] | None = None
    order = list(cases)
    for _ in range(_STEPS):
        middle = (low + high) / 2
        rows: list[Outcome] = []
        for case in order:
            rows.append(run(case, text.format(middle), cold_s))
            if rows[-1].missed > MOST_MISSED:
                order.remove(case)
                order.insert(0, case)  # what is hardest is tried first
                break
        if rows[-1].missed > MOST_MISSED:
            high = middle
        else:
            low, best = middle, rows
    return best


def hindsight(pool: ProcessPoolExecutor) -> list[Outcome]:
    """The budget scaler's one default against peers that are tuned for each trace, knowing it."""
    rows = list(pool.map(_tuned, LIST))
    budget = list(pool.map(run, LIST, ["budget"] * len(LIST), [8.0] * len(LIST)))
    table("the cheapest peer for each trace by itself, cold start 8 s", rows)
    costs = [ours.replica_hours / theirs.replica_hours for ours, theirs in zip(budget, rows, strict=True)]
    print(f"  budget costs {sum(costs) / len(costs):.2f}x of it in the mean, {max(costs):.2f}x at worst")
    return [*budget, *rows]


def _tuned(case: Case) -> Outcome:
    found = [rows[0] for family in _TUNED if (rows := search(family, 8.0, (case,))) is not None]
    return min(found, key=lambda one: one.replica_hours)


def fixed(pool: ProcessPoolExecutor) -> list[Outcome]:
    """The fewest replicas that keep 1% without scaling: where this costs little a trace proves nothing."""
    rows = list(pool.map(_fewest, LIST))
    table("fixed, the fewest for each trace", rows)
    return rows


def _fewest(case: Case) -> Outcome:
    low, high = 1, 400
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if run(case, f"fixed:{middle}", 8.0).missed <= MOST_MISSED else (middle, high)
    return run(case, f"fixed:{high}", 8.0)


def nodes(pool: ProcessPoolExecutor) -> list[Outcome]:
    """Nodes of 180 s on top of 60 s. Compared with an oracle whose replicas need the 60 s alone."""
    rows = list(
        pool.map(run, SLOW_NODES, ["budget"] * len(SLOW_NODES), [60.0] * len(SLOW_NODES), [180.0] * len(SLOW_NODES))
    )
    half = len(rows) // 2
    table("budget, a replica useful after 60 s, a node after 180 s more, days at 4x", rows[:half])
    table("the same at 12x", rows[half:])
    return rows


def frontier(pool: ProcessPoolExecutor) -> list[Outcome]:
    """azure_code: a second can bring 25 times the mean. Late share against cost of every policy."""
    settings = [f"budget:price={price}" for price in (1, 2, 4, 8, 15, 25, 50)]
    settings += [f"budget:price={price},most-price={price}" for price in (70, 100, 200, 400)]
    settings += [f"hpa-rps:target={rps},down=300,window=15" for rps in (400, 200, 100, 50, 25, 12, 6)]
    settings += [f"kpa:rps={rps},utilization=100%,window=60s" for rps in (400, 200, 100, 50, 25, 12, 6)]
    settings += [f"keda:rps={rps},poll=5,down=300,window=15" for rps in (400, 200, 100, 50, 25, 12, 6)]
    settings += [f"hpa-cpu:target={percent},down=300" for percent in (80, 40, 20, 10, 5, 2)]
    settings += [f"fixed:{count}" for count in (6, 9, 12, 18, 24, *range(30, 132, 2))]  # so fine that no gap flatters
    count = len(settings)
    rows = list(pool.map(run, [CODE] * count, settings, [8.0] * count))
    table("azure_code, cold start 8 s", sorted(rows, key=lambda one: one.missed))
    return rows


def steady(pool: ProcessPoolExecutor) -> list[Outcome]:
    """No oscillation: changes of direction within 5 minutes of steady Poisson load, at many rates."""
    rows = list(pool.map(_turns, [20.0 * 1.35**step for step in range(18)]))
    print("\nsteady Poisson load for 30 minutes: most changes of direction within any 5 minutes")
    print("  " + ", ".join(f"{one.case} {one.acts}" for one in rows))
    return rows


def _turns(rate: float) -> Outcome:
    made = scenario(LIST[0], "budget", cold_s=8.0)
    steady_ = replace(made.services[0].traffic, trace=Trace(rates=constant(rate, 1800.0)))
    service = replace(made.services[0], traffic=steady_)
    found = simulate_fluid(replace(made, services=[service])).services[0]
    ways = [(act.at_s, act.after > act.before) for act in found.acts if act.at_s > 60.0]
    turned = [at for (_, was), (at, now) in pairwise(ways) if was != now]
    most = max((sum(first <= at < first + 300.0 for at in turned) for first in turned), default=0)
    return Outcome(f"{rate:.0f}/s", "budget", 8.0, found.missed_share, 0.0, found.replica_s / 3600, most, True)


if __name__ == "__main__":
    main()
