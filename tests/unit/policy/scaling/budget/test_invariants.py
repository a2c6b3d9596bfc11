"""What holds whatever the scaler is shown: bounds, a line of words, JSON, no exception; more load never gets fewer."""

import json
from math import inf, nan

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st
from tests.unit.policy.scaling.budget.timeline import Timeline

from plimsoll.core.scaling import Bounds, LeadTime, Observation, ReplicaKind, ReplicaState, ScaledReplica
from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.forecast import QUANTILES
from plimsoll.policy.scaling.budget import BudgetScaling

ODD = st.sampled_from([nan, inf, -inf, -1.0, 0.0, 1e-320, 1e-9, 1e12, 1e300])
SECONDS = st.one_of(st.floats(1e-4, 1e3), ODD)
COUNT = st.one_of(st.integers(0, 10**4), st.sampled_from([-(10**9), -1, 10**9, 10**15, 10**400]))


class AnyForecast:
    """Says what it was told to, whatever is asked."""

    quantiles = QUANTILES
    level = 0.0

    def __init__(self, values):
        self.values = values

    def rates(self, ahead_s):
        return self.values

    def rate(self, ahead_s, quantile):
        return self.values[0]

    def burstiness(self):
        return self.values[-1]


forecasts = st.builds(
    AnyForecast,
    st.one_of(
        st.floats(0, 1e5).map(lambda rate: [rate * (1 + q) for q in QUANTILES]),
        st.lists(st.one_of(st.floats(0, 1e6), ODD), min_size=len(QUANTILES), max_size=len(QUANTILES)),
    ),
)
replicas = st.lists(
    st.builds(
        ScaledReplica,
        st.just("r"),
        st.sampled_from(list(ReplicaState)),
        SECONDS,
        st.one_of(st.none(), SECONDS),
        st.one_of(st.none(), ODD),
        st.sampled_from(["", "a", "b"]),
    ),
    max_size=6,
)
kinds = st.lists(
    st.builds(ReplicaKind, st.sampled_from("ab"), SECONDS, SECONDS, st.one_of(st.none(), st.integers(0, 5))),
    max_size=2,
    unique_by=lambda kind: kind.name,
).map(tuple)
sound_times = st.builds(ServiceTime, st.floats(0, 0.5), st.floats(1e-6, 0.1), st.floats(0, 0.1), st.integers(0, 1000))
leads = st.builds(
    LeadTime, st.floats(0, 100), st.floats(0, 200), st.floats(0, 300), st.floats(0, 300), st.integers(0, 5)
)
looks = st.builds(
    Observation,
    now=st.one_of(st.integers(0, 300).map(float), st.floats()),
    arrived=st.one_of(st.none(), st.integers(0, 10**5), COUNT),
    over_s=st.one_of(st.just(1.0), SECONDS),
    replicas=replicas,
    wanted=st.one_of(st.integers(0, 30), COUNT),
    service_time=st.one_of(sound_times, st.builds(ServiceTime, SECONDS, SECONDS, SECONDS, st.integers(0, 10))),
    lead=st.one_of(leads, st.builds(LeadTime, SECONDS, SECONDS, SECONDS, SECONDS, COUNT)),
    forecast=forecasts,
    waiting=COUNT,
    in_flight=COUNT,
    late=COUNT,
    concurrency=SECONDS,
    dispersion=st.one_of(st.none(), SECONDS),
    spare_slots=st.one_of(st.none(), COUNT),
    kinds=kinds,
)
limits = st.builds(
    lambda least, more, **rest: Bounds(least, least + more, **rest),
    least=st.integers(0, 4),
    more=st.integers(0, 40),
    p99_s=st.one_of(st.none(), st.floats(1e-3, 10)),
    max_batch=st.one_of(st.none(), st.integers(1, 128)),
    zero_after_s=st.floats(0, 100),
    down_window_s=st.one_of(st.none(), st.floats(0, 600)),
    cost_per_hour=st.one_of(st.none(), st.floats(0, 100)),
    cost_per_million=st.one_of(st.none(), st.floats(0, 100)),
    price_per_hour=st.floats(0, 10),
    cap_at_cost=st.booleans(),
)


@settings(max_examples=250, suppress_health_check=list(HealthCheck))
@given(bounds=limits, seens=st.lists(looks, max_size=8))
def test_within_bounds_in_words_and_json_and_never_an_exception(bounds, seens):
    policy = BudgetScaling(bounds)
    for seen in seens:
        decision = policy.decide(seen)
        assert type(decision.replicas) is int
        assert bounds.least <= decision.replicas <= bounds.most, decision
        assert decision.reason
        assert "\n" not in decision.reason
        assert len(decision.reason) < 500
        json.dumps(dict(decision.evidence), allow_nan=False)
        assert sum(decision.by_kind.values()) <= decision.replicas


@settings(max_examples=100, suppress_health_check=list(HealthCheck))
@given(bounds=limits, seens=st.lists(looks, max_size=6))
def test_the_same_looks_give_the_same_decisions(bounds, seens):
    one, two = BudgetScaling(bounds), BudgetScaling(bounds)
    assert [one.decide(seen) for seen in seens] == [two.decide(seen) for seen in seens]


@settings(max_examples=25)
@given(rate=st.floats(0, 5000), factor=st.floats(1.0, 4.0), cold_s=st.sampled_from([1.0, 8.0, 60.0]))
@example(rate=500.0, factor=1.0000001, cold_s=8.0)
def test_more_steady_load_never_gets_fewer(rate, factor, cold_s):
    def settled(rate):
        return Timeline(start=4, cold_s=cold_s).run(240, rate)[-1]

    assert settled(rate) <= settled(rate * factor)


@pytest.mark.parametrize("seed", [1, 2])
def test_more_steady_poisson_load_never_gets_fewer(seed):
    found = [Timeline(start=1, seed=seed).run(600, rate)[-1] for rate in (10, 100, 400, 800, 1600, 3200, 6400)]
    assert found == sorted(found)


def test_memory_does_not_grow():
    def size(thing, known):
        if id(thing) in known or isinstance(thing, type):
            return 0
        known.add(id(thing))
        if hasattr(thing, "nbytes"):
            return thing.nbytes
        inner = [thing.values()] if isinstance(thing, dict) else []
        if isinstance(thing, (list, tuple, set)) or type(thing).__name__ == "deque":
            inner.append(thing)
        for slot in getattr(type(thing), "__slots__", ()):
            inner.append([getattr(thing, slot, None)])
        inner.append(vars(thing).values() if hasattr(thing, "__dict__") else ())
        return 8 + sum(size(value, known) for values in inner for value in values)

    world = Timeline(start=4, seed=3)
    sizes = []
    for _ in range(3):
        world.run(1200, lambda s: 500 if s % 700 < 350 else 2500)
        sizes.append(size(world.policy, set()) + size(world.forecast, set()))
    assert sizes[-1] <= 1.05 * sizes[0]
    assert sizes[-1] < 2_000_000
