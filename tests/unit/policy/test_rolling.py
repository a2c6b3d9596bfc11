"""Rollouts as timelines: a small backend starts and stops what `plan` wants, one event at a time."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from plimsoll.policy.rollout import RevisionState, RolloutState, plan


def rev(name, ready=0, starting=0, **more):
    return RevisionState(name, ready, starting, **more)


@pytest.mark.parametrize(
    ("wanted", "new", "old", "state", "desired"),
    [
        # The first deployment starts all at once.
        (3, rev("b"), [], "progressing", {"b": 3}),
        (3, rev("b", 2, 1), [], "progressing", {"b": 3}),
        (3, rev("b", 3), [], "complete", {"b": 3}),
        (3, rev("b", failed=True), [], "failed", {"b": 3}),
        # One by one.
        (3, rev("b"), [rev("a", 3)], "progressing", {"b": 1, "a": 3}),
        (3, rev("b", 0, 1), [rev("a", 3)], "progressing", {"b": 1, "a": 3}),
        (3, rev("b", 1), [rev("a", 3)], "progressing", {"b": 2, "a": 2}),
        (3, rev("b", 2), [rev("a", 2)], "progressing", {"b": 3, "a": 1}),
        (3, rev("b", 3), [rev("a", 1)], "progressing", {"b": 3}),
        (3, rev("b", 3), [rev("a", good=True)], "complete", {"b": 3}),
        (1, rev("b"), [rev("a", 1)], "progressing", {"b": 1, "a": 1}),
        (1, rev("b", 1), [rev("a", 1)], "progressing", {"b": 1}),
        # A broken new one leaves the last good one at full count; one that is only slow or restarting does not.
        (3, rev("b", failed=True), [rev("a", 3)], "kept_old", {"a": 3}),
        (3, rev("b", failed=True), [rev("a", 1, good=True)], "kept_old", {"a": 3}),
        (3, rev("b", failed=True), [rev("a", good=True)], "kept_old", {"a": 3}),
        (3, rev("b", 1, failed=True), [rev("a", 2)], "progressing", {"b": 2, "a": 2}),
        (2, rev("c", failed=True), [rev("a", 2), rev("b", failed=True)], "kept_old", {"a": 2}),
        (2, rev("c", failed=True), [rev("a", 1), rev("b", 1)], "kept_old", {"b": 2, "a": 1}),
        # A third revision in the middle of a rollout: the elder goes first, what never got ready goes at once.
        (3, rev("c"), [rev("a", 2), rev("b", 1, 1)], "progressing", {"c": 1, "b": 1, "a": 2}),
        (3, rev("c", 1), [rev("a", 2), rev("b", 1)], "progressing", {"c": 2, "b": 1, "a": 1}),
        (3, rev("c"), [rev("a", 3), rev("b", 0, 1)], "progressing", {"c": 1, "a": 3}),
        # What the old ones lack starts as new ones at once.
        (4, rev("b"), [rev("a", 1)], "progressing", {"b": 4, "a": 1}),
        (4, rev("b"), [rev("a", 2)], "progressing", {"b": 3, "a": 2}),
        # Fewer wanted in the middle of it; none wanted; back to the revision that still runs.
        (1, rev("b", 2), [rev("a", 2)], "progressing", {"b": 1}),
        (0, rev("b", 2), [rev("a", 2)], "complete", {}),
        (3, rev("a", 2), [rev("a", 2), rev("b", 1)], "progressing", {"a": 3, "b": 1}),
    ],
)
def test_steps(wanted, new, old, state, desired):
    step = plan(wanted, new, old)
    assert (step.state, step.desired) == (RolloutState(state), desired)


class Fleet:
    """Carries desired counts out as a backend would: surplus goes, starting ones first; what lacks starts."""

    def __init__(self, ready):
        self.ready = dict(ready)
        self.starting = {}
        self.good = {name for name, count in ready.items() if count}

    def state(self, name):
        return rev(name, self.ready.get(name, 0), self.starting.get(name, 0), good=name in self.good)

    def step(self, wanted, order):
        *old, new = order
        result = plan(wanted, self.state(new), [self.state(name) for name in old])
        for name in order:
            want = result.desired.get(name, 0)
            self.ready[name] = min(self.ready.get(name, 0), want)
            self.starting[name] = want - self.ready[name]
        return result

    @property
    def total_ready(self):
        return sum(self.ready.values())

    @property
    def total(self):
        return self.total_ready + sum(self.starting.values())

    def one_gets_ready(self, random):
        names = [name for name, count in sorted(self.starting.items()) if count]
        if names:
            name = random.choice(names)
            self.starting[name] -= 1
            self.ready[name] = self.ready.get(name, 0) + 1
            self.good.add(name)

    def one_dies(self, random):
        names = [name for name, count in sorted(self.ready.items()) if count]
        if names:
            name = random.choice(names)
            self.ready[name] -= 1
            self.starting[name] = self.starting.get(name, 0) + 1


counts = st.integers(0, 5)


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 6), counts, counts, st.integers(0, 2**32))
def test_ready_capacity_is_kept_and_the_rollout_ends(wanted, a, b, seed):
    print(f"seed {seed}")
    random = Random(seed)
    fleet = Fleet({"a": a, "b": b})
    for _ in range(40):
        before = fleet.total_ready
        result = fleet.step(wanted, ["a", "b", "c"])
        assert fleet.total_ready >= min(wanted, before)
        assert fleet.total <= max(wanted, before) + 1
        if result.state is RolloutState.COMPLETE:
            break
        fleet.one_gets_ready(random)
    assert result.state is RolloutState.COMPLETE
    assert fleet.ready == {"a": 0, "b": 0, "c": wanted}


@settings(max_examples=200, deadline=None)
@given(st.integers(1, 5), counts, st.integers(0, 2**32))
def test_it_ends_though_replicas_die_and_the_wish_changes(wanted, a, seed):
    print(f"seed {seed}")
    random = Random(seed)
    fleet = Fleet({"a": a})
    for _ in range(20):
        before = fleet.total_ready
        fleet.step(wanted, ["a", "b"])
        assert fleet.total_ready >= min(wanted, before)
        random.choice([fleet.one_gets_ready, fleet.one_gets_ready, fleet.one_dies])(random)
        if random.random() < 0.1:
            wanted = random.randint(1, 5)
    for _ in range(40):
        result = fleet.step(wanted, ["a", "b"])
        fleet.one_gets_ready(random)
    assert result.state is RolloutState.COMPLETE
    assert fleet.ready["b"] == wanted


@settings(max_examples=100, deadline=None)
@given(st.integers(1, 5), counts, st.integers(1, 5))
def test_a_broken_revision_never_costs_capacity(wanted, b, a):
    fleet = Fleet({"a": a, "b": b})
    before = fleet.total_ready
    last = "b" if b else "a"
    result = plan(wanted, rev("c", failed=True), [fleet.state("a"), fleet.state("b")])
    assert result.state is RolloutState.KEPT_OLD
    assert result.desired[last] == wanted
    kept = sum(min(fleet.ready[name], count) for name, count in result.desired.items())
    assert kept >= min(wanted, before)
