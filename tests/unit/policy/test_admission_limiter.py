"""The limit finds where a server begins to queue. The server: ten at once, 20 ms each, the others wait their turn."""

from random import Random

import pytest

from plimsoll.policy.admission import ConcurrencyLimit, LimitSettings

AT_ONCE, TAKES_S = 10, 0.02


def flooded(limit, rounds, *, takes_s=TAKES_S, now=0.0):
    """Clients that always use the whole limit."""
    for _ in range(rounds):
        in_flight = limit.limit
        rtt_s = takes_s * max(1.0, in_flight / AT_ONCE)
        for _ in range(in_flight):
            limit.observe(rtt_s, in_flight, True, now)
        now += rtt_s
    return now


def test_it_grows_from_little_to_what_the_server_takes_and_stays():
    limit = ConcurrencyLimit(LimitSettings(initial=4))
    flooded(limit, 200)
    assert AT_ONCE <= limit.limit <= 8 * AT_ONCE
    assert limit.admits(limit.limit - 1)
    assert not limit.admits(limit.limit)


def test_a_server_that_turns_slow_gets_less():
    limit = ConcurrencyLimit(LimitSettings(initial=4))
    now = flooded(limit, 100)
    before = limit.limit
    flooded(limit, 3, takes_s=10 * TAKES_S, now=now)
    assert limit.limit < 0.75 * before


def test_failures_together_count_once_a_round_trip():
    limit = ConcurrencyLimit(LimitSettings(initial=100))
    for _ in range(50):
        limit.observe(0.02, 100, False, 1.0)
    assert limit.limit == 90
    limit.observe(0.02, 100, False, 2.0)
    assert limit.limit == 81


def test_never_below_the_least():
    limit = ConcurrencyLimit(LimitSettings(initial=8, least=4))
    for second in range(100):
        limit.observe(1.0, 8, False, float(second))
    assert limit.limit == 4


def test_an_idle_server_teaches_nothing():
    limit = ConcurrencyLimit(LimitSettings(initial=50))
    for second in range(1000):
        limit.observe(0.02, 1, True, float(second))
    assert limit.limit == 50


@pytest.mark.parametrize("bad", [-1.0, float("nan"), float("inf")])
def test_nonsense_is_ignored(bad):
    limit = ConcurrencyLimit()
    limit.observe(bad, 1000, True, 0.0)
    assert limit.limit == LimitSettings().initial


@pytest.mark.parametrize("seed", [1, 2, 3])
@pytest.mark.parametrize(
    "draw", [lambda r: r.uniform(0.2, 2.0), lambda r: r.expovariate(20.0), lambda r: r.choice([0.01, 0.03])]
)
def test_times_that_vary_by_nature_are_no_queue(draw, seed):
    """As of a language model: answers of 0.2 to 2 s, whatever else is in flight. Eight clients must not be refused."""
    random, limit = Random(seed), ConcurrencyLimit()
    smallest = limit.limit
    for turn in range(20_000):
        limit.observe(draw(random), min(64, limit.limit), True, turn * 0.1)
        smallest = min(smallest, limit.limit)
    assert smallest >= 20, f"seed {seed}"


def test_a_fast_servers_ripple_is_no_queue():
    """Half a millisecond, three times that when a neighbour is busy: 32 callers must not be refused."""
    random, limit = Random(1), ConcurrencyLimit()
    for turn in range(500):
        busy = random.choice([1, 1, 3])
        for _ in range(32):
            limit.observe(0.0005 * busy, 32, True, turn * 0.001)
        assert limit.limit >= 128
