"""What is started and what is stopped."""

from plimsoll.backends.wish import difference
from plimsoll.ports.backend import DesiredReplicas, ObservedReplica, ReplicaPhase, ReplicaTemplate

ONE, TWO = (ReplicaTemplate("echo", revision, {}) for revision in ("echo-1", "echo-2"))
READY, STARTING, BACKING_OFF = ReplicaPhase.READY, ReplicaPhase.STARTING, ReplicaPhase.BACKING_OFF


def running(*phases, revision="echo-1"):
    return [ObservedReplica(f"{revision}-{n}", "echo", revision, phase) for n, phase in enumerate(phases)]


def stopped(count, *phases):
    start, stop = difference([DesiredReplicas(ONE, count)], running(*phases))
    assert start == []
    return stop


def test_as_many_are_started_as_are_missing():
    assert difference([DesiredReplicas(ONE, 3), DesiredReplicas(TWO, 1)], running(READY)) == ([ONE, ONE, TWO], [])


def test_one_that_backs_off_counts():
    assert difference([DesiredReplicas(ONE, 2)], running(READY, BACKING_OFF)) == ([], [])


def test_the_broken_go_first_then_the_starting_then_the_youngest():
    assert stopped(3, READY, BACKING_OFF, STARTING, READY) == ["echo-1-1"]
    assert stopped(2, READY, BACKING_OFF, STARTING, READY) == ["echo-1-1", "echo-1-2"]
    assert stopped(1, READY, BACKING_OFF, STARTING, READY) == ["echo-1-1", "echo-1-2", "echo-1-3"]
    assert stopped(1, READY, STARTING, ReplicaPhase.FAILED) == ["echo-1-2", "echo-1-1"]


def test_one_that_drains_by_itself_goes_before_all():
    assert stopped(2, READY, ReplicaPhase.DRAINING, BACKING_OFF) == ["echo-1-1"]


def test_what_nobody_wishes_for_goes():
    assert difference([], [*running(READY), *running(READY, revision="echo-2")]) == ([], ["echo-1-0", "echo-2-0"])
    assert stopped(0, READY, READY) == ["echo-1-1", "echo-1-0"]
