"""Whatever is observed: within the bounds, never an exception, and more load never means fewer replicas."""

import math

from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.policy.scaling.world import NoForecast

from plimsoll.core.scaling import Bounds, LeadTime, Observation, ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.scaling.hpa.adapter import HpaScaling, parse_settings

TEXTS = (
    "hpa-cpu",
    "hpa-cpu:1,tolerance=0,sync=1,init=0,delay=0",
    "hpa-cpu:50,up=60,down=60,up_select=min,down_pods=1/30",
    "hpa-rps",
    "hpa-rps:0.001,window=1,sync=1",
    "hpa-rps:100,up_select=disabled",
    "hpa-rps:100,down_percent=10/60,up_tolerance=0,down=0",
)
odd = st.sampled_from([0.0, -1.0, 1e-300, 1e18, 1e308, math.inf, -math.inf, math.nan])
numbers = st.one_of(st.floats(0, 100), odd)
replicas = st.builds(
    ScaledReplica,
    id=st.sampled_from("abcdefgh"),  # twice the same, too
    state=st.sampled_from(ReplicaState),
    asked_at=numbers,
    ready_at=st.one_of(st.none(), numbers),
    cpu=st.one_of(st.none(), numbers),
)
observations = st.builds(
    Observation,
    now=st.one_of(st.floats(0, 1000), odd),
    arrived=st.one_of(st.none(), st.integers(-5, 10_000), st.sampled_from([10**30, 2**63])),
    over_s=st.one_of(st.just(1.0), numbers),
    replicas=st.lists(replicas, max_size=8),
    wanted=st.one_of(st.integers(-2, 60), st.just(2**40)),
    service_time=st.builds(
        ServiceTime, a_s=st.sampled_from([0.0, 0.004, 5.0]), c_s=st.sampled_from([0.0, 0.0015, 1e-12])
    ),
    lead=st.just(LeadTime(8.0, 9.0)),
    forecast=st.just(NoForecast()),
)


@settings(max_examples=300, deadline=None)
@given(st.sampled_from(TEXTS), st.integers(0, 5), st.integers(0, 60), st.lists(observations, max_size=12))
def test_within_the_bounds_and_never_an_exception(text: str, least: int, more: int, seen: list[Observation]) -> None:
    policy = HpaScaling(Bounds(least, least + more, 0.1, down_window_s=30.0), parse_settings(text))
    for one in seen:
        found = policy.decide(one)
        assert least <= found.replicas <= least + more
        assert found.reason


def _after(text: str, load: float, ready: int, starting: int, seconds: int, frozen: bool) -> int:
    """`load` requests a second for so long, from `ready` replicas; `frozen`: the replicas stay what they are."""
    policy = HpaScaling(Bounds(1, 100, 0.1), parse_settings(text))
    fleet = [ScaledReplica(f"r{n}", ReplicaState.READY, -1000.0, -990.0) for n in range(ready)]
    fleet += [ScaledReplica(f"s{n}", ReplicaState.STARTING, -20.0) for n in range(starting)]
    wanted = ready + starting
    for now in range(seconds):
        serving = [one for one in fleet if one.state is ReplicaState.READY]
        for one in serving:
            one.cpu = load / len(serving) / 600
        seen = Observation(
            float(now), round(load), 1.0, fleet, wanted, ServiceTime(0.004, 0.0015), LeadTime(8, 9), NoForecast()
        )
        found = policy.decide(seen).replicas
        if frozen:
            continue
        wanted = found
        del fleet[wanted:]
        fleet += [ScaledReplica(f"n{now}-{n}", ReplicaState.READY, -1000.0, -990.0) for n in range(wanted - len(fleet))]
    return found


loads = st.floats(0, 30_000)


@settings(max_examples=60, deadline=None)
@given(st.sampled_from(["hpa-cpu:70", "hpa-rps:400"]), loads, loads, st.integers(1, 20), st.integers(0, 10))
def test_one_look_is_monotone_in_the_load(text: str, one: float, other: float, ready: int, starting: int) -> None:
    fewer, more = sorted((one, other))
    assert _after(text, fewer, ready, starting, 16, True) <= _after(text, more, ready, starting, 16, True)


@settings(max_examples=25, deadline=None)
@given(st.sampled_from(["hpa-cpu:70", "hpa-rps:400"]), loads, loads, st.integers(1, 20))
def test_a_steady_load_is_followed_monotonously(text: str, one: float, other: float, start: int) -> None:
    fewer, more = sorted((one, other))
    assert _after(text, fewer, start, 0, 200, False) <= _after(text, more, start, 0, 200, False)
