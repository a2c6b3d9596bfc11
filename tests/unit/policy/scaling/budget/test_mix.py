"""The cheapest mix against every mix."""

from itertools import product
from math import inf, nan

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from plimsoll.core.scaling import ReplicaKind
from plimsoll.policy.scaling.budget.mix import capacity_of, cheapest_mix


def by_name(kinds):
    return {kind.name: kind for kind in kinds}


def price(mix, kinds):
    return sum(by_name(kinds)[name].price_per_hour * count for name, count in mix.items())


def speed(mix, kinds):
    return sum(by_name(kinds)[name].speed * count for name, count in mix.items())


@st.composite
def some_kinds(draw):
    return tuple(
        ReplicaKind(
            name,
            draw(st.integers(0, 40)) / 8,
            draw(st.sampled_from([0.5, 0.75, 1.0, 1.5, 2.0, 3.0])),
            draw(st.one_of(st.none(), st.integers(0, 4))),
        )
        for name in "abc"[: draw(st.integers(1, 3))]
    )


@given(
    kinds=some_kinds(),
    replicas=st.integers(0, 5),
    least=st.integers(0, 2),
    most=st.one_of(st.none(), st.integers(2, 7)),
)
@example(kinds=(ReplicaKind("a", 1.9, 2.0), ReplicaKind("b", 1.5, 1.5)), replicas=3, least=0, most=None)  # greedy: 3.4
def test_no_mix_is_cheaper(kinds, replicas, least, most):
    mix = cheapest_mix(replicas, kinds, least=least, most=most)
    bounds = [range((12 if kind.most is None else kind.most) + 1) for kind in kinds]
    all_of_them = [
        dict(zip((kind.name for kind in kinds), counts, strict=True))
        for counts in product(*bounds)
        if least <= sum(counts) <= (36 if most is None else most)
    ]
    enough = [one for one in all_of_them if speed(one, kinds) >= replicas - 1e-6]
    assert all(by_name(kinds)[name].most is None or count <= by_name(kinds)[name].most for name, count in mix.items())
    assert most is None or sum(mix.values()) <= most
    if enough:
        assert speed(mix, kinds) >= replicas - 1e-6
        assert sum(mix.values()) >= least
        assert price(mix, kinds) == pytest.approx(min(price(one, kinds) for one in enough))
    elif all_of_them:
        assert speed(mix, kinds) == pytest.approx(max(speed(one, kinds) for one in all_of_them)), "what does most"


def test_the_last_ones_are_chosen_with_care():
    kinds = [ReplicaKind("a", 1.0, 1.0), ReplicaKind("b", 2.9, 3.0), ReplicaKind("c", 7.9, 8.0)]
    assert dict(cheapest_mix(1001, kinds)) == {"b": 333, "a": 2}
    assert dict(cheapest_mix(2, kinds)) == {"a": 2}


def test_nothing_without_kinds_or_need():
    assert cheapest_mix(5, ()) == {}
    assert cheapest_mix(0, [ReplicaKind("a", 1.0)]) == {}


def test_kinds_that_make_no_sense_are_left_out():
    kinds = [
        ReplicaKind("no", 1.0, 0.0),
        ReplicaKind("nan", nan),
        ReplicaKind("fast", 1.0, inf),
        ReplicaKind("old", -1.0),
    ]
    assert cheapest_mix(3, kinds) == {}
    assert dict(cheapest_mix(3, [*kinds, ReplicaKind("good", 1.0)])) == {"good": 3}


def test_what_the_fastest_can_do():
    kinds = [ReplicaKind("a", 1.0, 1.0), ReplicaKind("b", 9.0, 3.0, most=2)]
    assert capacity_of(kinds, 1) == 3
    assert capacity_of(kinds, 5) == 9
