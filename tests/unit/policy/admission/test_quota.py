"""A tenant's quota, as timelines."""

from random import Random

import pytest

from plimsoll.policy.admission import LeasedBucket, TenantQuota, TokenBucket


def admitted(quota, count, now):
    """How many of `count` that come at once are let in; each ends at once."""
    got = 0
    for _ in range(count):
        if quota.admit(now) is None:
            got += 1
            quota.ended(now)
    return got


def test_requests_a_second():
    quota = TenantQuota(requests_per_s=10)
    assert admitted(quota, 50, now=100.0) == 10  # a second's worth at once
    refused = quota.admit(100.0)
    assert refused.reason == "over the quota of 10 requests a second"
    assert refused.retry_after_s == pytest.approx(0.1)
    assert admitted(quota, 50, now=100.5) == 5
    assert admitted(quota, 50, now=300.0) == 10  # not more for a long silence


def test_less_than_one_a_second_is_still_one_now_and_then():
    quota = TenantQuota(requests_per_s=0.1)
    assert admitted(quota, 5, now=0.0) == 1
    assert quota.admit(4.0).retry_after_s == pytest.approx(6.0)
    assert admitted(quota, 5, now=10.0) == 1


def test_a_quota_of_nothing_lets_nothing_in():
    assert TenantQuota(requests_per_s=0).admit(0.0).retry_after_s is None
    assert TenantQuota(concurrent=0).admit(0.0) is not None


def test_no_quota_refuses_nobody():
    quota = TenantQuota()
    assert all(quota.admit(0.0) is None for _ in range(10_000))


def test_requests_at_once():
    quota = TenantQuota(concurrent=2, requests_per_s=100)
    assert [quota.admit(0.0) is None for _ in range(3)] == [True, True, False]
    assert quota.admit(0.0).reason == "over the quota of 2 requests at once"
    quota.ended(0.0)
    assert quota.admit(0.0) is None
    assert quota.requests.balance == 97  # what was refused cost nothing of the rate


def test_tokens_are_paid_for_after_the_answer():
    quota = TenantQuota(tokens_per_minute=600)  # 10 a second
    assert quota.admit(0.0) is None
    quota.ended(0.0, tokens=900)  # a long answer: 300 in debt
    refused = quota.admit(0.0)
    assert refused.reason == "over the quota of 600 tokens a minute"
    assert refused.retry_after_s == pytest.approx(30.0)
    assert quota.admit(29.9) is not None
    assert quota.admit(30.1) is None


def test_a_changed_quota_keeps_what_was_spent():
    quota = TenantQuota(requests_per_s=100, concurrent=3, tokens_per_minute=60)
    for _ in range(3):
        quota.admit(0.0)
    for _ in range(2):
        quota.ended(0.0, tokens=100)
    quota.update(requests_per_s=200, concurrent=1, tokens_per_minute=6000)
    assert quota.in_flight == 1
    assert quota.admit(0.0) is not None  # one is under way
    quota.ended(0.0)
    assert quota.requests.balance == 97
    assert quota.tokens.balance == -140  # the debt stays
    quota.update(requests_per_s=10)
    assert (quota.requests.balance, quota.tokens) == (10, None)


def test_each_of_four_gateways_takes_a_quarter():
    gateways = [TenantQuota(requests_per_s=100, concurrent=6, share=1 / 4) for _ in range(4)]
    total = sum(admitted(quota, 1000, now=0.0) for quota in gateways)
    for tenth in range(1, 21):
        total += sum(admitted(quota, 1000, now=tenth / 10) for quota in gateways)
    assert total == pytest.approx(100 + 100 * 2, abs=4)
    assert sum(sum(quota.admit(9.0) is None for _ in range(10)) for quota in gateways) == 8  # 6/4, rounded up


@pytest.mark.parametrize("seed", range(5))
def test_never_more_than_the_rate_and_one_burst(seed):
    print("seed", seed)
    random, quota, now, times = Random(seed), TenantQuota(requests_per_s=50), 10.0, []
    for _ in range(3000):
        now += random.expovariate(400)
        if quota.admit(now) is None:
            times.append(now)
            quota.ended(now)
    for first in range(0, len(times), 7):
        for last in range(first, len(times), 13):
            assert last - first + 1 <= 50 * (times[last] - times[first]) + 50 + 1e-6


def test_a_clock_set_back_neither_locks_out_nor_floods():
    quota = TenantQuota(requests_per_s=10)
    assert admitted(quota, 99, now=1000.0) == 10
    assert admitted(quota, 99, now=1.0) == 0  # set back: nothing is earned
    assert admitted(quota, 99, now=1.5) == 5  # and time goes on from there
    assert admitted(quota, 99, now=1.4) == 0
    assert admitted(quota, 99, now=1.5) == 0  # a small step back is made good first
    assert admitted(quota, 99, now=1.7) == 2
    assert admitted(quota, 99, now=9e9) == 10  # set forward: one burst


def test_more_ended_than_came_is_no_credit():
    quota = TenantQuota(concurrent=1)
    quota.ended(0.0)
    assert [quota.admit(0.0) is None for _ in range(2)] == [True, False]


# --- leased -----------------------------------------------------------------------------------------------------------


class Store:
    """What Redis does, in virtual time."""

    def __init__(self, rate, burst):
        self.bucket = TokenBucket(rate, burst)

    def lease(self, bucket, now):
        want = bucket.ask(now)
        self.bucket.update(bucket.rate, bucket.store_burst)
        left = self.bucket.fill(now)
        give = max(0.0, min(want, left))
        self.bucket.balance = min(self.bucket.burst, left - want if want < 0 else left - give)
        bucket.granted(give)


def leased(rate=100.0, burst=100.0, share=0.25):
    woken = []
    bucket = LeasedBucket(rate, burst, share, woken.append)
    return bucket, woken


def test_one_request_may_come_before_the_first_lease_and_is_paid_for_by_it():
    bucket, _ = leased()
    assert bucket.take(0.0)
    assert not bucket.take(0.0)
    store = Store(100, 100)
    store.lease(bucket, 0.0)
    assert bucket.balance == pytest.approx(100 / 4 / 8)  # an eighth of the burst, over four gateways
    assert store.bucket.balance + bucket.balance + 1 == pytest.approx(bucket.store_burst)


def test_little_left_wakes_the_host_once():
    bucket, woken = leased()
    store = Store(100, 100)
    store.lease(bucket, 0.0)
    while bucket.take(0.001):
        pass
    assert woken == [bucket]
    store.lease(bucket, 0.002)
    assert bucket.balance >= 3


def test_idle_gateways_give_back_what_they_leased_for_a_rush():
    bucket, _ = leased()
    store = Store(100, 100)
    for tick in range(100):
        store.lease(bucket, tick / 100)
        bucket.take(tick / 100)
    rushing = bucket.balance
    for second in range(2, 9):
        store.lease(bucket, float(second))
    assert bucket.balance == pytest.approx(100 / 4 / 8)
    assert bucket.balance < rushing


@pytest.mark.parametrize("spread", [[1, 0, 0, 0], [1, 1, 1, 1], [8, 4, 2, 1]])
def test_four_gateways_keep_the_sum_and_one_that_gets_all_has_nearly_all(spread):
    rate, random = 200.0, Random(7)
    store = Store(rate, rate)
    buckets = [leased(rate, rate)[0] for _ in range(4)]
    for tick in range(10):  # idle for a while: stocks are filled
        for bucket in buckets:
            store.lease(bucket, tick / 10)
    got = 0
    for tick in range(2000):  # 2 s, 1000 a second offered, a lease each 20 ms
        now = 1.0 + tick / 1000
        for bucket in random.choices(buckets, spread):
            got += bucket.take(now)
        if tick % 20 == 0:
            for bucket in buckets:
                store.lease(bucket, now)
    assert got <= rate * 2 + rate
    assert got >= 0.9 * (rate * 2 + rate)


def test_while_the_store_is_away_each_keeps_to_its_share():
    bucket, _ = leased()
    Store(100, 100).lease(bucket, 0.0)
    while bucket.take(0.0):
        pass
    bucket.lost(1.0)
    assert not bucket.take(1.0)  # no burst for the loss of the store
    assert sum(bucket.take(1.0 + tick / 100) for tick in range(200)) == pytest.approx(50, abs=1)  # 25 a second
    bucket.lost(3.0)  # still away: nothing changes
    assert sum(bucket.take(3.0 + tick / 100) for tick in range(100)) == pytest.approx(25, abs=1)
    Store(100, 100).lease(bucket, 4.0)
    assert bucket.leased
    assert bucket.balance >= 3


def test_a_quota_moves_between_shared_and_leased_without_a_new_burst():
    woken = []
    quota = TenantQuota(requests_per_s=100, share=1 / 4)
    assert admitted(quota, 99, now=0.0) == 25
    quota.update(requests_per_s=100, share=1 / 4, wake=woken.append)
    assert quota.admit(0.0) is not None
    quota.update(requests_per_s=100, share=1 / 4)
    assert quota.admit(0.0) is not None
    assert admitted(quota, 99, now=1.0) == 25


def test_another_store_is_woken_from_the_reload_on():
    first, second = [], []
    quota = TenantQuota(requests_per_s=100, wake=first.append)
    assert quota.admit(0.0) is None
    quota.update(requests_per_s=100, share=1 / 2, wake=second.append)
    quota.admit(0.0)
    assert (len(first), len(second)) == (1, 1)


def test_leased_tokens_may_be_in_debt_and_the_lease_pays_it():
    woken = []
    quota = TenantQuota(tokens_per_minute=6000, share=1 / 2, wake=woken.append)
    store = Store(100, 6000)
    store.lease(quota.tokens, 0.0)
    assert quota.admit(0.0) is None
    quota.ended(0.0, tokens=1000)
    assert quota.tokens.balance < 0
    assert quota.admit(0.0).reason == "over the quota of 6000 tokens a minute"
    assert woken
    store.lease(quota.tokens, 0.02)
    assert quota.admit(0.03) is None
