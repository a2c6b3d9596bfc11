"""What holds for every policy here, whatever it is shown."""

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.unit.policy.scaling.world import World, replicas, seen

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.named import make

NAMES = [
    "fixed:8",
    "schedule:*/5 * * * *=3;2-59/5 * * * *=9",
    "kpa",
    "kpa:rps=100,window=6s,delay=10s,activation=2",
    "keda",
    "keda:rps=100,fallback=4,failures=1,poll=5s",
    "keda:queue=3,pause=in",
]
LOADED = ["kpa", "kpa:rps=100", "keda", "keda:rps=100"]
ANY = st.floats()
CLOCK = st.one_of(st.floats(0, 1e6), st.floats(-100, 100), ANY)


@st.composite
def observations(draw):
    return seen(
        draw(CLOCK),
        rate=draw(st.integers(0, 10**7)),
        over_s=draw(st.one_of(st.floats(0.01, 10), st.sampled_from([1.0, 60.0]))),
        metrics=draw(st.booleans()),
        replicas=replicas(draw(st.integers(0, 6)), starting=draw(st.integers(0, 3)), draining=draw(st.integers(0, 2))),
        wanted=draw(st.integers(0, 40)),
        waiting=draw(st.integers(0, 10**9)),
        in_flight=draw(st.integers(0, 10**6)),
        concurrency=draw(ANY),
    )


@pytest.mark.parametrize("name", NAMES)
@given(seens=st.lists(observations(), max_size=12), least=st.integers(0, 5), more=st.integers(0, 20))
def test_within_bounds_and_never_raises(name, seens, least, more):
    policy = make(name, Bounds(least, least + more))
    for one in seens:
        decision = policy.decide(one)
        assert least <= decision.replicas <= least + more
        assert decision.reason


@pytest.mark.parametrize("name", LOADED)
@given(load=st.floats(0, 3000), factor=st.floats(1, 4), least=st.integers(0, 2))
def test_more_steady_load_never_gets_fewer(name, load, factor, least):
    def settled(load):
        world = World(make(name, Bounds(least, 100)), start=1)
        return world.run(400, rate=load, concurrency=load, queue=round(load))[-1]

    assert settled(load) <= settled(load * factor)


@pytest.mark.parametrize("name", LOADED)
def test_without_metrics_it_holds_and_says_so(name):
    world = World(make(name, Bounds(1, 20)), start=3)
    assert set(world.run(200, metrics=False)) == {3}
    assert "no metrics, held" in world.decision.reason


@pytest.mark.parametrize("name", NAMES)
def test_memory_does_not_grow(name):
    policy = make(name, Bounds(1, 50))

    def size(thing, known):
        if id(thing) in known or isinstance(thing, type):
            return 0
        known.add(id(thing))
        inner = 0
        if isinstance(thing, dict):
            inner = sum(size(value, known) for value in thing.values())
        elif isinstance(thing, (list, tuple, set)) or type(thing).__name__ == "deque":
            inner = sum(size(value, known) for value in thing) + len(thing)
        elif hasattr(thing, "__dict__"):
            inner = size(vars(thing), known)
        elif hasattr(type(thing), "__slots__"):
            inner = sum(size(getattr(thing, slot, None), known) for slot in type(thing).__slots__)
        return inner + 1

    sizes = []
    for hour in range(1, 4):
        for now in range(hour * 3600, (hour + 1) * 3600):
            load = 500.0 if now % 700 < 350 else 50.0
            policy.decide(seen(float(now), rate=load, concurrency=load, waiting=int(load), ready=4))
        sizes.append(size(policy, set()))
    assert max(sizes) <= 1.2 * sizes[0]
