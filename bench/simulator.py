"""How fast the simulator is: requests a second of one core, with routing, admission and batching on.

    python bench/simulator.py [--seconds 60] [--rounds 3] [--json FILE]

Eight replicas of t(b) = 4 ms + 1.5 ms·b at 80% of what they can take at most (c·rate = 0.8: batches of some 10), ten
replicas that take one request of 5 ms at a time at 80%, and M/M/10 (one queue, ten workers) beside simpy's. A second is
one of processor time, so that a neighbour on the machine does not count; wall-clock rates stand in brackets. Medians.
"""

import argparse
import random
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from statistics import median

import simpy

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Trace, constant
from plimsoll.sim import simulate
from plimsoll.sim.scenario import Scenario, Service, Traffic
from table import Row, as_json, show

LOAD = 0.8
BATCHING = Profile(a_s=0.004, c_s=0.0015, spread=0.2)
ONE_BY_ONE = Profile(a_s=0.0, c_s=0.005, spread=0.2)
SERVERS, SERVICE_S = 10, 0.005


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--seconds", type=float, default=60.0, help="of virtual time")
    parser.add_argument("--rounds", type=int, default=3)
    parser.add_argument("--json", type=Path)
    asked = parser.parse_args()
    print(f"seeds 1 to {asked.rounds}, {asked.seconds:g} s of virtual time each")

    def ours(service: Service) -> tuple[float, float, float]:
        return measured([lambda seed=seed: world(service, seed, asked.seconds) for seed in range(1, asked.rounds + 1)])

    batches, ones, queue = ours(batching()), ours(one_by_one()), ours(mm10())
    peer = measured([lambda seed=seed: simpy_mm10(seed, asked.seconds) for seed in range(1, asked.rounds + 1)])
    rows = [
        row(f"batches of {batches[2]:.1f}", batches, bar=300_000),
        row("batches of 1", ones, bar=120_000),
        row("M/M/10", queue, against=peer),
    ]
    print(show(rows))
    if asked.json:
        asked.json.write_text(as_json(rows))


def row(
    what: str, found: tuple[float, float, float], *, bar: float = 0, against: tuple[float, float, float] | None = None
) -> Row:
    figure = f"{found[0]:,.0f}/s ({found[1]:,.0f})"
    if against is not None:
        return Row("simulator", what, figure, f"simpy {against[0]:,.0f}/s ({against[1]:,.0f})", found[0] / against[0])
    return Row("simulator", what, figure, f"{bar:,.0f}/s", found[0] / bar, "≥ 1.0")


def measured(runs: list[Callable[[], tuple[int, float]]]) -> tuple[float, float, float]:
    """Medians over the runs: requests a second of processor time, of wall-clock time, and the second of what a run
    gives: (requests, mean batch)."""
    found = []
    for run in runs:
        wall, cpu = time.perf_counter(), time.process_time()
        requests, batch = run()
        cpu, wall = time.process_time() - cpu, time.perf_counter() - wall
        found.append((requests / cpu, requests / wall, batch))
    first, second, third = (median(column) for column in zip(*found, strict=True))
    return first, second, third


def world(service: Service, seed: int, seconds: float) -> tuple[int, float]:
    rate = service.traffic.trace.rates.segments[0].rate
    service = replace(service, traffic=Traffic(Trace(rates=constant(rate, seconds)), seed))
    found = simulate(Scenario([service], seed=seed)).services[0]
    if found.missed_share > 0.01:
        raise RuntimeError(f"{found.missed_share:.1%} late or refused: that is no load of {LOAD:.0%}")
    return found.offered, found.mean_batch


def fixed(count: int, rate: float, profile: Profile, **more: object) -> Service:
    traffic = Traffic(Trace(rates=constant(rate, 1.0)))
    fields = {"bounds": Bounds(count, count, 0.1, 0.2), "policy": f"fixed:{count}", "start_replicas": count, **more}
    return Service("bench", traffic, profile, **fields)


def batching(count: int = 8) -> Service:
    return fixed(count, count * LOAD / BATCHING.c_s, BATCHING)


def one_by_one(count: int = 10) -> Service:
    return fixed(count, count * LOAD / ONE_BY_ONE.c_s, ONE_BY_ONE, max_batch_one=True)


def mm10() -> Service:
    rate = SERVERS * LOAD / SERVICE_S
    bounds = Bounds(1, 1, None, 1e6)
    return fixed(1, rate, ONE_BY_ONE, bounds=bounds, max_batch_one=True, workers=SERVERS, draw="exponential")


def simpy_mm10(seed: int, seconds: float) -> tuple[int, float]:
    """The same, as simpy's own examples do it."""
    drawn = random.Random(seed)
    environment = simpy.Environment()
    servers = simpy.Resource(environment, SERVERS)
    latencies: list[float] = []

    def request():
        arrived = environment.now
        with servers.request() as turn:
            yield turn
            yield environment.timeout(drawn.expovariate(1 / SERVICE_S))
        latencies.append(environment.now - arrived)

    def arrivals():
        rate = SERVERS * LOAD / SERVICE_S
        while environment.now < seconds:
            yield environment.timeout(drawn.expovariate(rate))
            environment.process(request())

    environment.process(arrivals())
    environment.run()
    return len(latencies), 1.0


if __name__ == "__main__":
    main()
