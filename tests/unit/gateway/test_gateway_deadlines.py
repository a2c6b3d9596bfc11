"""The wheel against a naive model."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.gateway.deadlines import DeadlineWheel

SLOT_S = 0.02


def test_timeline():
    wheel = DeadlineWheel()
    wheel.add("a", 10.0)
    wheel.add("b", 10.5)
    assert wheel.overdue(9.99) == []
    assert wheel.overdue(10.0) == []  # never early
    assert wheel.overdue(10.02) == ["a"]
    assert wheel.overdue(10.02) == []
    assert wheel.overdue(11.0) == ["b"]
    assert len(wheel) == 0


def test_what_ended_is_forgotten_at_once():
    wheel = DeadlineWheel()
    slots = {n: wheel.add(n, 100 + n) for n in range(1000)}
    for n, slot in slots.items():
        wheel.remove(n, slot)
    assert not wheel._slots
    wheel.remove(5, slots[5])  # twice does no harm
    assert wheel.overdue(1e6) == []


def test_a_deadline_that_has_passed_comes_at_the_next_look():
    wheel = DeadlineWheel()
    wheel.overdue(50.0)
    slot = wheel.add("late", 3.0)
    assert wheel.overdue(50.0 + SLOT_S) == ["late"]
    wheel.remove("late", slot)


def test_jumps_of_the_clock():
    wheel = DeadlineWheel()
    wheel.add("a", 10.0)
    wheel.add("b", 1e7)
    assert wheel.overdue(9.0) == []
    assert wheel.overdue(1e6) == ["a"]  # 11 days at once, without 50 million looks
    assert wheel.overdue(5.0) == []  # and back
    wheel.add("c", 6.0)
    assert wheel.overdue(1e6 + 1) == ["c"]
    assert wheel.overdue(1e7 + 1) == ["b"]


moments = st.floats(min_value=0, max_value=100, allow_nan=False)
acts = st.lists(
    st.one_of(
        st.tuples(st.just("add"), moments),
        st.tuples(st.just("remove"), st.integers(0, 50)),
        st.tuples(st.just("look"), moments),
    ),
    max_size=60,
)


@pytest.mark.parametrize("steady", [True, False], ids=["a steady clock", "a clock that jumps"])
@given(acts=acts)
def test_against_a_dictionary(steady, acts):
    wheel, model, slots, now = DeadlineWheel(), {}, {}, 0.0
    for act, value in acts:
        if act == "add":
            item = len(slots)
            slots[item], model[item] = wheel.add(item, value), value
        elif act == "remove":
            if value in slots:
                wheel.remove(value, slots[value])
                model.pop(value, None)
        else:
            now = max(now, value) if steady else value
            given_ = wheel.overdue(now)
            assert len(given_) == len(set(given_))
            assert all(model[item] < now for item in given_), "early"
            for item in given_:
                del model[item]
            if steady:
                left = [deadline for deadline in model.values() if deadline < now - 2 * SLOT_S]
                # One that was overdue when it was added comes with the next slot.
                assert all(slots[item] * SLOT_S > now - SLOT_S for item in model if model[item] in left)
        assert len(wheel) == len(model)
    assert sorted(wheel.overdue(1e9)) == sorted(model)
    assert not wheel._slots
