"""Spares are kept where their bursts are worth more than their waiting."""

import pytest

from plimsoll.policy.scaling.budget.warm import WarmPool

EACH = 500.0  # requests/s of a replica


def lived(pool, looks, *, burst_every, burst=3000.0, wanted=6.0, ready=2.0):
    """A calm 800/s on two replicas; each `burst_every` looks one that six are wanted for and two are ready."""
    for look in range(looks):
        bursts = burst_every and look % burst_every == 0
        pool.look(burst if bursts else 800.0, wanted if bursts else 2.0, ready, EACH, 1.0)
    return pool


def test_nothing_is_kept_before_ten_minutes_were_seen():
    pool = lived(WarmPool(1.0), 590, burst_every=5)
    assert pool.best(20.0, EACH) == 0
    assert lived(pool, 120, burst_every=5).best(20.0, EACH) == 4


@pytest.mark.parametrize("burst_every", [0, 600, 100])
def test_rare_bursts_are_worth_no_spare_that_costs_as_much_as_what_serves(burst_every):
    assert lived(WarmPool(1.0), 3600, burst_every=burst_every).best(20.0, EACH) == 0


def test_as_many_as_the_bursts_miss():
    assert lived(WarmPool(1.0), 3600, burst_every=10).best(20.0, EACH) == 4
    assert lived(WarmPool(1.0), 3600, burst_every=10, burst=1400.0, wanted=3.0).best(20.0, EACH) == 1


def test_cheaper_spares_and_dearer_misses_pay_sooner():
    assert lived(WarmPool(0.1), 3600, burst_every=100).best(20.0, EACH) == 4
    assert lived(WarmPool(1.0), 3600, burst_every=100).best(200.0, EACH) == 4


def test_bursts_are_forgotten():
    pool = lived(WarmPool(1.0), 3600, burst_every=10)
    assert lived(pool, 14_400, burst_every=0).best(20.0, EACH) == 0


def test_spares_help_only_with_what_was_wanted():
    """Where nobody foresaw the burst nothing more was wanted, and no spare would have served."""
    assert lived(WarmPool(1.0), 3600, burst_every=10, wanted=2.0).best(20.0, EACH) == 0
