from random import Random

import pytest

from plimsoll.core.service_time import ServiceTime
from plimsoll.insight.service_time import ServiceTimeModel

HEAVY = ServiceTime(a_s=0.00095, c_s=0.00012)
DOUBLING = (1, 2, 4, 8, 16, 32, 64)


def taught(*batches: tuple[int, float], prior: ServiceTime | None = None) -> ServiceTimeModel:
    model = ServiceTimeModel(prior)
    for size, seconds in batches:
        model.observe(size, seconds)
    return model


def test_knows_nothing_before_the_first_batch():
    assert ServiceTimeModel().estimate == ServiceTime(0.0, 0.0, 0.0, 0)
    assert ServiceTimeModel(HEAVY).estimate.samples == 0
    assert ServiceTimeModel(HEAVY).estimate.predict(8) == HEAVY.predict(8)


def test_a_warm_up_of_doubling_sizes_gives_the_line():
    estimate = taught(*[(b, HEAVY.predict(b)) for b in DOUBLING]).estimate
    assert estimate.a_s == pytest.approx(HEAVY.a_s, rel=1e-6)
    assert estimate.c_s == pytest.approx(HEAVY.c_s, rel=1e-6)
    assert estimate.samples == len(DOUBLING)


def test_a_warm_up_stands_a_cold_first_call():
    batches = [(b, HEAVY.predict(b)) for b in DOUBLING]
    estimate = taught((1, 0.4), *batches).estimate
    assert estimate.predict(1) == pytest.approx(HEAVY.predict(1), rel=0.1)
    assert estimate.predict(64) == pytest.approx(HEAVY.predict(64), rel=0.1)


def test_one_batch_is_enough_to_predict_its_own_size():
    assert taught((4, 0.010)).estimate.predict(4) == pytest.approx(0.010)


def test_the_estimate_is_one_object_until_the_next_batch():
    model = taught((1, 0.001), (2, 0.002))
    before = model.estimate
    assert model.estimate is before
    model.observe(1, 0.001)
    assert model.estimate is not before


@pytest.mark.parametrize("seed", range(5))
def test_learns_with_noise_and_stalls(seed):
    print(f"seed {seed}")
    random = Random(seed)
    model = ServiceTimeModel()
    for _ in range(2000):
        size = random.randint(1, 64)
        stall = random.expovariate(1 / 0.01) if random.random() < 0.05 else 0.0
        model.observe(size, HEAVY.predict(size) * random.gauss(1, 0.05) + stall)
    estimate = model.estimate
    for size in (1, 16, 64):
        assert estimate.predict(size) == pytest.approx(HEAVY.predict(size), rel=0.15), size
    assert estimate.sd_s < 0.002  # the stalls alone have a deviation of 3.1 ms


@pytest.mark.parametrize("size", [1, 8, 64])
def test_a_constant_size_keeps_the_ratio_that_the_warm_up_taught(size):
    random = Random(1)
    model = taught(*[(b, HEAVY.predict(b)) for b in DOUBLING])
    for _ in range(5000):
        model.observe(size, HEAVY.predict(size) * random.gauss(1, 0.05))
    for other in (1, 8, 64):
        assert model.estimate.predict(other) == pytest.approx(HEAVY.predict(other), rel=0.1), other


def test_a_constant_size_that_slows_down_scales_the_whole_line():
    model = taught(*[(b, HEAVY.predict(b)) for b in DOUBLING])
    for _ in range(3000):
        model.observe(8, 3 * HEAVY.predict(8))
    assert model.estimate.predict(64) == pytest.approx(3 * HEAVY.predict(64), rel=0.1)


@pytest.mark.parametrize("factor", [0.2, 0.7, 1.5, 5.0])
def test_a_new_regime_is_learned_within_tens_of_batches(factor):
    random = Random(7)
    model = ServiceTimeModel()
    for _ in range(2000):
        size = random.randint(1, 64)
        model.observe(size, HEAVY.predict(size) * random.gauss(1, 0.03))
    for _ in range(60):
        size = random.randint(1, 64)
        model.observe(size, factor * HEAVY.predict(size) * random.gauss(1, 0.03))
    assert model.estimate.predict(32) == pytest.approx(factor * HEAVY.predict(32), rel=0.2)


def test_a_prior_gives_the_ratio_until_sizes_differ():
    estimate = taught(*[(8, 2 * HEAVY.predict(8))] * 3, prior=HEAVY).estimate
    assert estimate.predict(64) == pytest.approx(2 * HEAVY.predict(64))


def test_coefficients_never_go_negative():
    falling = taught(*[(b, 0.01 / b) for b in DOUBLING * 4]).estimate
    assert falling.a_s >= 0
    assert falling.c_s >= 0
    steep = taught(*[(b, 0.001 * b * b) for b in DOUBLING * 4]).estimate
    assert steep.a_s >= 0
    assert steep.c_s > 0


def test_batches_that_take_no_time_and_nonsense_do_no_harm():
    model = taught(*[(b, 0.0) for b in DOUBLING * 5])
    assert model.estimate.predict(64) == 0.0
    samples = model.estimate.samples
    for size, seconds in ((0, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))):
        model.observe(size, seconds)
    assert model.estimate.samples == samples


def test_a_model_that_took_no_time_is_learned_anew():
    model = taught(*[(1, 0.0)] * 50)
    for _ in range(100):
        model.observe(1, 0.01)
    assert model.estimate.predict(1) == pytest.approx(0.01, rel=0.2)


def test_one_stall_in_ten_is_no_new_regime():
    random = Random(4)
    model = ServiceTimeModel()
    for _ in range(3000):
        stall = 0.02 if random.random() < 0.1 else 0.0
        model.observe(8, 0.004 * random.gauss(1, 0.03) + stall)
        if model.estimate.samples > 20:
            assert model.estimate.predict(8) < 0.006
