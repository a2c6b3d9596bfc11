"""What is fitted to timed batches, on batches whose line is known; and that a bad line is called one."""

from math import exp

import numpy as np
import pytest

from plimsoll.insight.profile import LogNormal, Profile
from plimsoll.insight.profiling import (
    MISFIT,
    Answer,
    Loaded,
    Phase,
    beside,
    capacity,
    fit,
    line,
    quantile,
    under_load,
    waking,
)

SEED = 20240607
SIZES = (1, 2, 4, 8, 16, 32, 64)


def phase(size, seconds, *, callers=1, beside_s=0.0, overhead_s=0.0, cpu=None):
    """Batches of one size, one after the other; `beside_s`: CPU time of a batch that is not the model's."""
    busy = [one + beside_s for one in seconds]
    cpu_s = sum(busy) if cpu is None else cpu * sum(busy)
    return Phase(callers, sum(busy), cpu_s, [(size, one) for one in seconds], [one + overhead_s for one in busy] * size)


def phases(seconds_of, *, spread=0.0, count=40, **more):
    random = np.random.default_rng(SEED)
    return [
        phase(size, list(seconds_of(size) * np.maximum(1 + spread * random.standard_normal(count), 0.05)), callers=size,
              **{key: value(size) if callable(value) else value for key, value in more.items()})
        for size in SIZES
    ]  # fmt: skip


@pytest.mark.parametrize(("a_s", "c_s"), [(4e-3, 1.5e-3), (0.0, 2e-3), (5e-3, 0.0), (3e-5, 2e-6), (2.0, 0.4)])
def test_a_line_is_found_again(a_s, c_s):
    found = fit(phases(lambda size: a_s + c_s * size, cpu=0.1))
    assert found.model_a_s == pytest.approx(a_s, rel=1e-6, abs=1e-12)
    assert found.model_c_s == pytest.approx(c_s, rel=1e-6, abs=1e-12)
    assert (found.a_s, found.c_s) == (pytest.approx(a_s, abs=1e-12), pytest.approx(c_s, abs=1e-12))
    assert found.spread == pytest.approx(0.0, abs=1e-9)
    assert found.cpu == pytest.approx(0.1, rel=1e-6)
    assert not found.misfit
    assert found.fits_up_to == SIZES[-1]
    assert found.lognormal is None


@pytest.mark.parametrize("spread", [0.05, 0.2])
def test_noise_shows_as_spread_and_moves_the_line_little(spread):
    found = fit(phases(lambda size: 4e-3 + 1.5e-3 * size, spread=spread, count=100, cpu=0.5))
    assert found.spread == pytest.approx(spread, rel=0.25)  # the slowest 2% are left out
    for size in SIZES:
        assert found.a_s + found.c_s * size == pytest.approx(4e-3 + 1.5e-3 * size, rel=3 * spread / 10 + 0.03)
    assert not found.misfit


def test_one_stall_in_fifty_is_not_the_model():
    slow = phases(lambda size: 4e-3 + 1.5e-3 * size, count=100, cpu=0.5)
    stalled = [
        Phase(one.callers, one.wall_s, one.cpu_s, [(one.batches[0][0], 5.0), *one.batches[1:]], one.latencies_s)
        for one in slow
    ]
    found = fit(stalled)
    assert found.model_a_s == pytest.approx(4e-3, rel=1e-6)
    assert found.model_c_s == pytest.approx(1.5e-3, rel=1e-6)


def test_a_small_model_is_as_slow_as_its_requests():
    """30 us of a core for each request: a replica does no more than 33,000 a second, whatever the model takes."""
    found = fit(phases(lambda size: 3e-5 + 2e-6 * size, beside_s=lambda size: 1e-4 + 3e-5 * size))
    assert found.model_c_s == pytest.approx(2e-6, rel=1e-3)
    assert found.c_s == pytest.approx(3.2e-5, rel=1e-3)
    assert found.a_s == pytest.approx(1.3e-4, rel=1e-3)


def test_two_cores_halve_what_requests_take():
    found = fit(phases(lambda size: 1e-5, beside_s=lambda size: 6e-5 * size), cores=2.0)
    assert found.c_s == pytest.approx(3e-5, rel=0.02)


def test_sizes_that_hardly_differ_give_no_slope():
    """What comes on top of the model is then each request's own, however the machine's mood slopes."""
    near = [phase(1, [0.002] * 50, beside_s=0.0001), phase(1, [0.002] * 50, beside_s=0.0004, callers=2)]
    found = fit(near)
    assert found.a_s == found.model_a_s
    assert found.c_s == pytest.approx(found.model_c_s + 0.00025)


def test_what_a_lone_request_takes_beside_its_batch():
    found = fit(phases(lambda size: 4e-3 + 1e-3 * size, overhead_s=7e-4, cpu=0.2))
    assert found.overhead_s == pytest.approx(7e-4, rel=1e-3)


def test_a_step_is_no_line():
    """Up to 8 a batch takes 2 ms, beyond 40 ms: a cache that no longer holds it, say."""
    found = fit(phases(lambda size: 2e-3 if size <= 8 else 40e-3, spread=0.02, cpu=0.2))
    assert found.misfit
    assert found.worst is not None
    assert abs(found.worst.error) > MISFIT
    assert found.fits_up_to < 16
    square = fit(phases(lambda size: 1e-4 * size * size, cpu=0.2))
    assert square.misfit


def test_few_noisy_batches_are_no_misfit():
    """Six batches that scatter by 60% say nothing against a line that is 30% off them."""
    good = phases(lambda size: 4e-3 + 1.5e-3 * size, cpu=0.2)
    few = phase(64, [0.05, 0.2, 0.06, 0.22, 0.05, 0.19], callers=64, cpu=0.2)
    assert not fit([*good[:-1], few]).misfit
    many = phase(64, [0.05, 0.2, 0.06, 0.22, 0.05, 0.19] * 100, callers=64, cpu=0.2)
    assert fit([*good[:-1], many]).spread > 0.3


def test_one_size_alone_and_a_long_tail():
    random = np.random.default_rng(SEED)
    times = [0.05 * exp(0.8 * one) for one in random.standard_normal(400)]
    found = fit([Phase(1, sum(times), 0.1, [(1, one) for one in times], times)])
    assert found.a_s == 0.0  # what one size can't tell
    assert found.lognormal is not None
    assert found.lognormal.shape == pytest.approx(0.8, rel=0.1)
    assert found.lognormal.scale_s == pytest.approx(0.05, rel=0.1)
    assert fit([Phase(1, 4.0, 0.1, [(1, 0.01)] * 400, [0.01] * 400)]).lognormal is None


def test_nothing_timed_is_an_error():
    with pytest.raises(ValueError, match="no batch"):
        fit([])
    with pytest.raises(ValueError, match="no batch"):
        fit([Phase(1, 1.0, 0.0, [], [])])
    assert fit([Phase(1, 1.0, 0.0, [], []), phase(2, [0.01] * 9)]).c_s == pytest.approx(0.005)


def test_a_line_is_never_below_zero():
    a, c = line([(1, 5.0, 1), (2, 4.0, 1), (4, 3.0, 1)])
    assert c == 0.0
    assert 3.0 <= a <= 5.0
    a, c = line([(1, 0.1, 1), (2, 1.0, 1), (4, 3.0, 1)])
    assert a == 0.0
    assert c > 0
    assert line([]) == (0.0, 0.0)


def test_what_a_gateway_adds_to_lone_requests():
    profile = Profile(4e-3, 1e-3, spread=0.1, overhead_s=1e-3)
    random = np.random.default_rng(SEED)
    through = 2e-3 * np.exp(0.3 * random.standard_normal(20_000))  # its median 2 ms, its 90th percentile 2.94 ms
    seen = 5e-3 * (1 + 0.1 * random.standard_normal(20_000)) + 1e-3 + through
    gateway_s, p90_s, p99_s = beside(profile, list(seen))
    assert gateway_s == pytest.approx(2.07e-3, rel=0.05)  # medians add up but roughly
    assert p90_s == pytest.approx(3.94e-3, rel=0.05)
    assert p99_s == pytest.approx(1e-3 + 2e-3 * exp(0.3 * 2.326), rel=0.05)


def test_what_only_shows_under_load():
    """Batches that take 1.2 ms where the model alone takes 1, and what is beside them has a tail."""
    alone = fit([phase(1, [0.001] * 400, beside_s=0.0003)])
    profile = Profile(alone.a_s, alone.c_s, spread=0.01, overhead_s=1e-4, gateway_s=1e-4, wake_s=3e-4)
    random = np.random.default_rng(SEED)
    took = 1.2e-3 * np.exp(0.3 * random.standard_normal(5000) - 0.045)
    around = 5e-4 * np.exp(0.2 * random.standard_normal(5000))
    answers = [Answer(0.002 + one + handling, 0.002, one) for one, handling in zip(took, around + 4e-4, strict=True)]
    found = under_load(profile, alone, Loaded(answers, [(1, one) for one in took]))
    assert found.a_s + found.c_s == pytest.approx(1.5e-3, rel=0.03)  # the 0.3 ms of handling are still there
    assert found.wake_s == pytest.approx(1e-4, abs=5e-5)  # what a rest costs beyond that
    assert found.spread == pytest.approx(0.31, abs=0.02)
    beside_s = 9e-4 - 3e-4 - found.wake_s  # what counts as its batch beyond the model's clock is not beside it
    assert found.overhead_s + found.gateway_s == pytest.approx(beside_s, rel=0.03)
    assert found.beside_p90_s == pytest.approx(beside_s + 5e-4 * (exp(0.2 * 1.2816) - 1), rel=0.03)
    assert found.beside_p99_s == pytest.approx(beside_s + 5e-4 * (exp(0.2 * 2.3263) - 1), rel=0.05)


def test_under_load_nothing_is_learned_from_few_and_nothing_gets_quicker():
    alone = fit([phase(1, [0.001] * 400)])
    profile = Profile(alone.a_s, alone.c_s, spread=0.2, overhead_s=1e-4, gateway_s=1e-4)
    few = [Answer(0.01, 0.0, 0.001)] * 199
    assert under_load(profile, alone, Loaded(few, [(1, 0.01)] * 199)) == profile
    quick = under_load(profile, alone, Loaded([Answer(0.001, 0.0, 0.0009)] * 300, [(1, 0.0009)] * 300))
    assert (quick.a_s, quick.c_s, quick.spread, quick.wake_s) == (alone.a_s, alone.c_s, 0.2, 0.0)
    assert quick.overhead_s + quick.gateway_s <= quick.beside_p90_s <= quick.beside_p99_s


def test_a_batch_held_up_now_and_then_makes_no_spread():
    """A deviation would be 1.4 of the mean."""
    alone = fit([phase(1, [0.001] * 400)])
    profile = Profile(alone.a_s, alone.c_s, spread=0.0)
    times = [0.02 if n % 100 == 0 else 0.001 for n in range(2000)]
    answers = [Answer(one + 1e-4, 0.0, one) for one in times]
    assert under_load(profile, alone, Loaded(answers, [(1, one) for one in times])).spread == 0.0


def test_what_a_rest_costs():
    alone = phase(1, [0.001] * 300, beside_s=0.0002)
    assert waking(phase(1, [0.0013] * 300, beside_s=0.0005), alone) == pytest.approx(0.0006)
    assert waking(phase(1, [0.0009] * 300, beside_s=0.0001), alone) == 0.0
    # of a few requests the processor's time says nothing: 10 ms more or less
    assert waking(phase(1, [0.0013] * 20, beside_s=0.01), alone) == pytest.approx(0.0003)
    assert waking(Phase(1, 1.0, 0.0, [], []), alone) == 0.0


def test_a_gateway_never_takes_less_than_nothing():
    assert beside(Profile(4e-3, 1e-3, overhead_s=1e-3), [5.5e-3] * 9) == (0.0, 1e-3, 1e-3)
    law = Profile(0.0, 0.15, spread=0.0, max_batch=1, lognormal=LogNormal(0.4, 0.08, 0.07))
    assert beside(law, [0.16] * 9) == pytest.approx((0.01, 0.01, 0.01))


def test_quantiles():
    assert quantile([3.0], 0.9) == 3.0
    assert quantile([4.0, 1.0, 2.0, 3.0], 0.5) == 2.5
    assert quantile([1.0, 2.0, 3.0, 4.0], 1.0) == 4.0
    with pytest.raises(ValueError, match="no values"):
        quantile([], 0.5)


@pytest.mark.parametrize(
    ("p99_s", "batch"),
    [
        (0.1, 30),  # 2·(4 + 1.5·30) ms = 98 ms
        (0.012, 1),  # two of one item are 11 ms
        (0.006, 1),  # only one
        (0.005, 0),  # impossible
        (10.0, 64),
        (None, 64),
    ],
)
def test_what_a_replica_does_inside_the_budget(p99_s, batch):
    profile = Profile(4e-3, 1.5e-3, max_batch=64)
    found, rate = capacity(profile, p99_s)
    assert found == batch
    assert rate == pytest.approx(batch / (4e-3 + 1.5e-3 * batch) if batch else 0.0)
