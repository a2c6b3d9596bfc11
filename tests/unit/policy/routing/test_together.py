"""The quick ways say what the slow ones say: answers counted together, and a fleet's pick without its parts' calls."""

from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import Fleet, LeastWait, Outliers, Overdue, Reach, ReplicaLoad

seconds = st.floats(1e-4, 2.0)
batches = st.lists(st.tuples(st.sampled_from("abc"), st.lists(seconds, max_size=12), st.floats(0.0, 0.7)), max_size=30)


@given(st.lists(st.lists(seconds, max_size=12), max_size=8))
def test_a_loads_answers(answers):
    one, other = ReplicaLoad(), ReplicaLoad()
    for batch in answers:
        for load in (one, other):
            for _ in batch:
                load.sent(0.0)
        for took_s in batch:
            one.ended(0.0, took_s)
        other.answered_together(batch)
    assert (one.outstanding, one.usual_s) == (other.outstanding, other.usual_s)


@given(batches)
def test_outliers_answers(script):
    one, other = Outliers(), Outliers()
    for outliers in (one, other):
        outliers.keep("abc")
    now = 0.0
    for name, took, after_s in script:
        now += after_s
        for took_s in took:
            one.observe(name, Outcome.OK, took_s, now)
        other.answered_together(name, took, now)
        assert one.changes() == other.changes()
        assert one.quiet == other.quiet
        for replica in "abc":
            assert one.health(replica, now) == other.health(replica, now)
            mine, theirs = one._replicas[replica], other._replicas[replica]
            assert theirs.mean_s == pytest.approx(mine.mean_s)
            assert theirs.requests == pytest.approx(mine.requests)
            assert (mine.answers, mine.fresh) == (theirs.answers, theirs.fresh)


class Replica:
    limit = None

    def __init__(self, name):
        self.name, self.load, self.reach, self.overdue = name, ReplicaLoad(), Reach(), Overdue()


indexes, waits, items = st.integers(0, 3), st.sampled_from([0.0, 0.01, 0.2]), st.sampled_from([0.001, 0.01])
acts = st.lists(
    st.one_of(
        st.tuples(st.just("report"), indexes, waits, items),
        st.tuples(st.sampled_from(["sent", "ended"]), indexes, st.just(0.0), st.just(0.0)),
        st.tuples(st.just("wait"), indexes, st.sampled_from([0.001, 0.02, 0.6, 1.5]), st.just(0.0)),
    ),
    max_size=40,
)


@given(acts, st.integers(2, 4), st.integers(0, 1000))
def test_a_fleet_picks_as_least_wait_does(script, count, seed):
    replicas = [Replica(str(number)) for number in range(count)]
    fleet, choose = Fleet(Random(seed).random, 0.05), LeastWait(Random(seed).random)
    fleet.keep(replicas)
    now = 10.0
    for what, index, one, other in script:
        load = replicas[index % count].load
        if what == "report":
            load.report(one, other, now)
        elif what == "sent":
            load.sent(now)
        elif what == "ended":
            if load.outstanding:
                load.ended(now, 0.01)
        else:
            now += one
        expected = replicas[choose.pick([replica.load for replica in replicas], now)]
        chosen = fleet.route(now, now, now + 1.0)
        wait_s = expected.load.predicted_wait(now)
        if wait_s is None or wait_s <= 0.05:
            assert chosen is expected
        else:
            assert chosen is not expected or chosen.load.predicted_wait(now) <= 0.05
