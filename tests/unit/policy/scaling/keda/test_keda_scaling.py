"""KEDA as a policy, in timelines."""

from tests.unit.policy.scaling.world import World

from plimsoll.core.scaling import Bounds
from plimsoll.policy.scaling.keda.adapter import KedaScaling, parse_settings


def keda(text="", least=0, most=20, **bounds):
    return KedaScaling(Bounds(least, most, **bounds), parse_settings(text))


def test_the_queue_is_divided_by_the_target():
    world = World(keda("queue=8", least=1))
    counts = world.run(40, queue=41)
    assert counts[:15] == [1] * 15  # the HPA's first sync
    assert counts[-1] == 6
    assert (
        world.decision.reason == "4 → 6: 41 waiting or computing, target 8 a replica"
    )  # 4: as far as it may go at once


def test_requests_a_second_are_a_mean_over_a_minute():
    world = World(keda("rps=400", least=1))
    assert world.run(200, rate=1500)[-1] == 4
    assert "1500/s over 60 s, target 400 a replica" in world.decision.reason


def test_wakes_at_its_next_look_only():
    world = World(keda("queue=8"), start=0)
    world.run(31)
    assert world.wanted == 0
    counts = world.run(90, queue=30)
    assert counts.index(1) == 29  # looks at 1, 31, 61
    assert 4 in counts  # the HPA's next sync


def test_sleeps_after_the_cooldown():
    world = World(keda("queue=8,down=60"), start=1)
    world.run(61, queue=5)
    counts = world.run(500)
    # Active last at 61; the first look more than 300 s later is at 391.
    assert counts.index(0) == 391 - 62
    assert counts[100] == 1


def test_activity_is_strictly_above_its_threshold():
    world = World(keda("queue=8,activation=5"), start=0)
    world.run(100, queue=5)
    assert world.wanted == 0
    world.run(140, queue=6)
    assert world.wanted == 1


def test_a_minimum_never_sleeps():
    world = World(keda("queue=8", least=2), start=2)
    assert set(world.run(1000)) == {2}


def test_metrics_that_fail_hold():
    world = World(keda("queue=8", least=1), start=1)
    world.run(40, queue=41)
    assert set(world.run(400, metrics=False)) == {6}
    assert world.decision.reason == "6: no metrics, held"


def test_with_a_fallback_they_fall_back_after_more_failures_than_allowed():
    world = World(keda("queue=8,fallback=9,failures=3", least=1), start=1)
    world.run(61, queue=10)
    assert world.wanted == 2
    counts = world.run(300, metrics=False)
    # The HPA looks each 15 s and KEDA each 30 s, each failure counts: at 76, twice at 91, and the fourth at 106.
    assert counts[:44] == [2] * 44
    assert counts[44] == 4  # as far as an HPA goes at once
    assert counts[-1] == 9
    assert "fallback" in world.decision.reason


def test_paused_at_a_count():
    assert World(keda("pause=4"), start=1).run(60, queue=100)[-1] == 4
    assert World(keda("pause=all"), start=3).run(60, queue=100)[-1] == 3


def test_paused_in_one_direction():
    world = World(keda("queue=8,pause=in,down=0"), start=5)
    assert world.run(700)[-1] == 5
    assert world.run(800, queue=80)[-1] == 10
    world = World(keda("queue=8,pause=out"), start=2)
    assert world.run(60, queue=100)[-1] == 2


def test_down_waits_for_the_window_of_the_service():
    for down_s, until in ((None, 300), (120.0, 120)):
        world = World(keda("queue=8", least=1, down_window_s=down_s), start=1)
        world.run(106, queue=80)
        assert world.wanted == 10
        counts = world.run(600, queue=8)
        assert until - 16 <= counts.index(1) <= until + 16
