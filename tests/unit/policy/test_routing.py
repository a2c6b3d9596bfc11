from random import Random

import pytest

from plimsoll.core.outcome import Outcome
from plimsoll.policy.routing import GiveUp, Quarantine, Retry, RetryBudget, TwoChoices, after_loss


def test_of_two_the_less_loaded():
    choose = TwoChoices(Random(1).randrange)
    assert {choose.pick([3, 1]) for _ in range(20)} == {1}
    assert choose.pick([7]) == 0
    with pytest.raises(ValueError, match="nothing to choose"):
        choose.pick([])


def test_equal_replicas_share_evenly():
    choose = TwoChoices(Random(2).randrange)
    counts = [0] * 4
    for _ in range(4000):
        counts[choose.pick([0.0] * 4)] += 1
    assert min(counts) > 900


def test_of_many_never_the_most_loaded_and_mostly_the_least():
    choose = TwoChoices(Random(3).randrange)
    picked = [choose.pick([5, 1, 9, 3]) for _ in range(1000)]
    assert 2 not in picked
    assert picked.count(1) == pytest.approx(500, abs=60)  # of six pairs three hold it


def test_a_budget_is_a_tenth_of_the_last_ten_seconds_and_the_reserve():
    budget = RetryBudget(ratio=0.1, window_s=10, reserve=4)
    for tenth in range(200):  # 10/s for 20 s
        budget.record_request(now=tenth / 10)
    granted = sum(budget.try_spend(now=19.9) for _ in range(100))
    assert granted == 14
    assert not budget.try_spend(now=20.5)
    assert budget.try_spend(now=35.0)  # all has left the window; the reserve is there again
    assert budget.retries == 1
    assert budget.requests == 0


def test_the_reserve_holds_for_traffic_that_has_just_begun():
    budget = RetryBudget()
    budget.record_request(now=0.0)
    assert sum(budget.try_spend(now=0.1) for _ in range(100)) == 64


def test_a_budget_stands_a_clock_that_goes_back():
    budget = RetryBudget(reserve=1)
    budget.record_request(now=100.0)
    assert budget.try_spend(now=3.0)
    assert not budget.try_spend(now=100.0)


def test_quarantine_timeline():
    quarantine = Quarantine(ttl_s=60)
    quarantine.add(b"poison", now=0)
    assert quarantine.holds(b"poison", now=59.9)
    assert not quarantine.holds(b"other", now=1)
    quarantine.add(b"second", now=30)
    assert not quarantine.holds(b"poison", now=60)
    assert len(quarantine) == 1
    quarantine.add(b"second", now=80)
    assert quarantine.holds(b"second", now=139)


def test_quarantine_is_bounded():
    quarantine = Quarantine(capacity=3)
    for i in range(10):
        quarantine.add(bytes([i]), now=i)
    assert len(quarantine) == 3
    assert not quarantine.holds(bytes([6]), now=10)
    assert quarantine.holds(bytes([7]), now=10)


def loss(attempt=1, computing=False, left=1.0, budget=True, allowed=True, others=1, **more):
    return after_loss(attempt, computing, left, budget, allowed, others, **more)


@pytest.mark.parametrize(
    ("verdict", "expected"),
    [
        (loss(), Retry(alone=True)),
        (loss(computing=True), Retry(alone=True)),  # it had company in the batch
        (loss(delivered=False), Retry(alone=False)),
        (loss(attempt=2, delivered=False), Retry(alone=True)),
        (loss(attempt=2), Retry(alone=True)),  # the replica died of something else
        (loss(attempt=3), Retry(alone=True)),
        (loss(attempt=4), GiveUp(Outcome.REPLICA_LOST)),
        (loss(attempt=2, computing=True), GiveUp(Outcome.REPLICA_LOST, quarantine=True)),
        (loss(attempt=2, computing=True, left=-1), GiveUp(Outcome.REPLICA_LOST, quarantine=True)),
        (loss(left=0.0), GiveUp(Outcome.EXPIRED)),
        (loss(budget=False), GiveUp(Outcome.REPLICA_LOST)),
        (loss(allowed=False), GiveUp(Outcome.REPLICA_LOST)),
        (loss(others=0), GiveUp(Outcome.REPLICA_LOST)),
    ],
)
def test_after_a_loss(verdict, expected):
    assert verdict == expected
