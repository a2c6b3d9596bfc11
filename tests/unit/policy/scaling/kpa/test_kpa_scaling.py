"""Knative's autoscaler as a policy, in timelines."""

from itertools import pairwise

from tests.unit.policy.scaling.world import World, seen

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.kpa.adapter import KpaScaling, KpaSettings, parse_settings


def test_steady_load_is_divided_by_the_target():
    world = World(KpaScaling(Bounds(1, 50)))
    assert world.run(120, concurrency=350.0)[-1] == 5  # 70 inside each: 70% of 100
    assert world.decision.reason.startswith("5: 350 inside over 60 s")
    world = World(KpaScaling(Bounds(1, 50), KpaSettings(metric="rps", target=400)))
    assert world.run(120, rate=1400.0)[-1] == 5  # 280/s each


def test_a_surge_panics_and_nothing_is_taken_away_for_a_window():
    world = World(KpaScaling(Bounds(1, 50)), start=2)
    world.run(90, concurrency=140.0)
    assert world.wanted == 2
    counts = world.run(100, concurrency=1400.0)
    assert counts[-1] == 20  # the panic window of 6 s is full of it
    assert "panic" in world.decision.reason
    assert world.decision.evidence["panicking"] is True
    # A minute after it was last above twice what the ready ones take, which was when the surge began.
    counts = world.run(175, concurrency=140.0)
    assert counts[:50] == [20] * 50
    assert counts[-1] == 2


def test_down_at_most_by_half_each_tick():
    world = World(KpaScaling(Bounds(1, 50), KpaSettings(window_s=6.0)), start=1)
    world.run(60, concurrency=2240.0)
    assert world.wanted == 32
    counts = world.run(90, concurrency=70.0)
    falls = [(before, count) for before, count in pairwise(counts) if before != count]
    assert len(falls) >= 5
    assert all(count >= before // 2 for before, count in falls)
    assert counts[-1] == 1


def test_starting_with_several_is_a_panic_that_holds_them():
    world = World(KpaScaling(Bounds(1, 50)), start=10)
    assert world.run(60, concurrency=70.0) == [10] * 60
    assert world.run(130, concurrency=70.0)[-1] == 1


def test_to_zero_after_the_window_and_the_grace_and_back_at_once():
    world = World(KpaScaling(Bounds(0, 10)), start=1)
    world.run(70, concurrency=20.0)
    counts = world.run(200)
    # 60 s until the window is empty. By default requests go by way of the activator while there is no capacity for a
    # burst of 211, for longer than the grace by then: no need to wait for it again.
    assert 60 <= counts.index(0) <= 66
    assert world.wanted == 0
    assert world.run(201, concurrency=3.0) == [1]


def test_without_the_activator_in_the_way_the_grace_is_waited_for():
    world = World(KpaScaling(Bounds(0, 10), KpaSettings(burst=0.0)), start=1)
    world.run(70, concurrency=20.0)
    counts = world.run(200)
    assert 90 <= counts.index(0) <= 96
    assert counts[counts.index(0) - 1] == 1


def test_the_last_pod_is_retained():
    world = World(KpaScaling(Bounds(0, 10), parse_settings("retention=5m")), start=1)
    world.run(70, concurrency=20.0)
    counts = world.run(500)
    assert 360 <= counts.index(0) <= 368


def test_a_burst_at_zero_counts_in_full():
    """Nobody reports while there is no pod, so the mean starts over: not 1400 / 60."""
    world = World(KpaScaling(Bounds(0, 50)), start=1)
    world.run(300)
    assert world.wanted == 0
    assert world.run(301, concurrency=1400.0) == [20]


def test_activation_scale_is_the_fewest_above_zero():
    world = World(KpaScaling(Bounds(0, 50), KpaSettings(activation=3)), start=1)
    world.run(300)
    assert world.run(301, concurrency=1.0) == [3]


def test_a_delay_holds_the_largest():
    world = World(KpaScaling(Bounds(1, 50), parse_settings("delay=5m,window=6s,panic-threshold=1000%")), start=1)
    world.run(60, concurrency=700.0)
    assert world.wanted == 10
    counts = world.run(600, concurrency=70.0)
    assert 296 <= counts.index(9 if 9 in counts else 5) <= 310


def test_no_metrics_hold():
    policy = KpaScaling(Bounds(1, 50))
    world = World(policy, start=2)
    world.run(90, concurrency=400.0)
    before = world.wanted
    assert set(world.run(150, metrics=False)) == {before}
    assert world.decision.reason == f"{before}: no metrics, held"


def test_asks_for_more_than_the_most():
    world = World(KpaScaling(Bounds(1, 3)))
    world.run(120, concurrency=700.0)
    assert world.wanted == 3
    assert "wanted, the most is 3" in world.decision.reason or "panic" in world.decision.reason


def test_looks_that_come_seldom_fill_the_seconds_they_cover():
    often, seldom = KpaScaling(Bounds(1, 50)), KpaScaling(Bounds(1, 50))
    for now in range(1, 121):
        last = often.decide(seen(float(now), concurrency=350.0))
        if now % 10 == 0:
            rare = seldom.decide(seen(float(now), concurrency=350.0, over_s=10.0))
    assert rare.replicas == last.replicas == 5
    assert rare.evidence["stable"] == last.evidence["stable"] == 350.0


def test_looks_a_little_off_the_second_count_once():
    policy = KpaScaling(Bounds(1, 50))
    for now in range(1, 200):
        decision = policy.decide(seen(now + 0.3 * (-1) ** now, concurrency=100.0))
        assert decision.evidence["stable"] == 100.0


def test_a_clock_that_jumps_back_does_not_stop_it():
    policy = KpaScaling(Bounds(1, 50))
    for now in range(10_000, 10_100):
        policy.decide(seen(float(now), concurrency=70.0))
    for now in range(100, 300):
        decision = policy.decide(seen(float(now), concurrency=350.0))
    assert decision.replicas == 5
