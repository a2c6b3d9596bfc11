"""Ten jobs that share too few replicas: what is late or refused with equal shares, and as replicas move for more or
less gain. `python bench/sharing.py [--minutes 40] [--room 32]`; prints a table, asserts nothing.

Each job is a day of the World Cup's web site in 6 hours, begun at another hour, its requests 154 ms of a replica each
(lognormal), 720 ms the budget.
"""

import argparse
import csv
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import LogNormal, Profile
from plimsoll.insight.traffic.columns import read_columns
from plimsoll.policy import placement
from plimsoll.sim import world
from plimsoll.sim.scenario import Scenario, Service
from plimsoll.sim.sharing import share
from plimsoll.sim.traffic import prepare

TRACES = Path(os.environ.get("PLIMSOLL_TRACES") or Path(__file__).resolve().parents[2] / "shared/traces")
LAW = LogNormal(0.4225, 0.0793, 0.0686)
BUSY = (1, 1.4, 1.8, 2.0, 2.2, 2.4, 2.6, 3.0, 3.4, 4.2)  # replicas that each job keeps busy on the day's mean
FIRST_DAY = 46


def counts() -> dict[str, np.ndarray[tuple[int], np.dtype[np.float64]]]:
    """Requests a minute by job: 360 minutes, each of four of the recording."""
    with (TRACES / "worldcup98_per_minute.csv").open(newline="") as file:
        recorded = np.array([float(row["count"]) for row in csv.DictReader(file)])
    found = {}
    for job, busy in enumerate(BUSY):
        begin = (FIRST_DAY + job) * 1440 + (job * 577) % 1440
        day = recorded[begin : begin + 1440].reshape(360, 4).sum(axis=1)
        found[f"job-{job}"] = day / day.mean() * busy / LAW.mean_s * 60
    return found


def simulate(room: int, minutes: int, shared: Callable[..., list[int]]) -> Sequence[str]:
    table = counts()
    lines = ["minute," + ",".join(table)]
    lines += [f"{minute}," + ",".join(f"{table[job][minute]:.2f}" for job in table) for minute in range(minutes)]
    traces = read_columns(lines, "jobs")
    bounds = Bounds(1, room, p99_s=0.72, timeout_s=1.44, max_batch=1)
    profile = Profile(0.0, LAW.mean_s, cold_s=8.0, lognormal=LAW)
    services = [
        Service(job, prepare(traces[job], seed=seed).traffic, profile, bounds, f"fixed:{room}",
                start_replicas=room // len(table), queue_cap=50, max_batch_one=True)
        for seed, job in enumerate(table, 1)
    ]  # fmt: skip
    world.share = shared
    result = world.simulate(Scenario(services, most_replicas=room))
    offered = sum(one.offered for one in result.services)
    missed = sum(one.late + one.refused for one in result.services)
    jobs = sum(one.missed_share for one in result.services) / len(result.services)
    moves = sum(len(one.acts) for one in result.services)
    return [f"{missed / offered:.2%}", f"{jobs:.2%}", f"{moves:,}"]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--minutes", type=int, default=40)
    parser.add_argument("--room", type=int, default=32)
    asked = parser.parse_args()
    if not TRACES.is_dir():
        sys.exit(f"no recorded traces at {TRACES}; set PLIMSOLL_TRACES")
    busy = sum(counts().values())[: asked.minutes] / 60 * LAW.mean_s
    print(f"{asked.room} replicas; busy are {busy.mean():.0f} on average, {busy.max():.0f} in the highest minute\n")
    print(f"{'':14} {'of all':>8} {'mean of jobs':>13} {'moves':>7}")
    equal = [asked.room // 10 + (job < asked.room % 10) for job in range(10)]
    rows: list[tuple[str, Callable[..., list[int]], float]] = [("equal shares", lambda *_: equal, 0.0)]
    rows += [(f"{1 + stick:g} times", share, stick) for stick in (0.0, 0.25, 1.0, 3.0)]
    original = placement.share
    for name, shared, stick in rows:
        placement.share = partial(original, stick=stick)
        print("{:14} {:>8} {:>13} {:>7}".format(name, *simulate(asked.room, asked.minutes, shared)), flush=True)


if __name__ == "__main__":
    main()
