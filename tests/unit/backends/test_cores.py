"""Who gets which cores."""

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.backends.local.cores import allot


def test_whole_cores_of_their_own_but_never_the_first():
    assert allot({"a": 1, "b": 2.5}, (0, 1, 2, 3), {}) == {"a": (1,), "b": (2, 3)}


def test_too_few_cores_pin_nobody():
    assert allot({"a": 1, "b": 1}, (0, 1), {}) == {"a": (), "b": ()}
    assert allot({"a": 1}, (0,), {}) == {"a": ()}


def test_less_than_a_core_shares_all():
    assert allot({"a": 0.5, "b": 1}, (0, 1), {}) == {"a": (), "b": (1,)}


def test_nobody_is_moved_without_need():
    assert allot({"b": 1, "c": 1}, (0, 1, 2), {"a": (1,), "b": (2,)}) == {"b": (2,), "c": (1,)}


names = st.sampled_from("abcdefgh")


@given(
    wanted=st.dictionaries(names, st.floats(0.1, 4)),
    cores=st.integers(1, 12),
    held=st.dictionaries(names, st.lists(st.integers(0, 12), unique=True, max_size=4).map(tuple)),
)
def test_no_core_is_given_twice(wanted, cores, held):
    found = allot(wanted, tuple(range(cores)), held)
    assert set(found) == set(wanted)
    given_cores = [core for own in found.values() for core in own]
    assert len(given_cores) == len(set(given_cores))
    assert set(given_cores) <= set(range(1, cores))
    whole = {name: int(cpus) for name, cpus in wanted.items() if cpus >= 1}
    if sum(whole.values()) <= cores - 1:
        assert {name: len(own) for name, own in found.items() if own} == whole
    else:
        assert not given_cores
