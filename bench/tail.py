"""The budget scaler's predicted tail against the simulator, request by request: how many requests a second so many
replicas take with 1% late or refused.

    python bench/tail.py [--requests 60000]       # some 2 minutes

Steady load (gamma renewals where a CV is named, else Poisson), the live batching, admission and routing, a fixed count
of replicas; the load is searched for to 1%. Seeds are in here. See docs/scaling.md.
"""

import argparse
from dataclasses import dataclass
from math import ceil

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Rates, Segment, Trace
from plimsoll.policy.scaling.budget import Tail, tail_of
from plimsoll.sim import simulate
from plimsoll.sim.fluid import known
from plimsoll.sim.scenario import Scenario, Service, Traffic

SEED = 7
ALLOWED = 0.01


@dataclass(frozen=True, slots=True)
class Point:
    """A model t(b) = a + c·b with a spread of 20%, its p99 budget, replicas, the largest batch."""

    a_ms: float
    c_ms: float
    p99_ms: float
    replicas: int
    max_batch: int | None = None
    cv: float = 1.0  # of the times between arrivals: 1 for Poisson

    def __str__(self) -> str:
        most = f", batches of {self.max_batch} at most" if self.max_batch else ""
        most += f", CV {self.cv:g}" if self.cv != 1.0 else ""
        return f"{self.a_ms:g} + {self.c_ms:g} ms, p99 {self.p99_ms:g} ms, {self.replicas} replicas{most}"

    @property
    def profile(self) -> Profile:
        return Profile(self.a_ms / 1e3, self.c_ms / 1e3, spread=0.2)

    @property
    def tail(self) -> Tail:
        found = tail_of(
            known(self.profile, self.p99_ms / 1e3, self.max_batch),
            self.p99_ms / 1e3,
            self.max_batch,
            burst=self.cv**2,
            allowed=ALLOWED,
        )
        assert found is not None
        return found


POINTS = (
    Point(4, 1.5, 100, 1),
    Point(4, 1.5, 100, 4),
    Point(4, 1.5, 100, 16),
    Point(4, 1.5, 50, 4),
    Point(4, 1.5, 300, 4),
    Point(4, 1.5, 100, 4, 8),
    Point(4, 1.5, 100, 4, 1),
    Point(40, 0.2, 200, 4),
    Point(1, 0.05, 20, 2),
    Point(20, 10, 500, 4),
    Point(4, 1.5, 100, 4, cv=2.0),
    Point(4, 1.5, 100, 16, cv=2.0),
    Point(4, 1.5, 100, 16, cv=4.0),
)


def measured(point: Point, rate: float, requests: int = 20_000) -> float:
    """The share that is late or refused at `rate` requests a second."""
    seconds = float(ceil(requests / rate))
    service = Service(
        name="tail",
        traffic=Traffic(Trace(rates=Rates([Segment(0.0, seconds, rate, rate, point.cv)])), SEED),
        profile=point.profile,
        bounds=Bounds(point.replicas, point.replicas, p99_s=point.p99_ms / 1e3, max_batch=point.max_batch),
        policy=f"fixed:{point.replicas}",
        start_replicas=point.replicas,
    )
    return simulate(Scenario([service], seed=SEED)).services[0].missed_share


def served(point: Point, requests: int) -> float:
    """Requests a second of which ALLOWED is late or refused."""
    guess = point.tail.takes(point.replicas)
    low, high = 0.5 * guess, 1.6 * guess
    while high > 1.01 * low:
        middle = (low + high) / 2
        low, high = (middle, high) if measured(point, middle, requests) <= ALLOWED else (low, middle)
    return (low + high) / 2


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--requests", type=int, default=60_000, help="of each simulation")
    requests = parser.parse_args().requests
    print(f"requests/s with {ALLOWED:.0%} late or refused, seed {SEED}, {requests} requests a simulation")
    print(f"{'model, budget, replicas':58}{'predicted':>10}{'simulated':>10}{'error':>7}  missed at what is predicted")
    for point in POINTS:
        predicted, found = point.tail.takes(point.replicas), served(point, requests)
        missed = measured(point, predicted, requests)
        print(f"{point!s:58}{predicted:10.0f}{found:10.0f}{predicted / found - 1:+7.0%}  {missed:.2%}", flush=True)


if __name__ == "__main__":
    main()
