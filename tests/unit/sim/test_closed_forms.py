"""The world against queueing theory: mean times in the system, each within the confidence interval of eight seeds."""

from math import exp, sqrt
from statistics import mean, stdev

import numpy as np
import pytest
from tests.unit.sim.scenes import run, service

from plimsoll.core.scaling import Bounds
from plimsoll.insight.profile import Profile

SEEDS = range(8)
T_995 = 3.499  # Student's t with 7 degrees of freedom
REQUESTS = 16_000


def mm_c(rate, service_s, servers):
    """Erlang C: B(0) = 1, B(k) = a·B(k-1) / (k + a·B(k-1)), C = B / (1 - rho·(1 - B))."""
    offered, lost = rate * service_s, 1.0
    for busy in range(1, servers + 1):
        lost = offered * lost / (busy + offered * lost)
    waits = lost / (1 - offered / servers * (1 - lost))
    return waits * service_s / (servers - offered) + service_s


def poisson(mean_, most):
    terms = [exp(-mean_)]
    for count in range(1, most):
        terms.append(terms[-1] * mean_ / count)
    return np.array(terms)


def md_c(rate, service_s, servers, most=400):
    """Crommelin's chain: who is in the system one service time from now are those that wait now and those that come
    until then. Its stationary mean, through Little's law."""
    come = poisson(rate * service_s, most)
    inside = np.zeros(most)
    inside[0] = 1.0
    for _ in range(4000):
        left = np.concatenate(([inside[: servers + 1].sum()], inside[servers + 1 :]))
        inside = np.convolve(left, come)[:most]
    return float(inside @ np.arange(most) / inside.sum()) / rate


def batches(rate, a, c, most=120):
    """All who came during a batch are the next one; if nobody came, the next who comes is alone. t(b) = a + c·b,
    constant. Of the chain of batch sizes: who comes during a batch of b waits half of it on average, then computes with
    his own, so times in the system are a mean over batches weighted by their size."""
    sizes = np.zeros(most)
    sizes[1] = 1.0
    following = [poisson(rate * (a + c * size), most) for size in range(most)]
    for _ in range(400):
        nexts = sum(share * following[size] for size, share in enumerate(sizes) if share)
        nexts[1] += nexts[0]
        nexts[0] = 0.0
        sizes = nexts / nexts.sum()
    total = waited = 0.0
    for size, share in enumerate(sizes):
        if share:
            took = a + c * size
            waited += share * rate * took * took / 2  # those who come during it
            total += share * size
            waited += share * size * took  # its own time
    return waited / total


def simulated(rate, profile, *, workers=1, **more):
    """Mean seconds in the system, and half the width of its confidence interval."""
    means = []
    for seed in SEEDS:
        one = service(rate, REQUESTS / rate, seed=seed, count=1, profile=profile, bounds=Bounds(1, 1, timeout_s=1e6),
                      workers=workers, network_s=0.0, **more)  # fmt: skip
        found = run(one, seed=seed)
        assert found.outcomes == {"ok": found.offered}
        means.append(found.sum_latency_s / found.offered)
    return mean(means), T_995 * stdev(means) / sqrt(len(means))


def agree(found, expected):
    seconds, within = found
    print(f"simulated {seconds * 1e3:.3f} ms +- {within * 1e3:.3f}, closed form {expected * 1e3:.3f} ms")
    assert abs(seconds - expected) <= within
    assert within < 0.08 * expected  # else it would say nothing


ONE_BY_ONE = Profile(a_s=0.0, c_s=0.01, spread=0.0)


@pytest.mark.parametrize(("servers", "load"), [(1, 0.7), (4, 0.8), (10, 0.8)])
def test_m_m_c(servers, load):
    rate = load * servers / 0.01
    found = simulated(rate, ONE_BY_ONE, workers=servers, max_batch_one=True, draw="exponential")
    agree(found, mm_c(rate, 0.01, servers))


@pytest.mark.parametrize(("servers", "load"), [(1, 0.8), (4, 0.9)])
def test_m_d_c(servers, load):
    rate = load * servers / 0.01
    agree(simulated(rate, ONE_BY_ONE, workers=servers, max_batch_one=True), md_c(rate, 0.01, servers))


def test_m_d_1_by_pollaczek_and_khinchine():
    assert md_c(80.0, 0.01, 1) == pytest.approx(0.01 + 0.8 * 0.01 / (2 * (1 - 0.8)), rel=1e-3)


@pytest.mark.parametrize("rate", [50.0, 300.0, 420.0])
def test_batches_take_all_who_wait(rate):
    agree(simulated(rate, Profile(a_s=0.004, c_s=0.0015, spread=0.0)), batches(rate, 0.004, 0.0015))


def test_batches_of_any_size_in_one_time():
    """c = 0: who finds the model busy waits half a time on average; of a cycle of one batch lambda·a do, and
    exp(-lambda·a) find it idle."""
    rate, a = 2000.0, 0.005
    busy, idle = rate * a, exp(-rate * a)
    expected = a + busy * a / 2 / (busy + idle)
    assert batches(rate, a, 0.0) == pytest.approx(expected, rel=1e-6)
    agree(simulated(rate, Profile(a_s=a, c_s=0.0, spread=0.0)), expected)
