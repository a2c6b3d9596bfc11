"""The oracle's bound on recorded traces, beside what serving each second's requests in that second would cost.

    python bench/oracle.py            # some 30 s; PLIMSOLL_TRACES names the folder of the traces

See docs/oracle.md.
"""

import os
import sys
from pathlib import Path
from time import perf_counter

from plimsoll.insight.traffic import read_trace
from plimsoll.sim.oracle import oracle
from plimsoll.sim.traffic import Prepared, prepare
from plimsoll.sim.traffic_slice import parse_slice

TRACES = Path(os.environ.get("PLIMSOLL_TRACES") or Path(__file__).resolve().parents[2] / "shared/traces")

CAPACITY = 580.0  # requests a second: a = 4 ms, c = 1.5 ms, p99 100 ms
COLD_S, WAIT_S, SEED, REPLICAS = 8.0, 0.1, 1, 6
WORLDCUP, SERVEGEN = "worldcup98_per_minute.csv", "servegen_m-small_rate.csv"
CASES = [
    ("worldcup98 1998-06-23, 12x", WORLDCUP, "1998-06-23", 12),
    ("worldcup98 1998-06-23, 24x", WORLDCUP, "1998-06-23", 24),
    ("worldcup98 1998-06-30, 12x", WORLDCUP, "1998-06-30", 12),
    ("worldcup98 1998-06-10 10:00, an hour", WORLDCUP, "1998-06-10T10:00/1h", 1),
    ("servegen, two days, 24x", SERVEGEN, "0s/2d", 24),
    ("azure_conv", "azure_llm_2023_conv.csv", None, 1),
    ("azure_code", "azure_llm_2023_code.csv", None, 1),
]


def main() -> None:
    if not TRACES.is_dir():
        sys.exit(f"no recorded traces at {TRACES}; set PLIMSOLL_TRACES")
    print(f"{CAPACITY:g}/s a replica, cold start {COLD_S:g} s, mean of {REPLICAS} replicas, seed {SEED}")
    print(f"{'trace':38}{'late':>6}{'mean':>7}{'bound':>8}{'gap':>8}{'step':>6}{'s':>6}")
    for name, file, part, speedup in CASES:
        prepared = _prepared(file, part, speedup)
        counts = prepared.counts(1.0)
        for late in (0.01, 0.001):
            given = {"capacity": CAPACITY, "cold_s": COLD_S, "late_share": late, "least": 1}
            at_once = oracle(counts, 1.0, **given)
            began = perf_counter()
            found = oracle(counts, 1.0, **given, wait_s=WAIT_S)
            print(
                f"{name:38}{late:6.1%}{at_once.replica_s / len(counts):7.2f}{found.replica_s / at_once.replica_s:8.3f}"
                f"{found.gap:8.2%}{found.step_s:6g}{perf_counter() - began:6.1f}"
            )


def _prepared(file: str, part: str | None, speedup: float) -> Prepared:
    with (TRACES / file).open(encoding="utf-8") as lines:
        trace = read_trace(lines, file)
    start_s, end_s = (None, None) if part is None else parse_slice(part, trace)
    mean_rate = CAPACITY * REPLICAS
    return prepare(trace, speedup=speedup, start_s=start_s, end_s=end_s, mean_rate=mean_rate, seed=SEED)


if __name__ == "__main__":
    main()
