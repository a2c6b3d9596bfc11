"""Scenarios in a line: what the tests of the world share."""

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile
from plimsoll.insight.traffic import Rates, Segment, Trace, constant
from plimsoll.sim import simulate
from plimsoll.sim.scenario import Scenario, Service, Traffic

PROFILE = Profile(a_s=0.004, c_s=0.0015, spread=0.2, cold_s=8.0)


def steps(*parts):
    """(seconds, requests a second), one after the other."""
    segments, at = [], 0.0
    for seconds, rate in parts:
        segments.append(Segment(at, at + seconds, rate, rate))
        at += seconds
    return Trace(rates=Rates(segments))


def service(rate=500.0, seconds=20.0, *, name="s", count=2, seed=1, trace=None, bounds=None, profile=PROFILE, **more):
    """`count` replicas that are there from the beginning, 100 ms at the 99th percentile, worthless after 200."""
    trace = trace or Trace(rates=constant(rate, seconds))
    fields = {"policy": f"fixed:{count}", "start_replicas": count, **more}
    return Service(name, Traffic(trace, seed), profile, bounds or Bounds(0, 40, 0.1, 0.2), **fields)


def run(*services, **more):
    """The result; of a single service its own."""
    found = simulate(Scenario(services, **more))
    assert all(sum(one.outcomes.values()) == one.offered for one in found.services)
    return found.services[0] if len(services) == 1 else found
