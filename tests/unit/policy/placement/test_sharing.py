from itertools import product
from math import isclose

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.policy.placement import Want, expected_miss, share
from plimsoll.policy.placement.sharing import regret


def falling(most):
    """Curves of what is missed: any that never rise."""
    return st.lists(st.floats(0, 1), min_size=1, max_size=most).map(lambda found: sorted(found, reverse=True))


@st.composite
def wants(draw, *, convex=False):
    found = []
    for index in range(draw(st.integers(1, 6))):
        wanted = draw(st.integers(0, 12))
        curve = draw(falling(13))
        if convex:
            steps = sorted(draw(st.lists(st.floats(0, 1), min_size=12, max_size=12)), reverse=True)
            total = sum(steps) or 1.0
            curve = [1.0]
            for step in steps:
                curve.append(max(curve[-1] - step / total, 0.0))
        found.append(
            Want(
                f"service-{index}",
                draw(st.integers(0, 4)),
                wanted,
                curve,
                rate=draw(st.floats(0, 1000)),
                priority=draw(st.integers(-1, 1)),
                weight=draw(st.floats(0, 10)),
                has=draw(st.integers(0, 12)),
                allowed=draw(st.sampled_from([0.0, 0.01, 0.2])),
            )
        )
    return found


@given(wants(), st.integers(0, 40))
def test_never_more_than_there_is_or_than_was_wanted(wants, room):
    granted = share(wants, room)
    assert granted.keys() == {want.service for want in wants}
    assert sum(granted.values()) <= room
    assert all(0 <= granted[want.service] <= want.wanted for want in wants)
    # Nothing is left over while somebody wants more.
    assert sum(granted.values()) == min(room, sum(want.wanted for want in wants))


@given(wants(), st.integers(0, 40))
def test_nobody_starves(wants, room):
    granted = share(wants, room)
    asking = [want for want in wants if want.wanted]
    if room >= len(asking):
        assert all(granted[want.service] >= 1 for want in asking)
    least = {want.service: min(max(want.least, 1), want.wanted) for want in asking}
    if room >= sum(least.values()):
        assert all(granted[service] >= count for service, count in least.items())


@given(wants(), st.integers(0, 40), st.randoms(use_true_random=False))
def test_the_order_does_not_matter(wants, room, shuffler):
    shuffled = list(wants)
    shuffler.shuffle(shuffled)
    assert share(shuffled, room) == share(wants, room)


@given(wants())
def test_with_more_room_nobody_gets_less(wants):
    before = share(wants, 0)
    for room in range(1, 40):
        after = share(wants, room)
        assert all(after[service] >= count for service, count in before.items())
        before = after


@given(wants(), st.integers(0, 40))
def test_as_capacities_it_shares_the_same(wants, room):
    slots = [Want(**{name: getattr(want, name) for name in want.__dataclass_fields__} | {"needs": {"slot": 1.0}})
             for want in wants]  # fmt: skip
    assert share(slots, {"slot": float(room)}) == share(wants, room)


@given(wants(convex=True), st.integers(1, 8))
def test_greedy_is_best_where_returns_diminish(wants, room):
    """Against every way to share among three services."""
    wants = [
        Want(want.service, 0, min(want.wanted, 5), want.miss, rate=want.rate, weight=want.weight) for want in wants[:3]
    ]
    granted = share(wants, room, stick=0.0)

    def missed(counts):
        shares = [w.miss[min(n, len(w.miss) - 1)] for w, n in zip(wants, counts, strict=True)]
        return sum(w.rate * w.weight * regret(share) for w, share in zip(wants, shares, strict=True))

    floors = [1 if want.wanted else 0 for want in wants]
    if sum(floors) > room:
        return
    ways = [
        counts
        for counts in product(*(range(floor, want.wanted + 1) for floor, want in zip(floors, wants, strict=True)))
        if sum(counts) <= room
    ]
    got, best = missed([granted[want.service] for want in wants]), min(missed(counts) for counts in ways)
    assert got <= best or isclose(got, best, rel_tol=1e-9, abs_tol=1e-9)


def two(has_a=0, has_b=0, gain_b=1.0):
    """Two services alike; `gain_b`: how much more often b is asked."""
    curve = [1.0, 0.6, 0.3, 0.1, 0.0]
    return [Want("a", 1, 4, curve, rate=100, has=has_a), Want("b", 1, 4, curve, rate=100 * gain_b, has=has_b)]


def test_near_equals_do_not_swap_replicas_each_second():
    held = share(two(), 5)
    assert held == {"a": 3, "b": 2}
    for gain in (1.1, 0.9, 1.9, 0.5, 0.95):
        assert share(two(held["a"], held["b"], gain), 5) == held
    assert share(two(held["a"], held["b"], 2.5), 5) == {"a": 2, "b": 3}


def test_goes_where_it_saves_most_requests():
    curve = [1.0, 0.5, 0.1, 0.0]
    wants = [Want("busy", 1, 3, curve, rate=900), Want("quiet", 1, 3, curve, rate=100)]
    assert share(wants, 4) == {"busy": 3, "quiet": 1}


def test_a_higher_priority_is_served_first_but_starves_nobody():
    curve = [1.0, 0.5, 0.1, 0.05, 0.0]
    wants = [Want("batch", 2, 4, curve, rate=1000), Want("front", 1, 4, curve, rate=10, priority=1)]
    assert share(wants, 1) == {"batch": 0, "front": 1}
    assert share(wants, 2) == {"batch": 1, "front": 1}
    assert share(wants, 3) == {"batch": 2, "front": 1}
    assert share(wants, 5) == {"batch": 2, "front": 3}


def test_a_step_that_only_pays_at_its_end_is_taken_whole():
    """Three replicas save nothing, the fourth everything: spread over the four it is worth more than the other's."""
    step = Want("step", 0, 4, [1.0, 1.0, 1.0, 1.0, 0.0], rate=100)
    slope = Want("slope", 0, 4, [1.0, 0.8, 0.6, 0.4, 0.2], rate=100)
    assert share([step, slope], 5) == {"slope": 1, "step": 4}


def test_misses_beyond_the_budget_count_more():
    """a is inside its budget of 5%; b is not, though a's next replica would save more requests."""
    a = Want("a", 1, 3, [1.0, 0.05, 0.0], rate=1000, allowed=0.05)
    b = Want("b", 1, 3, [1.0, 0.30, 0.25], rate=500, allowed=0.05)
    assert share([a, b], 3) == {"a": 1, "b": 2}


def test_room_by_resource():
    curve = [1.0, 0.5, 0.2, 0.1]
    wants = [
        Want("gpu", 1, 3, curve, rate=100, needs={"gpu": 1, "cpu": 2}),
        Want("cpu", 1, 3, curve, rate=50, needs={"cpu": 1}),
    ]
    assert share(wants, {"gpu": 2, "cpu": 6}) == {"cpu": 2, "gpu": 2}
    assert share(wants, {"gpu": 0, "cpu": 2}) == {"cpu": 2, "gpu": 0}


def test_ten_jobs_on_too_little():
    """Ten jobs whose requests take 154 ms of a replica and may wait 560 ms; together they need about 34."""
    rates = [8, 10, 12, 15, 18, 20, 24, 28, 34, 40]
    wants = [
        Want(f"job-{i}", 1, 32, expected_miss(32, [rate * 0.9, rate, rate * 1.1], 0.154, 0.56, 0.6), rate=rate)
        for i, rate in enumerate(rates)
    ]
    granted = share(wants, 32)
    assert sum(granted.values()) == 32
    missed = sum(want.rate * want.miss[granted[want.service]] for want in wants) / sum(rates)
    equal = sum(want.rate * want.miss[count] for want, count in zip(wants, [4, 4] + [3] * 8, strict=True)) / sum(rates)
    assert missed < 0.35 * equal
    assert missed < 0.12


def test_under_overload_whoever_is_worst_off_comes_first():
    """Each replica answers 10/s wherever it is."""
    wants = [
        Want(name, 1, 9, [max(1 - 10 * n / rate, 0.0) for n in range(10)], rate=rate)
        for name, rate in {"a": 90.0, "b": 30.0, "c": 60.0}.items()
    ]
    assert share(wants, 9) == {"a": 5, "b": 1, "c": 3}
    assert share(wants, 18) == {"a": 9, "b": 3, "c": 6}


def test_a_name_twice_is_refused():
    with pytest.raises(ValueError, match="twice"):
        share([Want("a", 1, 1), Want("a", 1, 1)], 1)


@pytest.mark.parametrize("strange", [float("nan"), float("inf"), -1.0])
def test_strange_numbers_do_no_harm(strange):
    wants = [Want("a", 1, 3, [strange] * 3, rate=strange, weight=strange), Want("b", 1, 3, lambda n: 1 / (n + 1))]
    assert sum(share(wants, 4).values()) == 4
