"""Rolling between revisions, as timelines."""

import random

import pytest
from tests.unit.backends.kubernetes.operator.cluster import LateEyes, Toy, service

from plimsoll.backends.kubernetes.operator.rolling import Create, Delete, Phase, RollSettings, Scale, roll
from plimsoll.backends.kubernetes.operator.seen import Pod, Seen, Workload


def turn(toy, wanted, first=1):
    rolled = roll(toy.seen(), wanted, first=first, now=toy.now)
    toy.carry_out(rolled)
    toy.settle()
    return rolled


def steady(replicas, name="a"):
    toy = Toy()
    turn(toy, name, first=replicas)
    toy.now = 5.0
    assert turn(toy, name).phase is Phase.STEADY
    assert toy.serving == replicas
    toy.told.clear()
    return toy


def run(toy, wanted, until, step=1.0):
    """[serving] at each step."""
    told = []
    while toy.now < until:
        toy.now += step
        turn(toy, wanted)
        told.append(toy.serving)
    return told


def test_the_first_revision_begins_with_its_count_and_is_the_scalers_at_once():
    toy = Toy()
    assert turn(toy, "a", first=2).acts == (Create("a", 2),)
    assert toy.target == "a"
    assert turn(toy, "a", first=2).acts == ()


def test_seven_replicas_never_go_below_seven_ready():
    toy = steady(7)
    serving = run(toy, "b", until=20)
    assert min(serving) >= 7
    assert toy.counts == {"a": 0, "b": 7}
    assert toy.target == "b"
    assert toy.told[0] == Create("b", 7)
    assert all(isinstance(act, Create) or act.workload == "a" for act in toy.told), (
        "the new one's count is the scaler's"
    )


def test_old_shrinks_by_what_the_new_has_ready():
    toy = steady(7)
    turn(toy, "b")
    for index, pod in enumerate(toy.pods["b"]):  # they get ready one by one, a second apart
        toy.placed["b", pod] = toy.now + index
    counts = []
    for _ in range(10):
        toy.now += 1
        turn(toy, "b")
        turn(toy, "b")
        counts.append((toy.counts["a"], len(toy.ready("b")), toy.target))
    assert counts[:5] == [(7, 0, "a"), (7, 0, "a"), (6, 1, "b"), (5, 2, "b"), (4, 3, "b")]
    assert counts[-1] == (0, 7, "b")


def test_the_scaler_writes_one_workload_at_a_time_and_the_new_one_follows():
    toy = steady(4)
    toy.start_s["b"] = 10.0
    turn(toy, "b")
    toy.counts[toy.target] = 9  # load comes while the new revision starts
    toy.now += 1
    turn(toy, "b")
    assert toy.counts == {"a": 9, "b": 9}
    run(toy, "b", until=30)
    assert toy.counts == {"a": 0, "b": 9}
    toy.counts[toy.target] = 2
    assert turn(toy, "b").acts == ()


def test_a_service_at_zero_switches_without_starting_anything():
    toy = steady(3)
    toy.counts["a"] = 0
    toy.settle()
    run(toy, "b", until=10)
    assert toy.counts == {"a": 0, "b": 0}
    assert toy.target == "b"
    assert toy.told == [Create("b", 0)]


def test_a_revision_that_crashes_leaves_the_old_one_serving_and_keeps_one_replica_trying():
    toy = steady(7)
    toy.start_s["b"], toy.crashing = None, {"b"}
    serving = run(toy, "b", until=60)
    assert set(serving) == {7}
    assert toy.counts == {"a": 7, "b": 1}
    assert toy.target == "a"
    assert turn(toy, "b").phase is Phase.FAILED
    toy.start_s["b"], toy.crashing = 1.0, set()  # a Secret was mended: it heals by itself
    serving = run(toy, "b", until=90)
    assert min(serving) >= 7
    assert toy.counts == {"a": 0, "b": 7}


def test_a_third_revision_replaces_a_second_that_never_got_ready():
    toy = steady(5)
    toy.start_s["b"] = None
    run(toy, "b", until=10)
    serving = run(toy, "c", until=30)
    assert min(serving) >= 5
    assert toy.counts == {"a": 0, "b": 0, "c": 5}


def test_going_back_uses_the_old_workload_again():
    toy = steady(5)
    run(toy, "b", until=20)
    toy.told.clear()
    serving = run(toy, "a", until=40)
    assert min(serving) >= 5
    assert toy.counts == {"a": 5, "b": 0}
    assert not [act for act in toy.told if isinstance(act, Create | Delete)]


def test_without_room_an_old_replica_makes_way_after_a_long_wait():
    toy = steady(4)
    toy.room = 4
    serving = run(toy, "b", until=299)
    assert set(serving) == {4}
    serving = run(toy, "b", until=700)
    assert min(serving) == 3, "one at a time"
    assert toy.counts == {"a": 0, "b": 4}
    assert toy.serving == 4


def test_one_replica_alone_never_makes_way():
    toy = steady(1)
    toy.room = 1
    serving = run(toy, "b", until=2000)
    assert set(serving) == {1}
    assert toy.target == "a"


def test_what_made_room_and_then_fails_gives_the_count_back():
    toy = steady(4)
    toy.room = 4
    run(toy, "b", until=310)
    assert toy.target == "b"
    toy.room, toy.start_s["b"], toy.crashing = 100, None, {"b"}
    serving = run(toy, "b", until=400)
    assert toy.target == "a"
    assert toy.counts == {"a": 4, "b": 1}
    assert serving[-1] == 4


def test_old_revisions_stay_at_zero_and_the_fourth_goes():
    toy = steady(2)
    for name in "bcdef":
        run(toy, name, until=toy.now + 15)
    assert toy.counts == {"c": 0, "d": 0, "e": 0, "f": 2}
    assert [act for act in toy.told if isinstance(act, Delete)] == [
        Delete("a", "Deployment"),
        Delete("b", "Deployment"),
    ]


def test_a_workload_that_was_deleted_by_hand_comes_again_with_the_count_it_had():
    toy = steady(3)
    toy.counts.clear()
    toy.pods.clear()
    assert roll(toy.seen(), "a", first=3, now=9).acts == (Create("a", 3),)


def test_nothing_is_done_while_the_spec_can_not_be_understood():
    toy = steady(3)
    rolled = roll(toy.seen(), None, first=1, now=9)
    assert (rolled.acts, rolled.target, rolled.total, rolled.phase) == ((), "a", 3, Phase.HELD)


def test_a_young_revision_without_its_image_is_looked_at_again_in_time():
    new, old = Workload("b", "Deployment", 1, 1, 0, created=100.0), Workload("a", "Deployment", 1, 1, 1)
    rolled = roll(
        Seen(service(scaleTarget="a"), [old, new], [Pod("a-0", "a", ready=True)]),
        "b",
        first=1,
        now=110.0,
        settings=RollSettings(),
    )
    assert rolled.waits_s == pytest.approx(50.0)


@pytest.mark.parametrize("seed", range(60))
def test_with_late_eyes_and_a_busy_scaler_never_fewer_serve_than_had_been_wanted_and_served(seed):
    """The scaler writes what it wants to the target each second, as the controller does. What it wanted in the very
    moment of a switch reaches the new target only then, and is seen there late: a raise counts after twice the eyes'
    lateness and a second."""
    print("seed", seed)
    chance = random.Random(seed)
    toy = steady(chance.choice([1, 2, 7]))
    late_s = chance.choice([0.0, 1.0, 3.0])
    eyes = LateEyes(toy, seed, late_s)
    wanted, desired, served = "a", toy.counts["a"], [(0.0, toy.counts["a"])]
    toy.start_s["a"] = 3.0
    for step in range(600):
        toy.now += 0.25
        if step < 400 and chance.random() < 0.02:
            wanted = chance.choice("abcd")
            toy.start_s.setdefault(wanted, chance.choice([0.5, 3.0, 6.0]))
        if step < 300 and chance.random() < 0.03:  # always upwards: then only the operator lowers
            desired += chance.choice([1, 2])
        if step % 4 == 0:
            toy.counts[toy.target] = desired
        rolled = roll(eyes.look(), wanted, first=1, now=toy.now)
        toy.carry_out(rolled)
        eyes.wrote(rolled)
        toy.settle()
        least = max(count for at, count in served if at <= max(0.0, toy.now - 2 * late_s - 1.25))
        assert toy.serving >= least, (step, toy.counts, toy.target)
        served.append((toy.now, min(toy.serving, toy.counts[toy.target])))
    assert toy.target == wanted
    assert {name: count for name, count in toy.counts.items() if count} == {wanted: desired}


def test_a_scale_says_why():
    toy = steady(2)
    run(toy, "b", until=20)
    reasons = {act.why for act in toy.told if isinstance(act, Scale)}
    assert reasons <= {"the new revision serves", "it is no longer needed"}
