"""Clients that each wait for their answer before they send again: a = 0.95 ms, c = 0.12 ms, at most 64 a batch.

A policy that sizes batches by the rate it sees can settle on small ones here: small batches, little throughput, a low
rate, small batches. This one must not.

At most the capacity of batches of all clients can be had. With a way of some 0.2 ms between answer and next request
the first request back finds a free model, which never waits: the clients fall into two groups that take turns, and
batches of half the clients is what is left, 83% for 32 clients and 90% for 64.
"""

from random import Random

import pytest
from tests.scenarios.harness import Replica, closed_loop

from plimsoll.core.service_time import ServiceTime
from plimsoll.policy.batching import BatchSettings

HEAVY = ServiceTime(0.00095, 0.00012)
SECONDS = 3.0


def share_of_best(clients, think_s, seed, **more):
    random = Random(seed)
    replica = Replica(random, a_s=HEAVY.a_s, c_s=HEAVY.c_s, settings=BatchSettings(max_size=64), **more)
    report = closed_loop(replica, clients, think_s=lambda: think_s(random), seconds=SECONDS)
    share = report.goodput / HEAVY.capacity(min(clients, 64))
    print(f"\nseed {seed}  {clients:3} clients  {report.line()}  {share:.0%} of the best", end="")
    return share


def at_once(random):
    return 0.0


def a_way(random):
    return random.uniform(0.0001, 0.0003)


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize("clients", [1, 8, 32, 64, 128])
def test_clients_that_send_again_at_once(clients, seed):
    assert share_of_best(clients, at_once, seed) >= 0.97


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(("clients", "least"), [(32, 0.80), (64, 0.87), (128, 0.97)])
def test_clients_with_a_way_to_go(clients, least, seed):
    assert share_of_best(clients, a_way, seed) >= least


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_without_a_warm_up_it_does_not_settle_on_small_batches_either(seed):
    assert share_of_best(64, a_way, seed, seeded=False) >= 0.85


@pytest.mark.parametrize("seed", [1, 2, 3])
def test_nor_with_stalls(seed):
    """5% of the batches wait 2 ms for a lock; that is 2% of the time at batches of 32."""
    assert share_of_best(64, a_way, seed, stall=0.05, stall_s=0.002) >= 0.83
