"""The budget scaler second by second: what the traffic does, what it wants."""

from math import ceil

import pytest
from tests.unit.policy.scaling.budget.timeline import MODEL, ONE, P99_S, Timeline, bounds

from plimsoll.policy.scaling.budget import tail_of


def fewest(rate):
    return ceil(tail_of(MODEL, P99_S, None, burst=1.0, allowed=0.01).needed(rate))


@pytest.mark.parametrize("rate", [0, 1, 100, 500, 700, 3000, 20_000])
def test_a_steady_load_gets_what_it_needs_and_stays(rate):
    world = Timeline(start=1)
    counts = world.run(600, rate)
    assert max(fewest(rate), 1) <= counts[-1] <= 1.1 * fewest(rate) + 1
    assert len(set(counts[120:])) == 1
    assert world.missed <= 10 * rate, "the cold start's seconds, and no more"


@pytest.mark.parametrize("rate", [300, 2000, 9000])
def test_steady_poisson_load(rate):
    world = Timeline(start=fewest(rate), seed=5)
    counts = world.run(900, rate)
    assert min(counts[60:]) >= fewest(rate) - 1
    assert max(counts[120:]) <= 1.15 * fewest(rate) + 1
    assert world.missed < 0.01 * world.offered


def test_more_come_before_a_ramp_needs_them():
    world = Timeline(start=2)
    world.run(300, 600)
    world.missed = world.offered = 0
    counts = world.run(240, lambda s: 600 + 20 * s)
    assert world.missed < 0.01 * world.offered
    assert counts[-1] >= fewest(600 + 20 * 240)
    assert counts[-1] <= fewest(600 + 20 * (240 + 60))


def test_a_falling_load_is_followed_down_without_a_miss():
    world = Timeline(start=fewest(6000))
    world.run(300, 6000)
    world.missed = 0
    counts = world.run(600, lambda s: max(6000 - 15 * s, 600))
    assert world.missed < 60
    assert fewest(600) <= counts[-1] <= fewest(600) + 1
    assert world.paid_s < 1.3 * (300 * 6000 + 360 * 3300 + 240 * 600) / ONE + 900


def test_a_flash_crowd_is_met_at_once():
    world = Timeline(start=2)
    world.run(300, 600)
    world.missed = world.offered = 0
    counts = world.run(300, lambda s: 600 if s < 10 else min(600 + 80 * (s - 10), 3000))
    assert counts[15] > 2, "five seconds into it"
    assert fewest(3000) <= counts[-1] <= 1.2 * fewest(3000) + 1
    assert world.missed < 0.1 * world.offered


@pytest.mark.parametrize("times", [10, 1000, 1e6])
@pytest.mark.parametrize("most", [20, 1000])
def test_a_spike_of_one_second_is_over_when_it_is_over(times, most):
    world = Timeline(bounds(1, most), start=3)
    world.run(300, 1000)
    top = world.run(1, 1000 * times)[0]
    assert top > fewest(1000)
    counts = world.run(1200, 1000)
    assert min(counts[:3]) > fewest(1000)
    assert min(counts[60:]) >= fewest(1000), "what was learned in the spike starves nobody"
    assert counts[-1] <= fewest(1000) + 1


def test_zero_rates_and_gaps_in_the_traffic():
    world = Timeline(start=4)
    world.run(300, 2000)
    counts = world.run(600, 0)
    assert counts[-1] == 1, "the fewest that are allowed"
    counts = world.run(300, lambda s: 2000 if s % 60 < 30 else 0)
    assert max(counts[120:]) >= fewest(2000) - 1
    assert world.run(300, 2000)[-1] >= fewest(2000)


def test_what_arrives_is_needed_at_least():
    """A load that has lasted is served whatever the forecast says."""
    world = Timeline(start=3)
    world.run(120, 1500)

    class Nothing:
        quantiles = world.forecast.quantiles
        level = 0.0

        def rates(self, ahead_s):
            return [0.0] * len(self.quantiles)

        def observe(self, now, arrived, over_s):
            pass

    world.forecast = Nothing()
    assert min(world.run(300, 1500)) >= fewest(1500)


def test_the_users_window_for_going_down():
    quick, slow = Timeline(start=6), Timeline(bounds(down_window_s=300.0), start=6)
    for world in (quick, slow):
        world.run(300, 3000)
    high = slow.wanted
    assert quick.run(250, 300)[-1] < high
    assert set(slow.run(290, 300)) == {high}
    assert slow.run(120, 300)[-1] < high


@pytest.mark.parametrize("step_s", [0.5, 1.0, 5.0, 15.0])
def test_hosts_may_look_as_often_as_they_like(step_s):
    world = Timeline(start=1, cold_s=8.0)
    counts = world.run(900, 2500, step_s=step_s)
    assert fewest(2500) <= counts[-1] <= fewest(2500) + 1


def test_the_same_looks_give_the_same_decisions():
    def told():
        world = Timeline(start=2, seed=11)
        world.run(400, lambda s: 900 + 800 * (s // 60 % 3))
        return [(one.replicas, one.reason, dict(one.evidence)) for one in world.decisions]

    assert told() == told()


def test_who_was_looked_at_seldom_begins_anew_when_somebody_asks():
    """While nobody asks a look comes each five seconds: a lead of 10 s is two of those, ten of the seconds after."""
    world = Timeline(cold_s=10.0)
    world.run(300, 0.0, step_s=5.0)
    assert world.policy._backtest.lead_steps == 2
    world.run(30, 400.0)
    assert world.policy._backtest.lead_steps == 10


def test_one_look_that_comes_late_looks_no_further_ahead():
    world, asked = Timeline(cold_s=8.0), []
    world.run(60, 400.0)
    rates = world.forecast.rates
    world.forecast.rates = lambda ahead_s: asked.append(ahead_s) or rates(ahead_s)
    for step_s in (1.0, 6.0, 1.0):
        world.run(step_s, 400.0, step_s=step_s)
    assert asked == [9.0, 9.0, 9.0]
