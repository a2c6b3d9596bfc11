"""The fixed list of traffic that `scaling.py` scales on: recorded days and hours, whose means need six replicas.

Recordings come from the folder that PLIMSOLL_TRACES names, or `shared/traces` beside the checkout. Slices and speeds
are in `LIST`; a day sped up 24 times passes in an hour. Rates per minute are interpolated, requests drawn as Poisson
from the seed; recorded requests are counted by second, scaled, and drawn anew inside their second.
"""

import os
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace, read_trace
from plimsoll.sim.scenario import NodeClass, Scenario, Service
from plimsoll.sim.traffic import Prepared, prepare
from plimsoll.sim.traffic_slice import parse_slice

SEED = 1
REPLICAS = 6  # that the mean needs
PER_REPLICA = 565.0  # requests/s that one serves with 1% late or refused, measured by sim.capacity
PROFILE = Profile(a_s=0.004, c_s=0.0015, spread=0.2)
P99_S = 0.1

_WORLDCUP, _SERVEGEN = "worldcup98_per_minute.csv", "servegen_m-small_rate.csv"
_DAYS = ("1998-06-23", "1998-06-30", "1998-07-07")
_HOURS = ("1998-06-10T12:00", "1998-06-15T20:00", "1998-07-03T15:00")


@dataclass(frozen=True, slots=True)
class Case:
    name: str
    file: str
    slice: str = ""
    speedup: float = 1.0


LIST = (
    *(Case(f"worldcup98 {day[5:]} x{speed}", _WORLDCUP, day, speed) for speed in (12, 24) for day in _DAYS),
    *(Case(f"worldcup98 {hour[5:]}", _WORLDCUP, f"{hour}/{hour[:11]}{int(hour[11:13]) + 1}:00") for hour in _HOURS),
    *(Case(f"servegen day {day} x24", _SERVEGEN, f"day:{day}", 24) for day in (2, 9)),
    Case("azure_conv", "azure_llm_2023_conv.csv"),
)
CODE = Case("azure_code", "azure_llm_2023_code.csv")
SLOW_NODES = tuple(Case(f"worldcup98 {day[5:]} x{speed}", _WORLDCUP, day, speed) for speed in (4, 12) for day in _DAYS)


def folder() -> Path:
    named = os.environ.get("PLIMSOLL_TRACES")
    return Path(named) if named else Path(__file__).resolve().parents[2] / "shared" / "traces"


@lru_cache(maxsize=8)
def _recorded(file: str) -> Trace:
    with (folder() / file).open() as lines:
        return read_trace(lines, file)


@lru_cache(maxsize=32)
def traffic(case: Case) -> Prepared:
    trace = _recorded(case.file)
    start_s, end_s = parse_slice(case.slice, trace) if case.slice else (None, None)
    return prepare(
        trace, speedup=case.speedup, start_s=start_s, end_s=end_s, mean_rate=REPLICAS * PER_REPLICA, seed=SEED
    )


def scenario(case: Case, policy: str, *, cold_s: float, node_s: float = 0.0) -> Scenario:
    """`node_s`: how long a node takes, which holds two replicas; 0: there is always room."""
    profile = Profile(PROFILE.a_s, PROFILE.c_s, spread=PROFILE.spread, cold_s=cold_s)
    bounds = Bounds(1, 1000, p99_s=P99_S, timeout_s=2 * P99_S)
    service = Service("model", traffic(case).traffic, profile, bounds, policy=policy, start_replicas=REPLICAS)
    nodes = (NodeClass("node", {"cpu": 2.0}, provisioning_s=node_s, least=3, idle_after_s=60.0),) if node_s else ()
    return Scenario([service], nodes=nodes, seed=SEED)
