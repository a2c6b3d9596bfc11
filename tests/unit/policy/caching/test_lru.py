"""The space of a cache, as timelines."""

from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.caching import Lru, is_fresh


@dataclass(frozen=True)
class Kept:
    size: int = 10
    until: float = 100.0


def test_the_one_used_longest_ago_goes_first():
    lru = Lru(40)
    for name in "abcd":
        assert lru.put(name, Kept(), now=0)
    assert lru.get("a", now=1) is not None

    lru.put("e", Kept(), now=2)

    assert [name for name in "abcde" if lru.get(name, now=3)] == ["a", "c", "d", "e"]
    assert (lru.bytes, len(lru), lru.evicted) == (40, 4, 1)


def test_an_entry_is_given_until_its_time_is_over_and_then_its_space_is_free():
    lru = Lru(40)
    lru.put("a", Kept(until=10), now=0)
    assert lru.get("a", now=9.999) is not None
    assert lru.get("a", now=10) is None
    assert (lru.bytes, len(lru)) == (0, 0)
    assert not lru.put("late", Kept(until=10), now=10)


def test_one_that_takes_more_than_a_quarter_is_not_taken_and_pushes_nobody_out():
    lru = Lru(40)
    for name in "abc":
        lru.put(name, Kept(), now=0)
    assert not lru.put("large", Kept(size=11), now=0)
    assert lru.bytes == 30
    # What it was to replace is old news all the same.
    assert not lru.put("a", Kept(size=11), now=0)
    assert lru.get("a", now=0) is None


def test_a_larger_answer_in_the_place_of_a_small_one_is_counted_once():
    lru = Lru(100)
    lru.put("a", Kept(size=5), now=0)
    lru.put("a", Kept(size=25), now=0)
    assert (lru.bytes, len(lru)) == (25, 1)


def test_less_space_holds_at_once_and_a_purge_leaves_nothing():
    lru = Lru(100)
    for name in "abcdefghij":
        lru.put(name, Kept(), now=0)
    lru.resize(35)
    assert [name for name in "abcdefghij" if lru.get(name, now=0)] == ["h", "i", "j"]
    lru.purge()
    assert (lru.bytes, len(lru), lru.get("j", now=0)) == (0, 0, None)
    lru.resize(0)
    assert not lru.put("a", Kept(size=1), now=0)


@given(
    st.lists(
        st.tuples(st.sampled_from(["put", "get", "discard", "resize"]), st.integers(0, 12), st.integers(1, 40)),
        max_size=200,
    )
)
def test_bytes_are_what_is_kept_and_never_more_than_there_is_room_for(steps):
    lru, model = Lru(100), {}  # model: the same, in order of use, by lists
    for now, (act, name, number) in enumerate(steps):
        if act == "put":
            model.pop(name, None)
            if lru.put(name, Kept(size=number, until=now + 30), now=now):
                model[name] = (number, now + 30)
            assert (name in model) == (number <= lru.max_bytes / 4)
        elif act == "get":
            held = model.pop(name, None)
            found = lru.get(name, now=now)
            if held is not None and held[1] > now:
                model[name] = held
            assert (found is not None) == (name in model)
        elif act == "discard":
            model.pop(name, None)
            lru.discard(name)
        else:
            lru.resize(number * 3)
        while sum(size for size, _ in model.values()) > lru.max_bytes:
            del model[next(iter(model))]
        assert lru.bytes == sum(size for size, _ in model.values()) <= lru.max_bytes
        assert len(lru) == len(model)


def test_fresh_is_younger_than_the_ttl_of_the_moment():
    assert is_fresh(stored_at=10, ttl_s=5, now=14.9)
    assert not is_fresh(stored_at=10, ttl_s=5, now=15)
    assert not is_fresh(stored_at=10, ttl_s=2, now=14.9)  # a shorter ttl holds for what is there already
    assert is_fresh(stored_at=10, ttl_s=5, now=9)
    assert not is_fresh(stored_at=10, ttl_s=0, now=10)
